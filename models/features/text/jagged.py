"""Arithmetic on concatenated rows of different lengths, without a loop over rows.

Shapes: R rows, P pieces of all rows together, U distinct pieces, N ids.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.steps import Integers
from models.features.text.config import UNKNOWN_ID, TextInput

Ids = NDArray[np.int32]


class Jagged(NamedTuple):
    """Rows of ids or codes, concatenated."""

    flat_N: NDArray[Any]
    stops_R: Integers
    """Index after the last id of each row, at which the next row begins."""

    @property
    def starts_R(self) -> Integers:
        """Index of the first id of each row."""
        return np.concatenate([np.zeros(1, np.int64), self.stops_R])[: len(self.stops_R)]


def concatenate_rows(rows: Sequence[Sequence[int]]) -> Jagged:
    """Return lists of ids as concatenated rows."""
    lengths_R = np.fromiter(map(len, rows), np.int64, len(rows))
    stops_R = np.cumsum(lengths_R)
    total = int(stops_R[-1]) if len(rows) else 0
    return Jagged(np.fromiter(chain.from_iterable(rows), np.int32, total), stops_R)


def expand_pieces(pieces: Jagged, ids: Jagged) -> Jagged:
    """Return rows in which each piece is replaced by its ids.

    Args:
        pieces: rows of codes, [P], each the number of a distinct piece.
        ids: the ids of each distinct piece, [U] rows.
    """
    codes_P, starts_U = pieces.flat_N, ids.starts_R
    lengths_P = (ids.stops_R - starts_U)[codes_P]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths_P)])
    return Jagged(ids.flat_N[_expand_ranges(starts_U[codes_P], lengths_P)], ends[pieces.stops_R])


def split_max_length(config: TextInput) -> tuple[int, int]:
    """Return how many steps remain of the start and of the end of a text that is too long."""
    whole = config.max_length
    head = {"start": whole, "end": 0, "both": whole - whole // 2}[config.truncate]
    return head, whole - head


def truncate_rows(rows: Jagged, config: TextInput) -> Jagged:
    """Return at most `max_length` ids of each row, from the ends that `truncate` names."""
    starts_R = rows.starts_R
    lengths_R = rows.stops_R - starts_R
    if not (lengths_R > config.max_length).any():
        return rows
    head, tail = split_max_length(config)
    long_R = lengths_R > config.max_length
    first_R = np.where(long_R, head, lengths_R)
    last_R = np.where(long_R, tail, 0)
    begins = np.stack([starts_R, rows.stops_R - last_R], axis=1).ravel()
    indices_N = _expand_ranges(begins, np.stack([first_R, last_R], axis=1).ravel())
    return Jagged(rows.flat_N[indices_N], np.cumsum(first_R + last_R))


def fill_empty_rows(rows: Jagged, present_R: NDArray[np.bool_]) -> Jagged:
    """Return rows in which those that are present but empty have one unknown id."""
    lengths_R = np.diff(rows.stops_R, prepend=0)
    empty_R = present_R & (lengths_R == 0)
    if not empty_R.any():
        return rows
    flat_N = np.insert(rows.flat_N, rows.stops_R[empty_R], UNKNOWN_ID)
    return Jagged(flat_N, rows.stops_R + np.cumsum(empty_R))


def join_columns(columns: Sequence[Jagged], separator: int, present_R: NDArray[np.bool_]) -> Jagged:
    """Return rows with the ids of each column in turn, and a separator between two columns.

    Args:
        columns: the rows of each column.
        separator: the id between them.
        present_R: rows that have a text in any column; the others stay empty.
    """
    lengths_KR = np.stack([np.diff(rows.stops_R, prepend=0) for rows in columns])
    lengths_KR[1:] += 1
    lengths_KR *= present_R
    stops_R = np.cumsum(lengths_KR.sum(axis=0))
    starts_KR = stops_R - lengths_KR.sum(axis=0) + np.cumsum(lengths_KR, axis=0) - lengths_KR
    flat_N = np.full(int(lengths_KR.sum()), separator, np.int32)
    for number, (rows, starts_R) in enumerate(zip(columns, starts_KR, strict=True)):
        own_R = np.diff(rows.stops_R, prepend=0)
        flat_N[_expand_ranges(starts_R + (number > 0), own_R)] = rows.flat_N
    return Jagged(flat_N, stops_R)


def _expand_ranges(starts_R: Integers, lengths_R: Integers) -> Integers:
    """Return the indices start, start + 1, ... of each range, concatenated."""
    stops_R = np.cumsum(lengths_R)
    total = int(stops_R[-1]) if len(stops_R) else 0
    indices_N = np.arange(total)
    indices_N += np.repeat(starts_R - (stops_R - lengths_R), lengths_R)
    return indices_N
