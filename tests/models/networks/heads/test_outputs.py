"""Outputs: losses agree with their distributions, and quantiles are correct."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.networks.heads.config import HeadConfig
from models.networks.heads.outputs import build_output
from models.prediction_table import rescale_step_outputs

ERRORS = ("mse", "gaussian_nll", "quantile", "student_t", "negative_binomial")

raws = st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=6)


def parts_of(loss: str, raw: list[float], *, mean: float = 0.0, std: float = 1.0):
    form = build_output(HeadConfig(loss=loss), mean=mean, std=std)
    return form, form.compute_parts(torch.tensor(raw).view(-1, 6)[:, : form.num_raw])


@given(raws, st.floats(-5, 5))
def test_the_loss_of_student_t_is_that_of_scipy(raw: list[float], target: float) -> None:
    form, parts = parts_of("student_t", raw)
    location, scale, freedom = parts[0].double().tolist()

    loss = form.loss(parts, torch.tensor([target])).item()

    assert loss == pytest.approx(
        -stats.t.logpdf(target, freedom, location, scale), rel=1e-3, abs=1e-3
    )


@given(raws, st.integers(0, 60))
def test_the_loss_of_counts_is_that_of_scipy(raw: list[float], count: int) -> None:
    form, parts = parts_of("negative_binomial", raw, mean=9.0, std=4.0)
    mean = parts[0, 0].double().item() * 4 + 9
    dispersion = parts[0, 1].double().item()
    log_probability = stats.nbinom.logpmf(count, 1 / dispersion, 1 / (1 + dispersion * mean))

    loss = form.loss(parts, torch.tensor([(count - 9.0) / 4.0])).item()

    assert loss == pytest.approx(-log_probability, rel=5e-3, abs=5e-3)


@given(raws)
def test_quantiles_never_cross(raw: list[float]) -> None:
    _, parts = parts_of("quantile", raw)

    assert (parts.diff(dim=1) >= 0).all()


def test_the_pinball_loss_is_lowest_at_the_quantiles_of_the_targets() -> None:
    target = torch.from_numpy(np.random.default_rng(0).normal(size=20_000)).float()
    form = build_output(HeadConfig(loss="quantile"))
    raw = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        form.loss(form.compute_parts(raw).expand(len(target), -1), target).backward()
        optimizer.step()

    np.testing.assert_allclose(
        form.compute_parts(raw)[0].tolist(), [-1.2816, 0.0, 1.2816], atol=0.05
    )


@pytest.mark.parametrize("loss", ["gaussian_nll", "quantile", "student_t"])
@given(raw=raws, origin=st.floats(-4, 4), scale=st.floats(0.2, 3))
def test_quantiles_are_rescaled_by_origin_and_scale(loss, raw, origin, scale) -> None:
    form, parts = parts_of(loss, raw)
    rescaled_parts = form.rescale(parts, torch.tensor([origin]), torch.tensor([scale]))
    head, one = HeadConfig(loss=loss), np.ones(1)

    before = rescale_step_outputs(parts[:, None].numpy(), head, 0 * one, one)
    after = rescale_step_outputs(rescaled_parts[:, None].numpy(), head, 0 * one, one)

    for name in ("prediction", "quantile_0.1", "quantile_0.5", "quantile_0.9"):
        np.testing.assert_allclose(after[name], origin + scale * before[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("loss", ERRORS[1:])
@given(raw=raws)
def test_quantiles_increase_around_the_prediction(loss: str, raw: list[float]) -> None:
    mean, std = (9.0, 4.0) if loss == "negative_binomial" else (100.0, 20.0)
    _, parts = parts_of(loss, raw, mean=mean, std=std)

    rescaled = rescale_step_outputs(
        parts[:, None].numpy(), HeadConfig(loss=loss), np.array([mean]), np.array([std])
    )

    low, middle, high = (rescaled[f"quantile_{level}"].item() for level in (0.1, 0.5, 0.9))
    assert low <= middle <= high
    if loss != "negative_binomial":
        assert rescaled["prediction"].item() == pytest.approx(middle, rel=1e-4, abs=1e-3)
    else:
        count = rescaled["prediction"].item()
        shape = 1 / parts[0, 1].item()
        expected = stats.nbinom.ppf(0.9, shape, shape / (shape + count))
        assert abs(high - expected) <= 1


@pytest.mark.parametrize("loss", ERRORS)
def test_a_loss_is_lowest_for_the_parameters_of_the_targets(loss: str) -> None:
    draw = np.random.default_rng(1)
    counts = draw.poisson(7.0, 4000).astype(np.float32)
    mean, std = float(counts.mean()), float(counts.std())
    target = torch.from_numpy((counts - mean) / std)
    form = build_output(HeadConfig(loss=loss), mean=mean, std=std)
    raw = torch.zeros(1, form.num_raw, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        form.loss(form.compute_parts(raw).expand(len(target), -1), target).backward()
        optimizer.step()

    prediction = form.select_point(form.compute_parts(raw)).item() * std + mean
    assert prediction == pytest.approx(7.0, abs=0.35)
