"""Intervals of the gate cover the truth as often as their confidence says: not less, nor more.

At a confidence of 0.6 a wrong width shows on few repetitions: with a third of the tails, scores are
covered nearly nine times in ten, and with a third of the width two times in ten.
"""

from collections.abc import Callable

import numpy as np
import pytest

from models.evaluation.metrics.by_kind import DESCRIPTIVE_METRICS, METRICS, compute_metrics
from models.evaluation.metrics.regression import mae
from models.evaluation.predictions import Predictions
from models.evaluation.statistics.bootstrap import Interval, compute_gain_interval
from models.evaluation.statistics.permutation import compute_null_gains
from tasks.gate.comparison import Comparison, GateConfig, measure_gain, score_metrics
from tests.support.interval_simulation import PAIRS, Pair, draw_numbers_in_time
from tests.support.sample_predictions import make_numbers

GATE = GateConfig(confidence=0.6, bootstrap_samples=100)

REPETITIONS, ROWS = 100, 60

LOWEST, HIGHEST = 0.42, 0.75
"""Bounds of the coverage, about four standard errors of so many repetitions from 0.6."""

RANKING = ("auroc", "average_precision")
"""Metrics whose swaps are computed one by one: fewer of them are drawn."""


def measure_cover(interval: Interval, truth: float) -> float:
    """Return 1 where the interval covers the truth, 0 where not, 0.5 where it ends there."""
    return ((interval.low <= truth <= interval.high) + (interval.low < truth < interval.high)) / 2


def measure_coverage(
    draw_pair: Callable[[np.random.Generator, int], Pair], *, by_time: bool
) -> dict[str, float]:
    """Return the coverage of each metric's score."""
    many, _ = draw_pair(np.random.default_rng(10**6), 10_000)
    truths = compute_metrics(many)
    covers: dict[str, list[float]] = {}
    for seed in range(REPETITIONS):
        scored, _ = draw_pair(np.random.default_rng(seed), ROWS)
        for name, score in score_metrics(scored, GATE, by_time=by_time).items():
            cover = measure_cover(Interval(score.low, score.high), truths[name])
            covers.setdefault(name, []).append(cover)
    return {name: float(np.mean(cover)) for name, cover in covers.items()}


def measure_gain_coverage(kind: str, metric: str) -> float:
    """Return how often the interval of a gain contains 0, for models of equal skill."""
    is_slow = metric in RANKING
    covers = []
    for seed in range(30 if is_slow else REPETITIONS):
        pair = PAIRS[kind](np.random.default_rng(seed), ROWS)
        gain = measure_gain(Comparison("other", True, *pair), GATE, metric=metric, by_time=False)
        covers.append(measure_cover(Interval(gain.low, gain.high), 0.0))
    return float(np.mean(covers))


@pytest.mark.parametrize("kind", PAIRS)
def test_scores_are_covered_as_often_as_the_confidence_says(kind: str) -> None:
    coverage = measure_coverage(PAIRS[kind], by_time=False)

    expected = set(METRICS[kind]) - ({"mse"} if kind == "forecast" else set())
    assert set(coverage) == expected
    assert {name: share for name, share in coverage.items() if not LOWEST <= share <= HIGHEST} == {}


def test_scores_of_rows_in_time_are_covered_as_often() -> None:
    coverage = measure_coverage(draw_numbers_in_time, by_time=True)

    # With so few blocks intervals are somewhat too narrow.
    assert {name: share for name, share in coverage.items() if not 0.35 <= share <= HIGHEST} == {}


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        (kind, metric)
        for kind in PAIRS
        for metric in METRICS[kind]
        if metric not in DESCRIPTIVE_METRICS and (kind, metric) != ("forecast", "mse")
    ],
)
def test_a_gain_of_nothing_is_covered_at_least_as_often(kind: str, metric: str) -> None:
    # The wider one of two intervals is taken, so the coverage is above the confidence.
    assert LOWEST <= measure_gain_coverage(kind, metric) <= 0.92


def make_constant_gain(rows: int) -> tuple[Predictions, Predictions]:
    """Return two models of which one errs by one less on every row: resamples do not vary."""
    targets = np.zeros(rows)
    return make_numbers(targets, targets + 1.0), make_numbers(targets, targets + 2.0)


@pytest.mark.parametrize(("confidence", "errors"), [(0.6, 0.84), (0.95, 1.96), (0.99, 2.58)])
@pytest.mark.parametrize("block", [1, 5])
def test_a_gain_is_as_uncertain_as_random_swaps_show(
    confidence: float, errors: float, block: int
) -> None:
    low, high = compute_gain_interval(
        mae, *make_constant_gain(900), sign=-1.0, confidence=confidence, count=4000, block=block,
        seed=0,
    )  # fmt: skip

    # Runs of two blocks swap together.
    runs = 900 / (1 if block == 1 else 2 * block)
    expected = errors / np.sqrt(runs)
    assert high - 1.0 == pytest.approx(expected, rel=0.12)
    assert 1.0 - low == pytest.approx(expected, rel=0.12)


def test_a_gain_that_few_rows_decide_is_as_uncertain_as_resamples_show() -> None:
    targets = np.zeros(100)
    errors = np.full(100, 0.0)
    errors[7] = 100.0

    low, high = compute_gain_interval(
        mae, make_numbers(targets, targets), make_numbers(targets, errors), sign=-1.0,
        confidence=0.95, count=2000, block=1, seed=0,
    )  # fmt: skip

    # A resample has the row up to three times, where a swap has it once, on one of two sides.
    assert (low, high) == (0.0, pytest.approx(3.0))


def test_swapped_runs_begin_anywhere() -> None:
    targets, errors = np.zeros(40), np.zeros(40)
    errors[[11, 12]] = 1.0

    gains = compute_null_gains(
        mae, make_numbers(targets, targets), make_numbers(targets, errors), count=4000, block=4,
        seed=0,
    )  # fmt: skip

    # Neighbours are in one run three times of four, else they agree every other time.
    assert np.mean(np.abs(gains) > 0.04) == pytest.approx(0.875, abs=0.03)
