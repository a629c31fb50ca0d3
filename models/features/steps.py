"""Steps: what every kind of input becomes before scaling.

Shapes: N steps of all rows together, C channels, R rows of the table.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Steps(NamedTuple):
    """The steps of a table's rows. Rows may share steps: a window is a view, not a copy."""

    values_NC: NDArray[Any]
    """What `models.features.feature_spec` says of the kind: numbers, ids or pixels."""
    starts_R: Integers
    stops_R: Integers
    """Row r has the steps from its start up to its stop; none when its error says why."""
    errors_R: list[str | None]
