"""Texts against their targets: edits as in the textbook, BLEU as in its paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.metrics.by_kind import compute_metrics
from models.evaluation.metrics.regression import bleu, character_error_rate, word_error_rate
from models.evaluation.metrics.text import compare_texts, compute_edit_distances, tokenize_13a

words = st.lists(st.sampled_from("abc"), max_size=8)


def compute_distance_by_table(one: list[str], other: list[str]) -> int:
    costs = {(i, 0): i for i in range(len(one) + 1)} | {(0, j): j for j in range(len(other) + 1)}
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            substituted = costs[i - 1, j - 1] + (one[i - 1] != other[j - 1])
            costs[i, j] = min(costs[i - 1, j] + 1, costs[i, j - 1] + 1, substituted)
    return costs[len(one), len(other)]


@given(st.lists(st.tuples(words, words), max_size=7))
def test_edit_distances_are_those_of_the_full_table(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    assert compute_edit_distances(pairs).tolist() == [
        compute_distance_by_table(*pair) for pair in pairs
    ]


def test_bleu_of_a_worked_example() -> None:
    found = compare_texts(["the cat is on the mat today"], ["the cat sat on the mat today"])

    # Six of seven words, four of six bigrams, two of five trigrams, one of four 4-grams.
    expected = 100 * (6 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25
    assert bleu(found) == pytest.approx(expected)
    assert word_error_rate(found) == pytest.approx(1 / 7)


def test_a_short_prediction_has_a_length_penalty() -> None:
    found = compare_texts(["a b c d e f g h"], ["a b c d"])

    assert bleu(found) == pytest.approx(100 * np.exp(1 - 8 / 4))


def test_exact_texts_are_perfect_by_every_metric() -> None:
    found = compare_texts(["one two three four", "eins zwei drei vier"], ["one two three four"] * 2)

    exact = found.select(np.array([0, 0, 0]))

    assert compute_metrics(exact) == {
        "character_error_rate": 0.0,
        "word_error_rate": 0.0,
        "exact_match": 1.0,
        "bleu": pytest.approx(100.0),
    }
    assert 0 < bleu(found) < 100


def test_a_missing_prediction_counts_as_an_empty_text() -> None:
    found = compare_texts(["abcd", "ab"], [None, "ab"])

    assert character_error_rate(found) == pytest.approx(4 / 6)
    assert found.exact_match_R.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's 3.14, he said.", ["It's", "3.14", ",", "he", "said", "."]),
        ("a 1,000-fold (rise)!", ["a", "1,000", "-", "fold", "(", "rise", ")", "!"]),
        ("L'homme a-t-il bu?", ["L'homme", "a-t-il", "bu", "?"]),
    ],
)
def test_texts_are_split_at_punctuation_but_not_within_numbers(
    text: str, tokens: list[str]
) -> None:
    assert tokenize_13a(text) == tokens
