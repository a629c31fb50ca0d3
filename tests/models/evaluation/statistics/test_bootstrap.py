"""Confidence intervals cover as often as their confidence, and are paired for gains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.baselines.single import (
    choose_likeliest_class,
)
from models.evaluation.metrics.additive import Metric
from models.evaluation.metrics.by_kind import (
    METRICS,
    compute_metrics,
)
from models.evaluation.metrics.classification import (
    accuracy,
    log_loss,
)
from models.evaluation.metrics.regression import mae
from models.evaluation.predictions import (
    SinglePredictions,
)
from models.evaluation.statistics.block_length import (
    choose_block_length,
)
from models.evaluation.statistics.bootstrap import (
    Interval,
    assign_strata,
    compute_gain_interval,
    compute_score_interval,
    compute_score_intervals,
    draw_blocks,
    draw_resamples,
)
from tests.support.sample_predictions import (
    draw_predictions,
    make_classes,
    make_numbers,
)

OPTIONS = {"confidence": 0.95, "count": 300, "block": 1, "seed": 0}


def simulate_classifier(share: float, rows: int, seed: int = 0) -> SinglePredictions:
    """Predict that share of two equally frequent classes correctly."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, rows)
    return make_classes(targets, np.where(rng.random(rows) < share, targets, 1 - targets), 2)


def list_metrics(predictions: SinglePredictions) -> list[Metric]:
    """The metrics of classes that are defined for these predictions."""
    return [METRICS["category"][name] for name in compute_metrics(predictions)]


def compute_width(interval: Interval) -> float:
    return interval.high - interval.low


@given(st.integers(1, 50), st.integers(1, 9))
def test_resamples_are_blocks_of_neighbours_within_range(rows: int, block: int) -> None:
    [draw] = draw_blocks(rows, count=1, block=block, seed=0)

    runs = draw[: len(draw) - len(draw) % min(block, rows)].reshape(-1, min(block, rows))
    assert len(draw) == rows
    assert 0 <= draw.min() <= draw.max() < rows
    assert (np.diff(runs, axis=1) == 1).all()


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 9))
def test_each_resample_has_as_many_rows_as_the_data_and_valid_indices(
    rows: int, block: int, seed: int
) -> None:
    draws = list(draw_blocks(rows, count=5, block=block, seed=seed))

    assert [len(draw) for draw in draws] == [rows] * 5
    assert all(0 <= draw.min() <= draw.max() < rows for draw in draws)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(0, 99))
def test_a_resample_has_as_many_rows_of_each_class_as_the_test(targets: list, seed: int) -> None:
    predictions = SinglePredictions(
        np.array(targets, float), np.zeros(len(targets)), np.ones(len(targets)), 4
    )
    strata = assign_strata(predictions)

    for draw in draw_resamples(predictions, count=5, block=1, seed=seed):
        assert sorted(strata[draw]) == sorted(strata)


def test_the_interval_covers_the_true_score_about_as_often_as_its_confidence() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        correct = rng.random(150) < 0.8
        predictions = make_classes(np.zeros(150), np.where(correct, 0, 1))
        low, high = compute_score_interval(accuracy, predictions, **OPTIONS)
        covered += low <= 0.8 <= high

    assert 180 <= covered <= 199


@settings(max_examples=25)
@given(st.floats(0.2, 0.9), st.integers(40, 200), st.integers(0, 99))
def test_an_interval_contains_the_score(share: float, rows: int, seed: int) -> None:
    predictions = simulate_classifier(share, rows, seed)

    for metric in list_metrics(predictions):
        low, high = compute_score_interval(metric, predictions, **OPTIONS)
        assert low <= metric(predictions) <= high


def test_the_same_seed_draws_the_same_interval() -> None:
    predictions = simulate_classifier(0.7, 100)

    first, second = (compute_score_interval(accuracy, predictions, **OPTIONS) for _ in range(2))
    other = compute_score_interval(log_loss, predictions, **{**OPTIONS, "seed": 1})

    assert first == second
    assert other != compute_score_interval(log_loss, predictions, **OPTIONS)


def test_intervals_drawn_together_are_those_drawn_alone() -> None:
    predictions = draw_predictions("category", 3)
    options = {"confidence": 0.9, "count": 200, "block": 1, "seed": 0}

    together = compute_score_intervals(METRICS["category"], predictions, **options)

    for name, metric in METRICS["category"].items():
        assert together[name] == compute_score_intervals({"": metric}, predictions, **options)[""]


def test_intervals_are_narrower_with_more_rows_or_less_confidence() -> None:
    few, many = simulate_classifier(0.7, 100), simulate_classifier(0.7, 2500)

    uncertainty = compute_width(compute_score_interval(accuracy, few, **OPTIONS))

    assert compute_width(compute_score_interval(accuracy, many, **OPTIONS)) < 0.4 * uncertainty
    assert (
        compute_width(compute_score_interval(accuracy, few, **{**OPTIONS, "confidence": 0.5}))
        < 0.7 * uncertainty
    )


def test_intervals_are_wider_for_correlated_neighbours() -> None:
    errors = np.repeat(np.random.default_rng(0).normal(size=100), 10)
    correlated = make_numbers(np.zeros(1000), errors)
    block = choose_block_length(1000, by_time=True)

    in_runs = compute_score_interval(mae, correlated, **{**OPTIONS, "block": block})
    one_by_one = compute_score_interval(mae, correlated, **OPTIONS)

    assert compute_width(in_runs) > 2 * compute_width(one_by_one)


def test_the_gain_of_a_model_over_itself_is_exactly_zero() -> None:
    rng = np.random.default_rng(0)
    own = make_classes(rng.integers(0, 4, 100), rng.integers(0, 4, 100))

    for name in compute_metrics(own):
        metric = METRICS["category"][name]
        assert compute_gain_interval(metric, own, own, sign=1.0, **OPTIONS) == (0.0, 0.0)


@given(st.integers(0, 99))
def test_the_gain_of_one_model_is_the_loss_of_the_other(seed: int) -> None:
    one, other = simulate_classifier(0.8, 60, seed), simulate_classifier(0.6, 60, seed)
    options = {**OPTIONS, "count": 60}

    gain = compute_gain_interval(accuracy, one, other, sign=1.0, **options)
    loss = compute_gain_interval(accuracy, other, one, sign=1.0, **options)

    assert gain == pytest.approx((-loss.high, -loss.low), abs=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_where_lower_is_better_the_gain_changes_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=80)
    good, bad = make_numbers(targets, targets + 0.1), make_numbers(targets, targets + 1.0)

    low, _ = compute_gain_interval(METRICS["number"]["mae"], good, bad, sign=-1.0, **OPTIONS)

    assert low > 0


def test_a_gain_in_a_rank_metric_is_measured_with_the_same_resamples_for_both_models() -> None:
    good = draw_predictions("category", 1, rows=300)
    flat = choose_likeliest_class(np.full((300, 5), 0.2), good.target_R)
    options = {"sign": 1.0, "confidence": 0.95, "count": 200, "block": 1, "seed": 0}

    low, high = compute_gain_interval(METRICS["category"]["auroc"], good, flat, **options)

    assert 0.2 < low < high < 0.6
