"""Forms: a number costs what its distribution says, and its quantiles are the right ones."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.networks.heads.config import HeadConfig
from models.networks.heads.outputs import build_output
from models.prediction_table import rescale_parts

ERRORS = ("mse", "gaussian_nll", "quantile", "student_t", "negative_binomial")

raws = st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=6)


def parts_of(error: str, raw: list[float], *, mean: float = 0.0, spread: float = 1.0):
    form = build_output(HeadConfig(loss=error), mean=mean, std=spread)
    return form, form.parts(torch.tensor(raw).view(-1, 6)[:, : form.num_raw])


@given(raws, st.floats(-5, 5))
def test_student_costs_what_scipy_says(raw: list[float], truth: float) -> None:
    form, parts = parts_of("student_t", raw)
    place, scale, freedom = parts[0].double().tolist()

    loss = form.loss(parts, torch.tensor([truth])).item()

    assert loss == pytest.approx(-stats.t.logpdf(truth, freedom, place, scale), rel=1e-3, abs=1e-3)


@given(raws, st.integers(0, 60))
def test_counts_cost_what_scipy_says(raw: list[float], count: int) -> None:
    form, parts = parts_of("negative_binomial", raw, mean=9.0, spread=4.0)
    mean = parts[0, 0].double().item() * 4 + 9
    dispersion = parts[0, 1].double().item()
    chance = stats.nbinom.logpmf(count, 1 / dispersion, 1 / (1 + dispersion * mean))

    loss = form.loss(parts, torch.tensor([(count - 9.0) / 4.0])).item()

    assert loss == pytest.approx(-chance, rel=5e-3, abs=5e-3)


@given(raws)
def test_quantiles_never_cross(raw: list[float]) -> None:
    _, parts = parts_of("quantile", raw)

    assert (parts.diff(dim=1) >= 0).all()


def test_the_pinball_loss_is_least_at_the_truth_s_own_quantiles() -> None:
    truth = torch.from_numpy(np.random.default_rng(0).normal(size=20_000)).float()
    form = build_output(HeadConfig(loss="quantile"))
    raw = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        form.loss(form.parts(raw).expand(len(truth), -1), truth).backward()
        optimizer.step()

    np.testing.assert_allclose(form.parts(raw)[0].tolist(), [-1.2816, 0.0, 1.2816], atol=0.05)


@pytest.mark.parametrize("error", ["gaussian_nll", "quantile", "student_t"])
@given(raw=raws, origin=st.floats(-4, 4), scale=st.floats(0.2, 3))
def test_quantiles_move_with_their_origin_and_scale(error, raw, origin, scale) -> None:
    form, parts = parts_of(error, raw)
    moved = form.rescale(parts, torch.tensor([origin]), torch.tensor([scale]))
    head, one = HeadConfig(loss=error), np.ones(1)

    before = rescale_parts(parts[:, None].numpy(), head, 0 * one, one)
    after = rescale_parts(moved[:, None].numpy(), head, 0 * one, one)

    for name in ("prediction", "quantile_0.1", "quantile_0.5", "quantile_0.9"):
        np.testing.assert_allclose(after[name], origin + scale * before[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("error", ERRORS[1:])
@given(raw=raws)
def test_quantiles_rise_and_lie_around_the_answer(error: str, raw: list[float]) -> None:
    mean, spread = (9.0, 4.0) if error == "negative_binomial" else (100.0, 20.0)
    _, parts = parts_of(error, raw, mean=mean, spread=spread)

    told = rescale_parts(
        parts[:, None].numpy(), HeadConfig(loss=error), np.array([mean]), np.array([spread])
    )

    low, middle, high = (told[f"quantile_{level}"].item() for level in (0.1, 0.5, 0.9))
    assert low <= middle <= high
    if error != "negative_binomial":
        assert told["prediction"].item() == pytest.approx(middle, rel=1e-4, abs=1e-3)
    else:
        count = told["prediction"].item()
        shape = 1 / parts[0, 1].item()
        expected = stats.nbinom.ppf(0.9, shape, shape / (shape + count))
        assert abs(high - expected) <= 1


@pytest.mark.parametrize("error", ERRORS)
def test_a_loss_is_least_for_the_answers_that_came(error: str) -> None:
    draw = np.random.default_rng(1)
    counts = draw.poisson(7.0, 4000).astype(np.float32)
    mean, spread = float(counts.mean()), float(counts.std())
    truth = torch.from_numpy((counts - mean) / spread)
    form = build_output(HeadConfig(loss=error), mean=mean, std=spread)
    raw = torch.zeros(1, form.num_raw, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        form.loss(form.parts(raw).expand(len(truth), -1), truth).backward()
        optimizer.step()

    answer = form.point(form.parts(raw)).item() * spread + mean
    assert answer == pytest.approx(7.0, abs=0.35)
