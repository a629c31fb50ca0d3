"""Texts of evaluation that are nearly a text of training, found without comparing all with all.

A text is the set of its runs of five characters (its shingles); two texts are alike by Jaccard's
index, what they share over what either has. MinHash (Broder 1997) keeps of each set some smallest
hashes, which agree with a chance of just that index; here in the form of Dahlgaard, Knudsen and
Thorup (2017), which throws every hash into one of the bins, and again only while some are empty.
Texts that agree in all bins of a band are candidates, and every candidate is compared in full, so
that nothing is left out below the threshold. Nothing is drawn: the same texts give the same answer.

Held in memory: `4 * bands` bytes a row (48 at a threshold of 0.8), and the evaluation texts that
have a candidate.

Shapes: R rows, T texts of a piece, S shingles, K bins, B bands, P pairs.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.splitting.split import TEST, TRAINING, VALIDATION

Hashes = NDArray[np.uint64]

Rows = NDArray[np.int64]

Texts = Callable[[], Iterable[pl.Series]]
"""Gives the text of every row in order, in frames cut anywhere, from the start each time."""

LENGTH = 5
"""Characters in a shingle."""

BINS = 96
"""Most bins of a signature."""

RECALL = 0.97
"""Chance to become a candidate, for a pair just at the threshold."""

PIECE_CHARACTERS, PIECE_TEXTS = 2**20, 2**12
"""What is worked on at a time, some 60 MB."""

BLOCK = 2**18
"""Rows whose candidates are looked up at a time."""

PER_BAND, CANDIDATES = 8, 16
"""Training texts that one text is compared with: of each band the first, of all those that share
the most bands."""

NEVER = np.uint32(2**32 - 1)
"""Marks an empty bin."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Bands(NamedTuple):
    """How a signature is cut into bands."""

    bands: int
    rows: int


def bands_for(threshold: float) -> Bands:
    """Choose the longest bands (fewest candidates in vain) that find a pair at the threshold."""
    for rows in range(BINS // 2, 1, -1):
        missed = np.log1p(-(threshold**rows)) if threshold < 1 else -np.inf
        bands = max(2, int(np.ceil(np.log(1 - RECALL) / missed)))
        if bands * rows <= BINS:
            return Bands(bands, rows)
    return Bands(BINS, 1)


def near_rows(texts: Texts, splits_R: NDArray[np.int8], threshold: float) -> NDArray[np.bool_]:
    """Mark validation and test texts that are near training, and test texts near validation.

    Reads the texts three times at most; letters are compared whatever their case and spaces.
    """
    shape = bands_for(threshold)
    keys_RB = np.empty((len(splits_R), shape.bands), np.uint32)
    start = 0
    for frame in texts():
        keys_RB[start : start + len(frame)] = band_keys(plain_text(frame), shape)
        start += len(frame)
    pairs = [
        candidates(keys_RB, np.flatnonzero(splits_R == asked), np.flatnonzero(splits_R == known))
        for asked, known in ((VALIDATION, TRAINING), (TEST, TRAINING), (TEST, VALIDATION))
    ]
    near_R = np.zeros(len(splits_R), bool)
    near_R[confirmed(texts, np.concatenate(pairs, axis=1), threshold)] = True
    return near_R


def plain_text(texts: pl.Series) -> pl.Series:
    """Write texts in small letters with single spaces; a gap is an empty text."""
    small = texts.cast(pl.String).fill_null("").str.to_lowercase()
    return small.str.replace_all(r"\s+", " ").str.strip_chars()


def pieces(lengths: Rows) -> Iterator[slice]:
    """Cut texts of these lengths into pieces that fit in memory."""
    place = np.arange(len(lengths)) // PIECE_TEXTS + np.cumsum(lengths) // PIECE_CHARACTERS
    edges = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(lengths)]
    for start, stop in itertools.pairwise(edges):
        yield slice(start, stop)


def band_keys(texts: pl.Series, shape: Bands) -> NDArray[np.uint32]:
    """Hash each band of each text's signature to 32 bits."""
    keys_TB = np.empty((len(texts), shape.bands), np.uint32)
    for piece in pieces(texts.str.len_chars().to_numpy().astype(np.int64)):
        signature_TK = signatures(texts[piece], shape.bands * shape.rows)
        bands_TBr = signature_TK.reshape(len(signature_TK), shape.bands, shape.rows)
        key_TB = np.zeros(bands_TBr.shape[:2], np.uint64)
        for row in range(shape.rows):
            key_TB = mixed(key_TB * GOLDEN + bands_TBr[:, :, row])
        keys_TB[piece] = key_TB >> np.uint64(32)
    return keys_TB


def shingles(texts: pl.Series) -> tuple[Rows, Hashes]:
    """Hash every run of five characters; gives the text it is of, and 64 bits."""
    padded = texts.str.pad_end(LENGTH, "\0")
    lengths_T = padded.str.len_chars().to_numpy().astype(np.int64)
    letters = np.frombuffer("".join(padded).encode("utf-32-le"), "<u4").astype(np.uint64)
    runs = np.zeros(max(0, len(letters) - LENGTH + 1), np.uint64)
    for place in range(LENGTH):
        runs = runs * GOLDEN + letters[place : place + len(runs)]
    counts_T = lengths_T - LENGTH + 1
    owner_S = np.repeat(np.arange(len(texts)), counts_T)
    # The runs that begin in a text's last four characters reach into the next text.
    return owner_S, mixed(runs[np.arange(len(owner_S)) + (LENGTH - 1) * owner_S])


