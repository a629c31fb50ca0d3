"""Errors of the models; the stages add where it happened, and show it to the user."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class UnlearnableError(ValueError):
    """The rows hold nothing that a model can learn from: which column or row, and how to fix it."""


class DivergedError(ArithmeticError):
    """The loss stopped being a finite number."""

    def __init__(self, message: str, *, rows: "NDArray[np.int64] | None" = None) -> None:
        """Take where it happened, and the training sequences of that step, if it was one."""
        super().__init__(message)
        self.rows = rows


class PausedError(Exception):
    """A callback ends a training for now: it is saved, and can be resumed."""


class PrunedError(Exception):
    """A callback ends a training for good."""


class BundleError(ValueError):
    """A folder is not a model that this version can load."""
