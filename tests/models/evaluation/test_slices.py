"""Slices: parts of the rows, complete and disjoint, each with its own score."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from models.evaluation.baselines.single import choose_likeliest_class
from models.evaluation.predictions import SinglePredictions, TagPredictions
from models.evaluation.slices import (
    build_class_f1,
    find_worst_slice,
    reindex_slices,
    score_slices,
    slice_by_class,
    slice_by_column,
    slice_by_range,
)

VALUES = st.lists(st.one_of(st.none(), st.integers(-40, 40)), min_size=1, max_size=80)


def make_hits(correct: np.ndarray) -> SinglePredictions:
    """Predictions of rows of one class of two."""
    return SinglePredictions(
        np.zeros(len(correct)), np.where(correct, 0.0, 1.0), np.where(correct, 0.9, 0.1), 2
    )


def score(predictions, slices, metric: str = "accuracy"):
    return score_slices(
        predictions, slices, metric=metric, confidence=0.95, count=300, by_time=False
    )


@given(values=VALUES, kind=st.sampled_from([pl.Int64, pl.Float64, pl.String]))
def test_slices_of_a_column_contain_every_row_once(values: list, kind) -> None:
    column = pl.Series("x", values, dtype=pl.Int64).cast(kind)

    for found in (
        slice_by_column("x", column),
        slice_by_range("x", pl.Series("x", values, dtype=pl.Int64)),
    ):
        rows = np.concatenate([each.rows_S for each in found])
        assert sorted(rows.tolist()) == list(range(len(values)))
        assert len({each.value for each in found}) == len(found)


def test_rare_values_share_one_slice_and_missing_values_another() -> None:
    names = [f"n{index % 30:02}" for index in range(100)] + ["n00"] * 50 + [None] * 3

    found = {each.value: len(each.rows_S) for each in slice_by_column("x", pl.Series("x", names))}

    assert len(found) == 22
    assert found["(missing)"] == 3
    assert found["n00"] == 54


def test_times_are_divided_into_periods_that_are_named_by_their_ends() -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=index) for index in range(100)]

    found = slice_by_range("time", pl.Series("day", days))

    assert [len(each.rows_S) for each in found] == [25, 25, 25, 25]
    assert found[0].value == "2024-01-01 to 2024-01-25"


def test_a_class_is_scored_by_its_own_f1_over_all_rows() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    weights = rng.random((300, 3)) + 0.5 * (np.arange(3) == targets[:, None])
    predictions = choose_likeliest_class(
        weights / weights.sum(axis=1, keepdims=True), targets.astype(float)
    )

    found = score(predictions, slice_by_class(predictions, ("a", "b", "c")), "macro_f1")

    expected = f1_score(targets, predictions.prediction_R, average=None)
    assert [each["score"] for each in found] == pytest.approx(expected.tolist())
    assert [each["metric"] for each in found] == ["f1"] * 3
    assert all(each["low"] <= each["score"] <= each["high"] for each in found)


def test_labels_have_their_own_f1_too() -> None:
    rng = np.random.default_rng(0)
    targets, predicted = rng.random((2, 50, 3)) < 0.5
    tags = TagPredictions(targets, predicted)

    found = score(tags, slice_by_class(tags, ("a", "b")), "micro_f1")

    assert [each["by"] for each in found] == ["label"] * 2
    assert found[1]["score"] == pytest.approx(f1_score(targets[:, 1], predicted[:, 1]))
    assert build_class_f1(0)(TagPredictions(np.zeros((3, 1), bool), np.zeros((3, 1), bool))) != 0


def test_the_worst_slice_is_the_one_with_the_lowest_upper_end_of_its_interval() -> None:
    correct = np.ones(1000, bool)
    correct[:150] = np.arange(150) % 2 == 0
    correct[500:524] = np.arange(24) % 3 != 0
    correct[990:995] = False
    names = np.repeat(["large and bad", "good"], [300, 700]).astype(object)
    names[500:524], names[990:995] = "small and noisy", "tiny"
    predictions = make_hits(correct)

    found = score(predictions, slice_by_column("x", pl.Series("x", names.tolist())))
    worst = find_worst_slice(found, metric="accuracy", overall=float(correct.mean()))

    scores = {each["value"]: each["score"] for each in found}
    assert scores["tiny"] == 0.0
    assert scores["small and noisy"] < scores["large and bad"]
    assert worst["value"] == "large and bad"
    assert worst["is_significant"]


def test_the_worst_slice_of_an_error_has_the_largest_one() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=200)
    off = np.where(np.arange(200) < 100, 0.1, 2.0) * rng.choice([-1, 1], 200)
    predictions = SinglePredictions(targets, targets + off, np.full(200, np.nan), 0)
    names = pl.Series("x", ["near"] * 100 + ["far"] * 100)

    worst = find_worst_slice(
        score(predictions, slice_by_column("x", names), "mae"), metric="mae", overall=1.05
    )

    assert worst["value"] == "far"
    assert worst["is_significant"]


def test_of_slices_that_may_be_perfect_the_worst_is_the_one_with_an_error() -> None:
    correct = np.ones(60, bool)
    correct[45] = False
    names = pl.Series("x", ["a"] * 30 + ["b"] * 30)

    worst = find_worst_slice(
        score(make_hits(correct), slice_by_column("x", names)), metric="accuracy", overall=59 / 60
    )

    assert worst["value"] == "b"
    assert not worst["is_significant"]


def test_of_slices_with_equal_quality_none_is_significantly_worse() -> None:
    correct = np.random.default_rng(1).random(400) < 0.8
    slices = slice_by_column("x", pl.Series("x", ["a", "b"] * 200))

    worst = find_worst_slice(
        score(make_hits(correct), slices), metric="accuracy", overall=float(correct.mean())
    )

    assert not worst["is_significant"]
    assert find_worst_slice([], metric="accuracy", overall=1.0) is None


def test_slices_are_reindexed_to_a_selection_of_the_rows() -> None:
    slices = slice_by_column("x", pl.Series("x", ["a", "b", "a", "c", "b"]))

    found = reindex_slices(slices, np.array([1, 2, 4]), 5)

    assert {each.value: each.rows_S.tolist() for each in found} == {"a": [1], "b": [0, 2]}
