"""Near duplicates of training texts in validation and test, found without comparing all pairs.

A text is the set of its runs of five characters (shingles); the similarity of two texts is the
Jaccard index, the size of the intersection over that of the union. MinHash (Broder 1997) keeps
some of the smallest hashes of each set, which are equal with a probability of just that index; here
in the form of Dahlgaard, Knudsen and Thorup (2017), which puts every hash into one of the bins, and
again only while some bins are empty. Texts that are equal in all bins of a band are candidates
(locality-sensitive hashing), and every candidate pair is compared in full, so that no text below
the threshold is found. Nothing is random: the same texts give the same result.

Memory: `4 * bands` bytes for each row (48 at a threshold of 0.8), and the evaluation texts that
have a candidate.

Shapes: R rows, T texts of a batch, S shingles, K bins, B bands, P pairs.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.splitting.split import TEST, TRAINING, VALIDATION
from models.features.steps import Hashes, Integers

TextReader = Callable[[], Iterable[pl.Series]]
"""Returns the texts of all rows in order, in frames of any length, from the start at each call."""

_SHINGLE_LENGTH = 5
"""Characters in a shingle."""

_MAX_BINS = 96
"""Largest number of bins of a signature."""

_MIN_RECALL = 0.97
"""Probability that a pair with a similarity just at the threshold becomes a candidate."""

_BATCH_CHARACTERS, _BATCH_TEXTS = 2**20, 2**12
"""Size of a batch, about 60 MB."""

_BLOCK_ROWS = 2**18
"""Rows whose candidates are looked up at a time."""

_MAX_PER_BAND, MAX_CANDIDATES = 8, 16
"""Most training texts that one text is compared with: of each band the first 8, and of all bands
the 16 that share the most bands."""

_EMPTY_BIN = np.uint32(2**32 - 1)
"""Value of an empty bin."""

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


class BandShape(NamedTuple):
    """Number of bands of a signature, and of rows (bins) of each band."""

    bands: int
    rows: int


def choose_bands(threshold: float) -> BandShape:
    """Return the longest bands, with the fewest false candidates, that reach the recall.

    A pair of similarity s shares at least one of b bands of r rows with the probability
    1 - (1 - s^r)^b.
    """
    for rows in range(_MAX_BINS // 2, 1, -1):
        missed = np.log1p(-(threshold**rows)) if threshold < 1 else -np.inf
        bands = max(2, int(np.ceil(np.log(1 - _MIN_RECALL) / missed)))
        if bands * rows <= _MAX_BINS:
            return BandShape(bands, rows)
    return BandShape(_MAX_BINS, 1)


def mark_near_duplicates(
    texts: TextReader, splits_R: NDArray[np.int8], threshold: float
) -> NDArray[np.bool_]:
    """Return which validation and test texts are near duplicates of training texts.

    Test texts that are near duplicates of validation are marked too.

    Reads the texts at most three times; case and repeated spaces make no difference.

    Args:
        texts: reads the texts.
        splits_R: the split of each row.
        threshold: Jaccard index from which on two texts are near duplicates.
    """
    shape = choose_bands(threshold)
    keys_RB = np.empty((len(splits_R), shape.bands), np.uint32)
    start = 0
    for frame in texts():
        keys_RB[start : start + len(frame)] = compute_band_keys(normalize_texts(frame), shape)
        start += len(frame)
    pairs = [
        find_candidates(
            keys_RB,
            np.flatnonzero(splits_R == query_split),
            np.flatnonzero(splits_R == known_split),
        )
        for query_split, known_split in (
            (VALIDATION, TRAINING),
            (TEST, TRAINING),
            (TEST, VALIDATION),
        )
    ]
    near_R = np.zeros(len(splits_R), bool)
    near_R[_confirm_pairs(texts, np.concatenate(pairs, axis=1), threshold)] = True
    return near_R


def join_texts(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Return the texts of several columns as one, null where all are missing."""
    if len(columns) == 1:
        return frame[columns[0]]
    texts = [pl.col(name).cast(pl.String) for name in columns]
    joined = pl.concat_str(texts, separator=" ", ignore_nulls=True)
    is_missing = pl.all_horizontal(text.is_null() for text in texts)
    return frame.select(pl.when(~is_missing).then(joined).alias(columns[0])).to_series()


