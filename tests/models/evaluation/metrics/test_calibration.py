"""Reliability and coverage: what is sure is right, as often as it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import softmax
from models.evaluation.metrics.calibration import (
    compute_reliability,
    compute_share_interval,
    measure_coverage,
    undo_temperature,
)


def test_answers_that_are_right_as_often_as_they_say_have_no_error() -> None:
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.2, 1.0, 200_000)

    found = compute_reliability(sure, draw.random(len(sure)) < sure)

    assert found["ece"] < 0.006
    assert sum(each["rows"] for each in found["bins"]) == len(sure)
    assert all(each["confidence"] is None for each in found["bins"][:3])


def test_answers_that_are_too_sure_have_the_error_that_they_are_off_by() -> None:
    right = np.arange(1000) % 10 < 6

    found = compute_reliability(np.full(1000, 0.9), right)

    assert found["ece"] == pytest.approx(0.3)
    assert [each["rows"] for each in found["bins"] if each["rows"]] == [1000]


@given(seed=st.integers(0, 2**32 - 1), heat=st.floats(0.1, 10))
@settings(max_examples=50)
def test_what_a_temperature_did_can_be_undone(seed: int, heat: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (6, 5)).astype(np.float32)

    before = undo_temperature(softmax(logits, heat), heat)

    np.testing.assert_allclose(before, softmax(logits, 1.0), rtol=1e-6, atol=1e-12)


def test_probabilities_too_small_for_a_number_are_no_trouble() -> None:
    chances = softmax(np.array([[0.0, 5000.0]], np.float32), 1.0)

    assert undo_temperature(chances, 2.0).tolist() == [[0.0, 1.0]]


def test_the_interval_of_a_share_is_the_exact_one() -> None:
    assert compute_share_interval(0, 10, 0.95) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert compute_share_interval(10, 10, 0.95) == (pytest.approx(0.6915, abs=1e-4), 1.0)
    assert compute_share_interval(90, 100, 0.95) == pytest.approx((0.8238, 0.9510), abs=1e-4)
    assert (
        measure_coverage(np.array([True, False]), np.array([1, 2]), confidence=0.9)["size"] == 1.5
    )
