"""Which sequences are the same as a network reads them: a hash of their steps and side inputs.

Shapes: N steps, C channels, S sequences.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.static_covariates import StaticCovariates


def sequence_hashes(
    values_NC: NDArray[Any],
    starts_S: NDArray[np.int64],
    stops_S: NDArray[np.int64],
    statics: StaticCovariates,
) -> NDArray[np.uint64]:
    """Hash the content of each sequence to 64 bits (BLAKE2b, RFC 7693)."""
    fresh = hashlib.blake2b(digest_size=8).copy
    codes_SK, numbers_SF = (np.ascontiguousarray(part) for part in statics)
    digests = []
    for row, (start, stop) in enumerate(zip(starts_S.tolist(), stops_S.tolist(), strict=True)):
        state = fresh()
        state.update(np.ascontiguousarray(values_NC[start:stop]).data)
        state.update(codes_SK[row].data)
        state.update(numbers_SF[row].data)
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), np.uint64)