def normalize_texts(texts: pl.Series) -> pl.Series:
    """Return texts in lower case with single spaces; a missing one becomes empty."""
    small = texts.cast(pl.String).fill_null("").str.to_lowercase()
    return small.str.replace_all(r"\s+", " ").str.strip_chars()


def compute_band_keys(texts: pl.Series, shape: BandShape) -> NDArray[np.uint32]:
    """Return a hash of 32 bits of each band of the signature of each text, [T, B]."""
    keys_TB = np.empty((len(texts), shape.bands), np.uint32)
    for batch in _split_batches(texts.str.len_chars().to_numpy().astype(np.int64)):
        signature_TK = _compute_signatures(texts[batch], shape.bands * shape.rows)
        bands_TBr = signature_TK.reshape(len(signature_TK), shape.bands, shape.rows)
        key_TB = np.zeros(bands_TBr.shape[:2], np.uint64)
        for row in range(shape.rows):
            key_TB = _mix_bits(key_TB * _GOLDEN_RATIO + bands_TBr[:, :, row])
        keys_TB[batch] = key_TB >> np.uint64(32)
    return keys_TB


def find_candidates(keys_RB: NDArray[np.uint32], queries: Integers, known: Integers) -> Integers:
    """Return pairs [2, P] of queried rows and known rows that share the key of a band."""
    pairs = [np.empty((2, 0), np.int64)]
    for start in range(0, len(queries), _BLOCK_ROWS):
        block = queries[start : start + _BLOCK_ROWS]
        shared = [
            _pair_equal_keys(keys_RB[:, band], block, known) for band in range(keys_RB.shape[1])
        ]
        codes, shared_bands = np.unique(np.concatenate(shared), return_counts=True)
        left, right = codes >> np.uint64(32), codes & np.uint64(0xFFFFFFFF)
        order = np.lexsort((right, -shared_bands, left))
        left, right = left[order].astype(np.int64), right[order].astype(np.int64)
        first = np.searchsorted(left, left)
        best = np.arange(len(left)) - first < MAX_CANDIDATES
        pairs.append(np.stack([left[best], right[best]]))
    return np.concatenate(pairs, axis=1)


def compute_jaccard(left: pl.Series, right: pl.Series) -> NDArray[np.float64]:
    """Return the Jaccard index of the shingles of each pair of texts, [P]."""
    result_P = np.zeros(len(left))
    for batch in _split_batches(
        (left.str.len_chars() + right.str.len_chars()).to_numpy().astype(np.int64)
    ):
        left_hashes, right_hashes = (
            _hash_distinct_shingles(left[batch]),
            _hash_distinct_shingles(right[batch]),
        )
        all_hashes = np.sort(np.concatenate([left_hashes, right_hashes]))
        shared = np.bincount(
            _read_owners(all_hashes[1:][all_hashes[1:] == all_hashes[:-1]]),
            minlength=len(left[batch]),
        )
        union = np.bincount(_read_owners(all_hashes), minlength=len(shared)) - shared
        result_P[batch] = shared / union
    return result_P


def _split_batches(lengths: Integers) -> Iterator[slice]:
    """Yield the slices of batches of texts of these lengths that fit in memory."""
    batch = np.arange(len(lengths)) // _BATCH_TEXTS + np.cumsum(lengths) // _BATCH_CHARACTERS
    edges = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(lengths)]
    for start, stop in itertools.pairwise(edges):
        yield slice(start, stop)


def _hash_shingles(texts: pl.Series) -> tuple[Integers, Hashes]:
    """Return for every run of five characters the index of its text, and a hash of 64 bits."""
    padded = texts.str.pad_end(_SHINGLE_LENGTH, "\0")
    lengths_T = padded.str.len_chars().to_numpy().astype(np.int64)
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), "<u4").astype(np.uint64)
    runs = np.zeros(max(0, len(codes) - _SHINGLE_LENGTH + 1), np.uint64)
    for offset in range(_SHINGLE_LENGTH):
        runs = runs * _GOLDEN_RATIO + codes[offset : offset + len(runs)]
    counts_T = lengths_T - _SHINGLE_LENGTH + 1
    owner_S = np.repeat(np.arange(len(texts)), counts_T)
    # Runs that begin in the last four characters of a text would reach into the next one.
    return owner_S, _mix_bits(runs[np.arange(len(owner_S)) + (_SHINGLE_LENGTH - 1) * owner_S])