def mixed(numbers: Hashes) -> Hashes:
    """Let every bit depend on every bit (the end of SplitMix64, Steele and others 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def signatures(texts: pl.Series, bins: int) -> NDArray[np.uint32]:
    """Keep the smallest hash of each bin; texts with empty bins throw again, into those alone.

    Each throw is by a hash of its own; from the throw `bins` on, all go into one bin, in turn.
    """
    signature_TK = np.full((len(texts), bins), NEVER)
    owner_S, hash_S = shingles(texts)
    for throw in range(2 * bins):
        thrown_S = mixed(hash_S + np.uint64(throw * int(GOLDEN) % 2**64))
        bin_S = ((thrown_S >> np.uint64(32)) * np.uint64(bins) >> np.uint64(32)).astype(np.int64)
        if throw >= bins:
            bin_S[:] = throw - bins
        place_S = owner_S * bins + bin_S
        value_S = np.minimum(thrown_S.astype(np.uint32), NEVER - np.uint32(1))
        empty_S = signature_TK.ravel()[place_S] == NEVER
        np.minimum.at(signature_TK.ravel(), place_S[empty_S], value_S[empty_S])
        unfinished_S = (signature_TK == NEVER).any(axis=1)[owner_S]
        owner_S, hash_S = owner_S[unfinished_S], hash_S[unfinished_S]
        if len(owner_S) == 0:
            break
    return signature_TK


def candidates(keys_RB: NDArray[np.uint32], asked: Rows, known: Rows) -> Rows:
    """Pair the asked rows with the known rows that share a band, as a table of two rows."""
    found = [np.empty((2, 0), np.int64)]
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        shared = [sharing(keys_RB[:, band], block, known) for band in range(keys_RB.shape[1])]
        codes, times = np.unique(np.concatenate(shared), return_counts=True)
        left, right = codes >> np.uint64(32), codes & np.uint64(0xFFFFFFFF)
        order = np.lexsort((right, -times, left))
        left, right = left[order].astype(np.int64), right[order].astype(np.int64)
        first = np.searchsorted(left, left)
        best = np.arange(len(left)) - first < CANDIDATES
        found.append(np.stack([left[best], right[best]]))
    return np.concatenate(found, axis=1)


def sharing(keys_R: NDArray[np.uint32], asked: Rows, known: Rows) -> Hashes:
    """Pair rows of one key, both numbers in 64 bits: the asked row's above the known row's."""
    order = known[np.argsort(keys_R[known], kind="stable")]
    ascending = keys_R[order]
    first = np.searchsorted(ascending, keys_R[asked], side="left")
    last = np.searchsorted(ascending, keys_R[asked], side="right")
    counts = np.minimum(last - first, PER_BAND)
    left = np.repeat(asked, counts)
    step = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(first, counts) + step]
    pairs: Hashes = left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)
    return pairs


def confirmed(texts: Texts, pairs_2P: Rows, threshold: float) -> Rows:
    """Return the asked rows that are as near to a known row as the threshold says."""
    if pairs_2P.shape[1] == 0:
        return np.empty(0, np.int64)
    rows = np.unique(pairs_2P[0])
    held = pl.concat([plain_text(frame.gather(here)) for here, frame in parts(texts, rows)])
    near = np.zeros(len(rows), bool)
    order = np.argsort(pairs_2P[1], kind="stable")
    asked, known = np.searchsorted(rows, pairs_2P[0][order]), pairs_2P[1][order]
    done = 0
    for here, frame in parts(texts, known):
        places = asked[done : done + len(here)]
        done += len(here)
        open_P = ~near[places]
        left, right = held.gather(places[open_P]), plain_text(frame.gather(here[open_P]))
        near[places[open_P][jaccard(left, right) >= threshold]] = True
    return rows[near]


def parts(texts: Texts, rows: Rows) -> Iterator[tuple[Rows, pl.Series]]:
    """Give for each frame the places in it that these ascending rows have."""
    start = 0
    for frame in texts():
        here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(frame))]
        if len(here):
            yield here - start, frame
        start += len(frame)


def jaccard(left: pl.Series, right: pl.Series) -> NDArray[np.float64]:
    """Compare texts pair by pair: what they share of all that either has."""
    result_P = np.zeros(len(left))
    for piece in pieces((left.str.len_chars() + right.str.len_chars()).to_numpy().astype(np.int64)):
        one, two = distinct(left[piece]), distinct(right[piece])
        both = np.sort(np.concatenate([one, two]))
        shared = np.bincount(owners(both[1:][both[1:] == both[:-1]]), minlength=len(left[piece]))
        either = np.bincount(owners(both), minlength=len(shared)) - shared
        result_P[piece] = shared / either
    return result_P


def distinct(texts: pl.Series) -> Hashes:
    """Return each text's shingles once: twelve bits say whose it is, the others are its hash."""
    owner_S, hash_S = shingles(texts)
    marked_S = np.sort(owner_S.astype(np.uint64) << np.uint64(52) | hash_S >> np.uint64(12))
    # By hand, for np.unique throws uint64 into a hash table, which is thirty times slower here.
    once_S: Hashes = marked_S[np.diff(marked_S, prepend=~marked_S[:1]) != 0]
    return once_S


def owners(marked: Hashes) -> Rows:
    """Read whose shingles these are."""
    return (marked >> np.uint64(52)).astype(np.int64)
