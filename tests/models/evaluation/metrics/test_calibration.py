"""Calibration error and coverage: against known shares, and the exact interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import compute_softmax
from models.evaluation.metrics.calibration import (
    compute_binomial_interval,
    compute_reliability,
    measure_coverage,
    undo_temperature,
)


def test_predictions_as_often_correct_as_their_confidence_have_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1.0, 200_000)

    found = compute_reliability(confidence, rng.random(len(confidence)) < confidence)

    assert found["ece"] < 0.006
    assert sum(each["rows"] for each in found["bins"]) == len(confidence)
    assert all(each["confidence"] is None for each in found["bins"][:3])


def test_the_error_of_overconfident_predictions_is_the_difference() -> None:
    correct = np.arange(1000) % 10 < 6

    found = compute_reliability(np.full(1000, 0.9), correct)

    assert found["ece"] == pytest.approx(0.3)
    assert [each["rows"] for each in found["bins"] if each["rows"]] == [1000]


@given(seed=st.integers(0, 2**32 - 1), temperature=st.floats(0.1, 10))
@settings(max_examples=50)
def test_temperature_scaling_can_be_undone(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (6, 5)).astype(np.float32)

    before = undo_temperature(compute_softmax(logits, temperature), temperature)

    np.testing.assert_allclose(before, compute_softmax(logits, 1.0), rtol=1e-6, atol=1e-12)


def test_probabilities_that_underflow_are_accepted() -> None:
    probabilities = compute_softmax(np.array([[0.0, 5000.0]], np.float32), 1.0)

    assert undo_temperature(probabilities, 2.0).tolist() == [[0.0, 1.0]]


def test_the_interval_of_a_share_is_exact() -> None:
    assert compute_binomial_interval(0, 10, 0.95) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert compute_binomial_interval(10, 10, 0.95) == (pytest.approx(0.6915, abs=1e-4), 1.0)
    assert compute_binomial_interval(90, 100, 0.95) == pytest.approx((0.8238, 0.9510), abs=1e-4)
    assert (
        measure_coverage(np.array([True, False]), np.array([1, 2]), confidence=0.9)["size"] == 1.5
    )
