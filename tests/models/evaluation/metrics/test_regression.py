"""Metrics of numbers: as in scikit-learn, also far from zero and without variance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from models.evaluation.metrics.by_kind import (
    compute_metrics,
)
from models.evaluation.metrics.regression import r2
from models.evaluation.predictions import (
    SinglePredictions,
)
from tests.support.sample_predictions import (
    make_numbers,
)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=30))
def test_scores_of_numbers_are_those_of_scikit_learn(pairs) -> None:
    targets, prediction = np.array(pairs).T

    found = compute_metrics(make_numbers(targets, prediction))

    assert found["mae"] == pytest.approx(sk.mean_absolute_error(targets, prediction))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(targets, prediction))
    if targets.std() > 1e-3:
        assert found["r2"] == pytest.approx(sk.r2_score(targets, prediction), abs=1e-9)


@given(st.integers(1, 30), st.integers(0, 99))
def test_scores_of_numbers_are_precise_far_from_zero(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, error = rng.normal(size=rows) + 1e6, rng.normal(size=rows)

    found = compute_metrics(make_numbers(targets, targets + error))

    assert found["mae"] == pytest.approx(sk.mean_absolute_error(targets, targets + error), rel=1e-9)
    assert found["rmse"] == pytest.approx(
        sk.root_mean_squared_error(targets, targets + error), rel=1e-9
    )
    if rows > 1:
        assert found["r2"] == pytest.approx(
            sk.r2_score(targets, targets + error), rel=1e-6, abs=1e-6
        )


@pytest.mark.parametrize("level", [0.0, 0.5, 0.1, 1e9 + 0.3])
def test_r2_is_undefined_without_variance(level: float) -> None:
    predictions = make_numbers([level] * 7, [level + 1.0] * 7)

    assert r2(predictions) == 0.0


def test_a_missing_number_counts_as_the_mean() -> None:
    targets = np.array([1.0, 2.0, 6.0])

    missing, mean = make_numbers(targets, [np.nan] * 3), make_numbers(targets, [3.0] * 3)

    assert compute_metrics(missing) == compute_metrics(mean)
    assert r2(missing) == pytest.approx(0.0, abs=1e-12)


@given(st.integers(1, 40), st.integers(0, 999))
def test_percentages_are_those_of_scikit_learn_where_no_target_is_zero(
    rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.uniform(1, 9, rows)
    predictions = SinglePredictions(
        targets, targets + rng.normal(size=rows), np.full(rows, np.nan), 0
    )

    expected = 100 * sk.mean_absolute_percentage_error(targets, predictions.prediction_R)

    assert compute_metrics(predictions)["mape"] == pytest.approx(expected)


def test_percentages_of_targets_that_are_all_zero_are_left_out() -> None:
    predictions = SinglePredictions(np.zeros(3), np.ones(3), np.full(3, np.nan), 0)

    assert "mape" not in compute_metrics(predictions)
