"""Pretrained vectors in few dimensions: projected by PCA, scaled, and stored as float16.

A recurrent layer reads the leading 128 principal components of a table as well as all of it, at a
fraction of the time and of the size. The sign of a component is that of its largest weight, so a
table always gives the same numbers.

Shapes: F rows, D numbers of a pretrained vector, K numbers that remain.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.steps import Doubles, Floats, Integers

SCALE = 1.0
"""Root mean square of the numbers of the stored vectors, as of a network's other inputs."""

_MAX_FITTED_ROWS = 20_000
"""Rows from which the components are computed; of more, evenly spread ones."""


class Block(NamedTuple):
    """Some rows of a table."""

    rows_B: Integers
    """Their indices among the F rows."""
    vectors_BD: Floats


ReadBlocks = Callable[[], Iterable[Block]]
"""Yields all rows, in blocks that fit into memory; called more than once."""


def compress_vectors(read_blocks: ReadBlocks, count: int, max_dim: int) -> NDArray[np.float16]:
    """Return vectors in at most `max_dim` dimensions, [F, K].

    Args:
        read_blocks: yields the vectors.
        count: F.
        max_dim: dimensions above which they are projected.
    """
    mean_D, basis_DK = _fit_components(read_blocks, count, max_dim)
    vectors_FK = np.zeros((count, basis_DK.shape[1]), np.float32)
    for rows_B, vectors_BD in read_blocks():
        vectors_FK[rows_B] = (vectors_BD - mean_D) @ basis_DK
    size = float(np.sqrt(np.mean(np.square(vectors_FK, dtype=np.float64)))) if count else 0.0
    return (vectors_FK * np.float32(SCALE / size if size else 1.0)).astype(np.float16)


def _fit_components(
    read_blocks: ReadBlocks, count: int, max_dim: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean [D] and the leading components [D, K]; zero and identity for few columns."""
    stride = -(-count // _MAX_FITTED_ROWS)
    total_D: Doubles = np.zeros(0)
    gram_DD: Doubles = np.zeros((0, 0))
    used = 0
    for rows_B, vectors_BD in read_blocks():
        dim = vectors_BD.shape[1]
        if dim <= max_dim:
            return np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32)
        chosen = vectors_BD[rows_B % stride == 0].astype(np.float64)
        if not used:
            total_D, gram_DD = np.zeros(dim), np.zeros((dim, dim))
        total_D += chosen.sum(axis=0)
        gram_DD += chosen.T @ chosen
        used += len(chosen)
    mean_D = total_D / max(used, 1)
    covariance_DD = gram_DD / max(used, 1) - np.outer(mean_D, mean_D)
    _, vectors_DD = np.linalg.eigh(covariance_DD)
    basis_DK = vectors_DD[:, ::-1][:, :max_dim]
    largest_K = np.abs(basis_DK).argmax(axis=0)
    signs_K = np.sign(basis_DK[largest_K, np.arange(basis_DK.shape[1])])
    return mean_D.astype(np.float32), (basis_DK * signs_K).astype(np.float32)