def _mix_bits(numbers: Hashes) -> Hashes:
    """Return numbers of which each bit depends on all bits (end of SplitMix64, Steele 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _compute_signatures(texts: pl.Series, bins: int) -> NDArray[np.uint32]:
    """Return the smallest hash of each bin, [T, K]; hashes are put again only into empty bins.

    Each round uses a hash function of its own; from round `bins` on, all hashes of a round go
    into one bin, so that none remains empty.
    """
    signature_TK = np.full((len(texts), bins), _EMPTY_BIN)
    owner_S, hash_S = _hash_shingles(texts)
    for round_number in range(2 * bins):
        round_hash_S = _mix_bits(hash_S + np.uint64(round_number * int(_GOLDEN_RATIO) % 2**64))
        bin_S = ((round_hash_S >> np.uint64(32)) * np.uint64(bins) >> np.uint64(32)).astype(
            np.int64
        )
        if round_number >= bins:
            bin_S[:] = round_number - bins
        cell_S = owner_S * bins + bin_S
        value_S = np.minimum(round_hash_S.astype(np.uint32), _EMPTY_BIN - np.uint32(1))
        empty_S = signature_TK.ravel()[cell_S] == _EMPTY_BIN
        np.minimum.at(signature_TK.ravel(), cell_S[empty_S], value_S[empty_S])
        unfinished_S = (signature_TK == _EMPTY_BIN).any(axis=1)[owner_S]
        owner_S, hash_S = owner_S[unfinished_S], hash_S[unfinished_S]
        if len(owner_S) == 0:
            break
    return signature_TK


def _pair_equal_keys(keys_R: NDArray[np.uint32], queries: Integers, known: Integers) -> Hashes:
    """Return pairs of equal keys in 64 bits each: the queried row above, the known row below."""
    order = known[np.argsort(keys_R[known], kind="stable")]
    ascending = keys_R[order]
    first = np.searchsorted(ascending, keys_R[queries], side="left")
    last = np.searchsorted(ascending, keys_R[queries], side="right")
    counts = np.minimum(last - first, _MAX_PER_BAND)
    left = np.repeat(queries, counts)
    step = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(first, counts) + step]
    pairs: Hashes = left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)
    return pairs


def _confirm_pairs(texts: TextReader, pairs_2P: Integers, threshold: float) -> Integers:
    """Return the queried rows whose similarity to a known row reaches the threshold."""
    if pairs_2P.shape[1] == 0:
        return np.empty(0, np.int64)
    rows = np.unique(pairs_2P[0])
    query_texts = pl.concat(
        [
            normalize_texts(frame.gather(indices))
            for indices, frame in _select_from_frames(texts, rows)
        ]
    )
    is_near = np.zeros(len(rows), bool)
    order = np.argsort(pairs_2P[1], kind="stable")
    queries, known = np.searchsorted(rows, pairs_2P[0][order]), pairs_2P[1][order]
    done = 0
    for indices, frame in _select_from_frames(texts, known):
        positions = queries[done : done + len(indices)]
        done += len(indices)
        is_open_P = ~is_near[positions]
        left, right = (
            query_texts.gather(positions[is_open_P]),
            normalize_texts(frame.gather(indices[is_open_P])),
        )
        is_near[positions[is_open_P][compute_jaccard(left, right) >= threshold]] = True
    return rows[is_near]


def _select_from_frames(texts: TextReader, rows: Integers) -> Iterator[tuple[Integers, pl.Series]]:
    """Yield for each frame the indices in it of these ascending rows, and the frame."""
    start = 0
    for frame in texts():
        selected = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(frame))]
        if len(selected):
            yield selected - start, frame
        start += len(frame)


def _hash_distinct_shingles(texts: pl.Series) -> Hashes:
    """Return the distinct shingles of each text: twelve bits for its index, then the hash."""
    owner_S, hash_S = _hash_shingles(texts)
    marked_S = np.sort(owner_S.astype(np.uint64) << np.uint64(52) | hash_S >> np.uint64(12))
    # Not by np.unique, which uses a hash table for uint64 and is thirty times slower here.
    once_S: Hashes = marked_S[np.diff(marked_S, prepend=~marked_S[:1]) != 0]
    return once_S


def _read_owners(marked: Hashes) -> Integers:
    """Return the index of the text of each marked shingle."""
    return (marked >> np.uint64(52)).astype(np.int64)
