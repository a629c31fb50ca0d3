"""A hash of a sequence as a network reads it: of its steps and static covariates.

Shapes: N steps, C channels, S sequences.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.static_covariates import StaticCovariates


def hash_sequences(
    values_NC: NDArray[Any],
    starts_S: NDArray[np.int64],
    stops_S: NDArray[np.int64],
    static_covariates: StaticCovariates,
) -> NDArray[np.uint64]:
    """Return a hash of 64 bits of the content of each sequence (BLAKE2b, RFC 7693)."""
    fresh = hashlib.blake2b(digest_size=8).copy
    codes_SK, numbers_SF = (np.ascontiguousarray(part) for part in static_covariates)
    digests = []
    for row, (start, stop) in enumerate(zip(starts_S.tolist(), stops_S.tolist(), strict=True)):
        state = fresh()
        state.update(np.ascontiguousarray(values_NC[start:stop]).data)
        state.update(codes_SK[row].data)
        state.update(numbers_SF[row].data)
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), np.uint64)
