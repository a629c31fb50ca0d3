"""Counts of the tokens of a stream in bounded memory, equal for every size of chunks.

The stream is divided into stretches of a fixed number of bytes, wherever its frames end. After
each stretch the rarest tokens of a table with more than `MAX_TOKENS` are dropped. A dropped token
that occurs again is counted from then on: counts can only be too low, and only those of tokens so
rare that they would hardly be in a vocabulary.
Shapes: P pieces, U distinct pieces.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import polars as pl

from models.features.steps import Integers
from models.features.text.pieces import Pieces, Splitter

STRETCH_BYTES = 1 << 24

MAX_TOKENS = 1 << 20

_MAX_TOKEN_LENGTH = 1024
"""In characters; longer tokens are data and no words, and are not counted."""


def count_tokens(stream: Iterable[Pieces], split: Splitter) -> Counter[str]:
    """Return the count of each token.

    Args:
        stream: pieces of text, in chunks of any size.
        split: splits pieces into tokens.
    """
    counts: Counter[str] = Counter()
    bytes_read, stretch = 0, 0
    for pieces in stream:
        # One more for each piece, so that empty pieces move the position too.
        sizes_U = pl.Series(pieces.words_U, dtype=pl.String).str.len_bytes().to_numpy() + 1
        stops_P = bytes_read + np.cumsum(sizes_U[pieces.codes_P], dtype=np.int64)
        stretch_P = np.concatenate([[bytes_read], stops_P[:-1]]) // STRETCH_BYTES
        inner = np.flatnonzero(np.diff(stretch_P)) + 1
        for start, stop in pairwise([0, *inner.tolist(), len(stops_P)]):
            if stretch_P[start] != stretch:
                counts, stretch = keep_most_frequent(counts, MAX_TOKENS), int(stretch_P[start])
            _add_tokens(counts, pieces.words_U, pieces.codes_P[start:stop], split)
        bytes_read = int(stops_P[-1])
    return counts


def keep_most_frequent(counts: Counter[str], most: int) -> Counter[str]:
    """Return the counts of the most frequent tokens; of equals, the first in code point order."""
    if len(counts) <= most:
        return counts
    return Counter(dict(rank_tokens(counts, most)))


def rank_tokens(counts: dict[str, int], most: int, at_least: int = 1) -> list[tuple[str, int]]:
    """Return tokens and counts, the most frequent first, equals in the order of code points."""
    frame = pl.DataFrame(
        {"token": list(counts), "count": list(counts.values())},
        schema={"token": pl.String, "count": pl.Int64},
    )
    kept = frame.filter(
        pl.col("count") >= at_least, pl.col("token").str.len_chars() <= _MAX_TOKEN_LENGTH
    )
    return kept.sort("count", "token", descending=[True, False]).head(most).rows()


def _add_tokens(
    counts: Counter[str], words_U: list[str], codes_P: Integers, split: Splitter
) -> None:
    """Add the tokens of some pieces to the counts in place."""
    weights_U = np.bincount(codes_P, minlength=len(words_U))
    present = np.flatnonzero(weights_U)
    token_lists = split([words_U[index] for index in present])
    for tokens, weight in zip(token_lists, weights_U[present].tolist(), strict=True):
        for token in tokens:
            counts[token] += weight
