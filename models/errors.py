"""What a model refuses. The stages add where it was, and hand it to the user."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class UnlearnableError(ValueError):
    """The rows hold nothing that a model can learn from: which column or row, and the mend."""


class DivergedError(ArithmeticError):
    """The loss stopped being a finite number."""

    def __init__(self, message: str, *, rows: "NDArray[np.int64] | None" = None) -> None:
        """Say where, and which training sequences were read in that step, if it was one."""
        super().__init__(message)
        self.rows = rows


class PausedError(Exception):
    """Who watches a training ends it for now: it is saved, and may go on from there."""


class PrunedError(Exception):
    """Who watches a training ends it for good."""


class BundleError(ValueError):
    """A folder is not a model that this version can load."""
