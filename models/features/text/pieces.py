"""Pieces: the parts of a text that can be cut into tokens each on its own.

Words repeat, so every distinct piece of a block is cut once and its ids are gathered; what was cut
is remembered across blocks. A text whose spaces carry a meaning is one piece, the whole of it.
Shapes: R rows, P pieces of all rows together, U distinct pieces.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.steps import Integers

Part = TypeVar("Part", str, int)
Splitter = Callable[[list[str]], list[tuple[str, ...]]]
"""Cuts each piece into tokens."""
Encoder = Callable[[list[str]], list[tuple[int, ...]]]
"""Turns each piece into ids."""

MOST_REMEMBERED = 1 << 17
LONGEST_REMEMBERED = 64


class Pieces(NamedTuple):
    """The pieces of rows of text, end to end."""

    words_U: list[str]
    """The distinct pieces, and perhaps some that no row has."""
    codes_P: Integers
    """Which of them each piece is."""
    stops_R: Integers
    """Row r's pieces end here, and the next row's begin."""

    @property
    def starts_R(self) -> Integers:
        """Where each row's pieces begin."""
        return np.concatenate([np.zeros(1, np.int64), self.stops_R])[: len(self.stops_R)]


Cutter = Callable[[pl.Series], Pieces]
"""Cuts texts, none of them null, into pieces."""


def end_to_end(lists: pl.Series) -> Pieces:
    """Lay rows of pieces end to end."""
    lengths_R = lists.list.len().to_numpy().astype(np.int64)
    pieces = lists.explode(empty_as_null=False).to_arrow(compat_level=pl.CompatLevel.oldest())
    encoded = pieces.dictionary_encode()
    codes_P = encoded.indices.to_numpy().astype(np.int64)
    return Pieces(encoded.dictionary.to_pylist(), codes_P, np.cumsum(lengths_R))


def undivided(texts: pl.Series) -> Pieces:
    """Leave every text in one piece."""
    return Pieces(texts.to_list(), np.arange(len(texts)), np.arange(1, len(texts) + 1))


def at_spaces(texts: pl.Series, whole: pl.Series) -> Pieces:
    """Cut each text at every U+0020, but leave those in one piece that `whole` marks."""
    if not whole.any():
        return end_to_end(texts.str.split(" "))
    pieces = end_to_end(texts.set(whole, "").str.split(" "))
    return in_one_piece(pieces, texts, whole.to_numpy())


def in_one_piece(pieces: Pieces, texts: pl.Series, whole_R: NDArray[np.bool_]) -> Pieces:
    """Put the texts of some rows back together."""
    lengths_R = pieces.stops_R - pieces.starts_R
    rows, firsts = np.flatnonzero(whole_R), pieces.starts_R[whole_R]
    kept_P = ~np.repeat(whole_R, lengths_R)
    kept_P[firsts] = True
    codes_P = pieces.codes_P.copy()
    codes_P[firsts] = len(pieces.words_U) + np.arange(len(rows))
    return Pieces(
        pieces.words_U + texts[rows].to_list(),
        codes_P[kept_P],
        np.cumsum(np.where(whole_R, 1, lengths_R)),
    )


def remembered(
    work: Callable[[list[str]], list[tuple[Part, ...]]],
) -> Callable[[list[str]], list[tuple[Part, ...]]]:
    """Do the work for each short piece once, until too many are remembered.

    Args:
        work: what is done for distinct pieces, the same for a piece whatever stands beside it.
    """
    known: dict[str, tuple[Part, ...]] = {}

    def look_up(pieces: list[str]) -> list[tuple[Part, ...]]:
        found = [known.get(piece) for piece in pieces]
        missing = [piece for piece, parts in zip(pieces, found, strict=True) if parts is None]
        if not missing:
            return [parts for parts in found if parts is not None]
        fresh = work(missing)
        if len(known) + len(fresh) > MOST_REMEMBERED:
            known.clear()
        known.update(
            (piece, parts)
            for piece, parts in zip(missing, fresh, strict=True)
            if len(piece) <= LONGEST_REMEMBERED
        )
        rest = iter(fresh)
        return [next(rest) if parts is None else parts for parts in found]

    return look_up
