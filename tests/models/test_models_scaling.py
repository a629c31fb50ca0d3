"""Scaling: numpy's mean and spread in any cut, in any unit, and nothing that is no number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.scaler import Scaler, fit_scaler

NAMES = ["a", "b", "c"]


def cut(values: np.ndarray, places: list[int]) -> list[np.ndarray]:
    return [part for part in np.split(values, sorted(places)) if len(part)]


def noise(rows: int, *, offset: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 3)) * [1.0, 5.0, 0.1] + offset


@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from([0.0, 1e6, -1e9]),
    st.floats(0, 0.6),
    st.integers(0, 99),
)
def test_any_cut_of_the_steps_gives_numpys_mean_and_spread_of_what_is_there(
    places: list[int], offset: float, gaps: float, seed: int
) -> None:
    values = noise(40, offset=offset, seed=seed)
    missing = np.random.default_rng(seed + 1).random(values.shape) < gaps
    missing[0] = False
    values[missing] = np.nan

    scaler = fit_scaler(cut(values, places), columns=NAMES, shared=False)

    np.testing.assert_allclose(scaler.mean, np.nanmean(values, axis=0), rtol=1e-12, atol=1e-12)
    if (~missing).sum(axis=0).min() > 1:
        np.testing.assert_allclose(scaler.spread, np.nanstd(values, axis=0), rtol=1e-6)
    assert scaler.gaps == tuple(np.flatnonzero(missing.any(axis=0)))


@pytest.mark.parametrize("offset", [0.0, 1e7, -1e9])
def test_a_channel_that_begins_with_gaps_keeps_its_digits(offset: float) -> None:
    late = noise(500, offset=offset)
    early = np.full((20, 3), np.nan)

    scaler = fit_scaler([early, late], columns=NAMES, shared=False)

    np.testing.assert_allclose(scaler.mean, late.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.spread, late.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9])
def test_what_was_fitted_on_is_centred_on_zero_with_a_spread_of_one(offset: float) -> None:
    values = (noise(2000) * 1000 + offset).astype(np.float32)

    scaled = fit_scaler([values], columns=NAMES, shared=False).transform(values)

    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0, dtype=float), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0, dtype=float), np.ones(3), atol=1e-5)


@pytest.mark.parametrize("exponent", [-90, -60, -40, 0, 40, 90])
def test_the_unit_of_a_channel_changes_nothing(exponent: int) -> None:
    values = noise(50).astype(np.float32)
    other = values * np.float32(2.0**exponent)

    scaled = fit_scaler([values], columns=NAMES, shared=False).transform(values)
    scaled_other = fit_scaler([other], columns=NAMES, shared=False).transform(other)

    np.testing.assert_allclose(scaled_other, scaled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.1, -7.0, 1e9, 1e-12])
def test_a_channel_that_never_changes_becomes_zero(level: float) -> None:
    values = np.full((37, 3), level, np.float32)

    scaler = fit_scaler(cut(values, [3, 11]), columns=NAMES, shared=False)

    assert scaler.spread == (1.0, 1.0, 1.0)
    np.testing.assert_allclose(scaler.transform(values), np.zeros((37, 3)), atol=1e-6)


def test_pixels_share_one_mean_and_spread() -> None:
    values = noise(30).astype(np.float32)

    scaler = fit_scaler(cut(values, [7]), columns=["image"], shared=True)

    np.testing.assert_allclose(scaler.mean, np.full(3, values.mean(dtype=float)), rtol=1e-12)
    np.testing.assert_allclose(scaler.spread, np.full(3, values.std(dtype=float)), rtol=1e-6)
    assert scaler.channels == 3


def test_a_gap_that_training_never_had_adds_no_channel_and_becomes_the_mean() -> None:
    scaler = Scaler(mean=(1.0, 2.0), spread=(1.0, 4.0), gaps=(1,))

    scaled = scaler.transform(np.array([[np.nan, 6.0], [2.0, np.nan]], np.float32))

    assert scaled.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38, -3.4e38])
def test_no_value_however_absurd_becomes_something_that_is_no_number(value: float) -> None:
    scaler = Scaler(mean=(0.5,), spread=(0.01,), gaps=())

    assert np.isfinite(scaler.transform(np.array([[value]], np.float32))).all()


def test_an_infinite_value_counts_as_a_gap() -> None:
    values = np.array([[1.0], [np.inf], [3.0]], np.float32)

    scaler = fit_scaler([values], columns=["a"], shared=False)

    assert (scaler.mean, scaler.spread, scaler.gaps) == ((2.0,), (1.0,), (0,))


def test_scaling_leaves_the_steps_themselves_alone() -> None:
    values = np.array([[1.0], [np.nan]], np.float32)
    before = values.copy()

    Scaler(mean=(0.0,), spread=(2.0,), gaps=(0,)).transform(values)

    np.testing.assert_array_equal(values, before)


def test_no_steps_at_all_are_refused() -> None:
    with pytest.raises(UnlearnableError, match="the training split has no steps"):
        fit_scaler([], columns=NAMES, shared=False)
