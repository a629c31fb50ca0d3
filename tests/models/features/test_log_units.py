"""Logarithms that every number has, and that give it back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features.log_units import LogRange, from_log_units, to_log_units

LIMITS = LogRange(2.0, 50.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_every_number_has_a_unit_that_gives_it_back(numbers: list[float]) -> None:
    values = np.array(numbers)

    again = from_log_units(to_log_units(values, LIMITS), LIMITS)

    np.testing.assert_allclose(again, values, rtol=1e-9, atol=1e-9)


def test_training_values_have_their_logarithms() -> None:
    values = np.linspace(2.0, 50.0, 40)
    np.testing.assert_allclose(to_log_units(values, LIMITS), np.log(values))


def test_units_rise_with_the_values_across_the_ends_of_the_range() -> None:
    values = np.array([-100.0, 0.0, 1.99, 2.01, 499.0, 501.0, 1e5])
    assert (np.diff(to_log_units(values, LIMITS)) > 0).all()


def test_a_prediction_far_above_the_range_does_not_explode() -> None:
    far = float(from_log_units(np.array([30.0]), LIMITS)[0])
    assert far == pytest.approx(500.0 * (1 + 30.0 - np.log(500.0)))


def test_a_missing_value_stays_missing() -> None:
    assert np.isnan(to_log_units(np.array([np.nan]), LIMITS)).all()
