"""Near-duplicates: nearly all are found, and no less similar row is dropped."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features.splitting.minhash import (
    MAX_CANDIDATES,
    choose_bands,
    compute_jaccard,
    find_candidates,
    mark_near_duplicates,
)
from models.features.splitting.split import TEST, TRAINING, UNUSED, VALIDATION

thresholds = st.sampled_from([0.5, 0.7, 0.8, 0.95, 1.0])

texts = st.text(alphabet="ab \u00e9\U0001f422", max_size=12)


def shingles(text: str) -> set[str]:
    small = " ".join(text.lower().split()).ljust(5, "\0")
    return {small[start : start + 5] for start in range(len(small) - 4)}


def compute_similarity(left: str, right: str) -> float:
    one, two = shingles(left), shingles(right)
    return len(one & two) / len(one | two)


def frames_of(rows: list[str | None], size: int):
    column = pl.Series("text", rows, dtype=pl.String)
    return lambda: (column[start : start + size] for start in range(0, len(column), size))


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=20))
def test_the_vectorized_comparison_agrees_with_sets(pairs: list[tuple[str, str]]) -> None:
    plain = [[" ".join(text.lower().split()) for text in pair] for pair in pairs]
    left, right = (pl.Series([pair[side] for pair in plain]) for side in (0, 1))

    assert compute_jaccard(left, right).tolist() == [compute_similarity(*pair) for pair in plain]


@given(
    st.lists(st.tuples(texts, st.integers(0, 3)), min_size=1, max_size=25),
    thresholds,
    st.integers(1, 30),
)
def test_no_pair_below_the_threshold_is_dropped(rows, threshold: float, size: int) -> None:
    splits = np.array([split for _, split in rows], np.int8)

    near = mark_near_duplicates(frames_of([text for text, _ in rows], size), splits, threshold)

    compared = {TRAINING: (), VALIDATION: (TRAINING,), TEST: (TRAINING, VALIDATION), UNUSED: ()}
    for (text, split), is_near in zip(rows, near, strict=True):
        best = max(
            (compute_similarity(text, other) for other, there in rows if there in compared[split]),
            default=0,
        )
        assert not is_near or best >= threshold
        # Texts that differ only in case and spaces have every band in common.
        assert is_near or best < 1


def edited(draw: np.random.Generator, words: int, edits: int) -> tuple[str, str]:
    """A text of random words, and the same with some of them replaced."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    text = ["".join(draw.choice(letters, draw.integers(2, 9))) for _ in range(words)]
    other = list(text)
    for word in draw.choice(words, edits, replace=False):
        other[word] = "".join(draw.choice(letters, 5))
    return " ".join(text), " ".join(other)


@pytest.mark.parametrize("threshold", [0.6, 0.8])
@pytest.mark.parametrize("words", [12, 60])
def test_nearly_all_pairs_above_the_threshold_are_found(words: int, threshold: float) -> None:
    draw = np.random.default_rng(words)
    most = max(1, words // 6)
    pairs = [edited(draw, words, int(edits)) for edits in draw.integers(0, most + 1, 400)]
    rows = [text for pair in pairs for text in pair]
    splits = np.array([TRAINING, TEST] * len(pairs), np.int8)

    near = mark_near_duplicates(frames_of(rows, 300), splits, threshold)[1::2]

    index = np.array([compute_similarity(*pair) for pair in pairs])
    assert (index >= threshold + 0.1).sum() > 50
    assert near[index >= threshold + 0.1].mean() >= 0.95
    assert near[index >= threshold].mean() >= 0.95
    assert not near[index < threshold].any()


def test_the_result_does_not_depend_on_the_chunks() -> None:
    draw = np.random.default_rng(0)
    rows = list(itertools.chain(*(edited(draw, 10, 1) for _ in range(100))))
    splits = draw.integers(0, 4, len(rows)).astype(np.int8)

    results = [
        mark_near_duplicates(frames_of(rows, size), splits, 0.7).tolist() for size in (1, 7, 500)
    ]

    assert results[0] == results[1] == results[2]


def test_case_spaces_and_missing_values_do_not_hide_a_copy() -> None:
    rows = ["The quick  brown fox\n", None, " the QUICK brown fox", "", "else entirely"]
    splits = np.array([TRAINING, TRAINING, TEST, VALIDATION, TEST], np.int8)

    assert mark_near_duplicates(frames_of(rows, 2), splits, 1.0).tolist() == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_a_template_of_many_copies_takes_few_comparisons_per_row() -> None:
    keys = np.zeros((1000, 3), np.uint32)

    pairs = find_candidates(keys, np.arange(500), np.arange(500, 1000))

    assert np.bincount(pairs[0], minlength=500).max() <= MAX_CANDIDATES


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_find_a_pair_just_at_the_threshold(threshold: float) -> None:
    bands, rows = choose_bands(threshold)

    assert bands * rows <= 96
    assert 1 - (1 - threshold**rows) ** bands >= 0.96
