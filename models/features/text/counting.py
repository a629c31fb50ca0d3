"""Count tokens of a stream in bounded memory, the same however the stream is cut.

The stream is divided into stretches of a fixed number of bytes, wherever its frames end. After
each stretch the rarest tokens of a table with more than `MOST_TOKENS` are dropped. A token that
was dropped and returns counts from its return on: counts can only be too low, and only those of
tokens so rare that they would hardly have entered a vocabulary.
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
MOST_TOKENS = 1 << 20
LONGEST_TOKEN = 1024
"""Characters; longer tokens are no words but data, and are not counted."""


def count_tokens(stream: Iterable[Pieces], split: Splitter) -> Counter[str]:
    """Count the tokens of all pieces.

    Args:
        stream: pieces of text, cut anywhere.
        split: cuts pieces into tokens.
    """
    counts: Counter[str] = Counter()
    read, stretch = 0, 0
    for pieces in stream:
        # One more for each piece, so that empty ones move on too.
        sizes_U = pl.Series(pieces.words_U, dtype=pl.String).str.len_bytes().to_numpy() + 1
        stops_P = read + np.cumsum(sizes_U[pieces.codes_P], dtype=np.int64)
        stretch_P = np.concatenate([[read], stops_P[:-1]]) // STRETCH_BYTES
        inner = np.flatnonzero(np.diff(stretch_P)) + 1
        for start, stop in pairwise([0, *inner.tolist(), len(stops_P)]):
            if stretch_P[start] != stretch:
                counts, stretch = most_frequent(counts, MOST_TOKENS), int(stretch_P[start])
            add(counts, pieces.words_U, pieces.codes_P[start:stop], split)
        read = int(stops_P[-1])
    return counts


def add(counts: Counter[str], words_U: list[str], codes_P: Integers, split: Splitter) -> None:
    """Add the tokens of some pieces."""
    weights_U = np.bincount(codes_P, minlength=len(words_U))
    present = np.flatnonzero(weights_U)
    tokens_of = split([words_U[place] for place in present])
    for tokens, weight in zip(tokens_of, weights_U[present].tolist(), strict=True):
        for token in tokens:
            counts[token] += weight


def most_frequent(counts: Counter[str], most: int) -> Counter[str]:
    """Keep the most frequent tokens; among equals, those first in code point order."""
    if len(counts) <= most:
        return counts
    return Counter(dict(ranked(counts, most)))


def ranked(counts: dict[str, int], most: int, at_least: int = 1) -> list[tuple[str, int]]:
    """List tokens and counts, the most frequent first, equals in code point order."""
    frame = pl.DataFrame(
        {"token": list(counts), "count": list(counts.values())},
        schema={"token": pl.String, "count": pl.Int64},
    )
    kept = frame.filter(
        pl.col("count") >= at_least, pl.col("token").str.len_chars() <= LONGEST_TOKEN
    )
    return kept.sort("count", "token", descending=[True, False]).head(most).rows()
