"""Linear models of the last steps: naive forecasts, ridge regression, and which one is taken."""

import numpy as np
import pytest
import torch

from models.networks.branches.base import BranchSpec, SequenceBatch, make_empty_statics
from models.networks.branches.lookback import LookbackBranch
from models.networks.jagged import Offsets


def build_branch(horizon: int, steps: int, *, channels: int = 1, own: int = 0) -> LookbackBranch:
    return LookbackBranch(
        BranchSpec("number", horizon),
        channels=channels,
        steps=steps,
        own_channel=own,
        inverse_penalty=1.0,
    )


def cut_windows(series: np.ndarray, steps: int, horizon: int) -> tuple[SequenceBatch, np.ndarray]:
    starts = range(len(series) - steps - horizon + 1)
    windows = np.stack([series[start : start + steps] for start in starts])
    targets = np.stack([series[start + steps : start + steps + horizon] for start in starts])
    values = torch.from_numpy(windows.reshape(-1, 1).astype(np.float32))
    offsets = Offsets.from_lengths([steps] * len(windows))
    return SequenceBatch(values, offsets, make_empty_statics(len(windows))), targets


def fit(branch: LookbackBranch, series: np.ndarray, steps: int, horizon: int) -> torch.Tensor:
    batch, targets = cut_windows(series, steps, horizon)
    branch.fit(branch.compute_features(batch), targets)
    return branch(*batch)


def test_a_random_walk_is_forecast_by_its_last_value() -> None:
    series = np.cumsum(np.random.default_rng(0).normal(size=600))
    branch = build_branch(horizon=5, steps=20)

    forecasts = fit(branch, series, 20, 5)

    batch, _ = cut_windows(series, 20, 5)
    last = batch.values_NC[batch.offsets.last_B]
    torch.testing.assert_close(forecasts, last.expand(-1, 5))


def test_a_pure_season_is_found_and_repeated() -> None:
    draw = np.random.default_rng(1)
    pattern = draw.normal(size=12)
    series = np.tile(pattern, 30) + draw.normal(0, 1e-3, 360)
    branch = build_branch(horizon=4, steps=30)

    forecasts = fit(branch, series, 30, 4)

    _, targets = cut_windows(series, 30, 4)
    assert branch.season % 12 == 0
    assert np.abs(forecasts.numpy() - targets).max() < 0.02


def test_an_autoregression_is_better_than_the_naive_forecasts() -> None:
    draw = np.random.default_rng(2)
    series = np.zeros(1500)
    for step in range(2, len(series)):
        series[step] = 1.6 * series[step - 1] - 0.8 * series[step - 2] + draw.normal()
    branch = build_branch(horizon=2, steps=12)

    forecasts = fit(branch, series, 12, 2)

    batch, targets = cut_windows(series, 12, 2)
    last = batch.values_NC[batch.offsets.last_B].numpy()
    error = np.abs(forecasts.numpy() - targets).mean()
    assert error < 0.7 * np.abs(last - targets).mean()


def test_windows_whose_target_has_a_gap_are_left_out() -> None:
    series = np.sin(np.arange(200.0))
    batch, targets = cut_windows(series, 10, 2)
    targets[::3, 1] = np.nan
    branch = build_branch(horizon=2, steps=10)

    branch.fit(branch.compute_features(batch), targets)

    assert branch(*batch).isfinite().all()


def test_short_sequences_are_read_as_if_zeros_came_before() -> None:
    branch = build_branch(horizon=1, steps=4, own=-1)
    values = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    batch = SequenceBatch(values, Offsets.from_lengths([2, 3]), make_empty_statics(2))

    features = branch.compute_features(batch)

    assert features.tolist() == [[0, 0, 1, 2], [0, 3, 4, 5]]


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_predicted_by_logistic_regression(classes: int) -> None:
    draw = np.random.default_rng(3)
    codes = np.arange(150) % classes
    values = torch.from_numpy(
        (np.repeat(codes, 6) + draw.normal(0, 0.3, 900)).astype(np.float32)[:, None]
    )
    batch = SequenceBatch(values, Offsets.from_lengths([6] * 150), make_empty_statics(150))
    branch = LookbackBranch(
        BranchSpec("category", 4), channels=1, steps=6, own_channel=-1, inverse_penalty=1.0
    )

    branch.fit(branch.compute_features(batch), codes[:, None].astype(float))

    logits = branch(*batch)
    assert logits.shape == (150, 4)
    assert (logits.argmax(dim=1).numpy() == codes).mean() > 0.95
