"""What a model refuses. The stages add where it was, and hand it to the user."""


class UnlearnableError(ValueError):
    """The rows hold nothing that a model can learn from: which column or row, and the mend."""


class DivergedError(ArithmeticError):
    """The loss stopped being a finite number."""


class BundleError(ValueError):
    """A folder is not a model that this version can load."""
