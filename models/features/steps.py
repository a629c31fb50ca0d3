"""Steps: the form that every kind of input is transformed to, and the types of their arrays.

Shapes: N steps of all rows together, C channels, R rows of the table.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Hashes = NDArray[np.uint64]


class Steps(NamedTuple):
    """The steps of a table's rows. Rows may share steps: a window is a view, not a copy."""

    values_NC: NDArray[Any]
    """Numbers, ids or pixels, as `models.features.feature_spec` describes them for each kind."""
    starts_R: Integers
    stops_R: Integers
    """Row r has the steps from its start up to its stop; none where it has an error."""
    errors_R: list[str | None]
    """Why a row cannot be read; None where it can."""
