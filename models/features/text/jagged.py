"""Arithmetic on rows of different lengths that lie end to end; no loop over rows.

Shapes: R rows, P pieces of all rows together, U distinct pieces, N ids.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.steps import Integers
from models.features.text.config import UNKNOWN, TextInput

Ids = NDArray[np.int32]


class Jagged(NamedTuple):
    """Rows of ids, or of what stands for them, end to end."""

    flat_N: NDArray[Any]
    stops_R: Integers
    """Row r ends here, and the next begins."""

    @property
    def starts_R(self) -> Integers:
        """Where each row begins."""
        return np.concatenate([np.zeros(1, np.int64), self.stops_R])[: len(self.stops_R)]


def lay(rows: Sequence[Sequence[int]]) -> Jagged:
    """Lay lists of ids end to end."""
    lengths_R = np.fromiter(map(len, rows), np.int64, len(rows))
    stops_R = np.cumsum(lengths_R)
    total = int(stops_R[-1]) if len(rows) else 0
    return Jagged(np.fromiter(chain.from_iterable(rows), np.int32, total), stops_R)


def ranges(starts_R: Integers, lengths_R: Integers) -> Integers:
    """Count from each start for its length: the places of rows that lie anywhere."""
    stops_R = np.cumsum(lengths_R)
    total = int(stops_R[-1]) if len(stops_R) else 0
    places_N = np.arange(total)
    places_N += np.repeat(starts_R - (stops_R - lengths_R), lengths_R)
    return places_N


def expand(pieces: Jagged, ids: Jagged) -> Jagged:
    """Put in place of every piece its ids.

    Args:
        pieces: rows of codes, [P], each the number of a distinct piece.
        ids: the ids of each distinct piece, [U] rows.
    """
    codes_P, starts_U = pieces.flat_N, ids.starts_R
    lengths_P = (ids.stops_R - starts_U)[codes_P]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths_P)])
    return Jagged(ids.flat_N[ranges(starts_U[codes_P], lengths_P)], ends[pieces.stops_R])


def share(config: TextInput) -> tuple[int, int]:
    """Return how many steps stay at the start and at the end of a text that is too long."""
    whole = config.max_length
    head = {"start": whole, "end": 0, "both": whole - whole // 2}[config.truncate]
    return head, whole - head


def cut(rows: Jagged, config: TextInput) -> Jagged:
    """Keep at most `max_length` ids of each row, from the ends that the job names."""
    starts_R = rows.starts_R
    lengths_R = rows.stops_R - starts_R
    if not (lengths_R > config.max_length).any():
        return rows
    head, tail = share(config)
    long_R = lengths_R > config.max_length
    first_R = np.where(long_R, head, lengths_R)
    last_R = np.where(long_R, tail, 0)
    begins = np.stack([starts_R, rows.stops_R - last_R], axis=1).ravel()
    places_N = ranges(begins, np.stack([first_R, last_R], axis=1).ravel())
    return Jagged(rows.flat_N[places_N], np.cumsum(first_R + last_R))


def fill(rows: Jagged, present_R: NDArray[np.bool_]) -> Jagged:
    """Return one unknown id to each row that is present but empty."""
    lengths_R = np.diff(rows.stops_R, prepend=0)
    empty_R = present_R & (lengths_R == 0)
    if not empty_R.any():
        return rows
    flat_N = np.insert(rows.flat_N, rows.stops_R[empty_R], UNKNOWN)
    return Jagged(flat_N, rows.stops_R + np.cumsum(empty_R))
