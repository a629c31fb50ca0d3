"""Guardrails: a drop that is significant fails at more than its limit, chance never does."""

import numpy as np
import pytest

from models.evaluation.guardrails import slice_by_target
from models.evaluation.predictions import SinglePredictions
from tasks.gate.comparison import Comparison, GateConfig
from tasks.gate.guardrails import check_calibration, check_slices
from tests.support.sample_predictions import make_classes, make_numbers

ROWS = 400


def predict_with_confidence(probability_of_wrong_rows: float, wrong: int) -> SinglePredictions:
    """Predict two classes; the target has 0.9, but in so many rows this probability."""
    probability = np.full(ROWS, 0.9)
    probability[:wrong] = probability_of_wrong_rows
    return make_classes(np.zeros(ROWS), np.zeros(ROWS), 2, probability)


def list_passed(challenger: SinglePredictions, **limits: float | None) -> list[bool]:
    gate = GateConfig(bootstrap_samples=300, **limits)
    comparison = Comparison("champion v1", True, challenger, predict_with_confidence(0.9, 0))
    return [each.passed for each in check_calibration(comparison, gate, by_time=False)]


def test_a_significant_increase_of_the_log_loss_fails_above_its_limit() -> None:
    worse = predict_with_confidence(0.3, 100)
    increase = 100 / ROWS * np.log(0.9 / 0.3)

    assert list_passed(worse, max_log_loss_increase=increase - 0.01) == [False]
    assert list_passed(worse, max_log_loss_increase=increase + 0.01) == [True]


def test_an_increase_of_the_log_loss_by_chance_passes() -> None:
    # One row decides: an interval of the gain reaches 0.
    assert list_passed(predict_with_confidence(1e-6, 1), max_log_loss_increase=0.001) == [True]


def test_a_lower_log_loss_passes_any_limit() -> None:
    better = predict_with_confidence(0.99, ROWS)

    assert list_passed(better, max_log_loss_increase=0.0) == [True]


def test_without_limits_nothing_is_checked_and_numbers_have_no_calibration() -> None:
    gate = GateConfig(max_log_loss_increase=0.1)
    numbers = make_numbers(np.zeros(ROWS), np.ones(ROWS))

    assert list_passed(predict_with_confidence(0.3, 100), max_log_loss_increase=None) == []
    assert check_calibration(Comparison("c", True, numbers, numbers), gate, by_time=False) == []


@pytest.mark.parametrize(
    ("limit", "min_rows", "expected"),
    [(0.2, 30, [True, True]), (0.05, 30, [False, True]), (0.05, 301, []), (None, 30, [])],
)
def test_a_class_that_gets_worse_fails_above_the_limit(
    limit: float | None, min_rows: int, expected: list[bool]
) -> None:
    targets = np.repeat([0, 1], [300, 100])
    ours = targets.copy()
    ours[:30] = 1
    # By 30 of 300 rows the first class is worse; of 100 rows one is wrong by chance.
    ours[-1] = 0
    challenger, champion = make_classes(targets, ours, 2), make_classes(targets, targets, 2)
    gate = GateConfig(bootstrap_samples=400, max_slice_drop=limit, min_slice_rows=min_rows)

    guardrails = check_slices(
        Comparison("champion v1", True, challenger, champion),
        slice_by_target(challenger, ("a", "b")),
        gate,
        metric="macro_f1",
    )

    assert [each.passed for each in guardrails] == expected
    if expected:
        assert guardrails[0].name == "drop of class a (300 rows)"
        assert guardrails[0].value == pytest.approx(0.1)
