"""Errors of the models; the stages add where the error happened, and show it to the user."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class UnlearnableError(ValueError):
    """A model cannot read the rows, or learn from them: which column or row, and how to fix it."""


class SetupError(UnlearnableError):
    """What a setting names is not here: a package or a file; says nothing about the rows."""


class DivergedError(ArithmeticError):
    """The loss stopped being a finite number."""

    def __init__(self, message: str, *, rows: "NDArray[np.int64] | None" = None) -> None:
        """Store the training sequences of the step in which the loss became infinite or NaN."""
        super().__init__(message)
        self.rows = rows


class PausedError(Exception):
    """A callback pauses a training: its state is saved, and it can be resumed."""


class PrunedError(Exception):
    """A callback ends a training that will not be resumed."""


class BundleError(ValueError):
    """A folder contains no model that this version can load."""
