"""One linear model of the last steps for each of several columns."""

import numpy as np
import torch

from models.networks.branches.base import BranchSpec, SequenceBatch, make_empty_statics
from models.networks.branches.columns import ColumnsBranch
from models.networks.branches.lookback import LookbackBranch
from models.networks.jagged import Offsets

STEPS, HORIZON = 30, 4


def make_series(rows: int = 360) -> np.ndarray:
    """Return a random walk, a season of 12 steps, and a channel that is not forecast, [N, 3]."""
    draw = np.random.default_rng(1)
    walk = np.cumsum(draw.normal(size=rows))
    season = np.tile(draw.normal(size=12), rows // 12) + draw.normal(0, 1e-3, rows)
    return np.stack([walk, season, draw.normal(size=rows)], axis=1)


def cut_windows(series: np.ndarray, channels: list[int]) -> tuple[SequenceBatch, np.ndarray]:
    """Return the windows with all channels, and the targets of some, [R, H K]."""
    starts = range(len(series) - STEPS - HORIZON + 1)
    windows = np.stack([series[start : start + STEPS] for start in starts])
    targets = np.stack([series[start + STEPS :][:HORIZON, channels] for start in starts])
    values = torch.from_numpy(windows.reshape(-1, series.shape[1]).astype(np.float32))
    offsets = Offsets.from_lengths([STEPS] * len(windows))
    batch = SequenceBatch(values, offsets, make_empty_statics(len(windows)))
    return batch, targets.reshape(len(windows), -1)


def build_branch(own_channels: tuple[int, ...], *, steps: int = STEPS) -> ColumnsBranch:
    count = len(own_channels)
    return ColumnsBranch(
        BranchSpec("number", HORIZON * count),
        channels=3,
        steps=steps,
        num_columns=count,
        own_channels=own_channels,
    )


def test_every_column_chooses_its_own_anchor() -> None:
    series = make_series()
    batch, targets = cut_windows(series, [0, 1])
    branch = build_branch((0, 1))

    branch.fit(branch.compute_features(batch), targets)

    forecasts = branch(*batch).view(-1, HORIZON, 2)
    last = batch.values_NC[batch.offsets.last_B][:, :1]
    torch.testing.assert_close(forecasts[:, :, 0], last.expand(-1, HORIZON))
    season = targets.reshape(-1, HORIZON, 2)[:, :, 1]
    assert np.abs(forecasts[:, :, 1].numpy() - season).max() < 0.02


def test_a_column_is_fitted_on_the_rows_in_which_it_is_known() -> None:
    series = make_series()
    batch, targets = cut_windows(series, [0, 1])
    gaps = targets.copy()
    gaps[::2, 0] = np.nan

    one, two = build_branch((0, 1)), build_branch((0, 1))
    one.fit(one.compute_features(batch), targets)
    two.fit(two.compute_features(batch), gaps)

    seasonal = [each(*batch).view(-1, HORIZON, 2)[:, :, 1] for each in (one, two)]
    torch.testing.assert_close(*seasonal)
    assert torch.isfinite(two(*batch)).all()


def test_a_branch_is_restored_from_its_buffers() -> None:
    batch, targets = cut_windows(make_series(), [0, 1])
    branch, other = build_branch((0, 1)), build_branch((0, 1))
    branch.fit(branch.compute_features(batch), targets)

    other.restore(branch.state_dict())

    assert torch.equal(other(*batch), branch(*batch))


def test_many_steps_leave_out_the_past_of_other_columns() -> None:
    """The calendar and other channels that are not forecast are read all the same."""
    few, many = build_branch((0, 1)), build_branch((0, 1), steps=1_000)

    assert few.read_channels == [[0, 1, 2], [0, 1, 2]]
    assert many.read_channels == [[0, 2], [1, 2]]


def test_each_model_of_many_steps_is_that_of_its_column_alone() -> None:
    series = make_series()
    batch, targets = cut_windows(series, [0, 1])
    branch = build_branch((0, 1))
    branch.read_channels = [[0, 2], [1, 2]]
    branch.columns = torch.nn.ModuleList(
        LookbackBranch(
            BranchSpec("number", HORIZON),
            channels=2,
            steps=STEPS,
            own_channel=0,
            inverse_penalty=1.0,
        )
        for _ in range(2)
    )
    branch.fit(branch.compute_features(batch), targets)

    forecasts = branch(*batch).view(-1, HORIZON, 2)
    for index in range(2):
        own, own_targets = cut_windows(series[:, [index, 2]], [0])
        expected = LookbackBranch(
            BranchSpec("number", HORIZON),
            channels=2,
            steps=STEPS,
            own_channel=0,
            inverse_penalty=1.0,
        )
        expected.fit(expected.compute_features(own), own_targets)
        torch.testing.assert_close(forecasts[:, :, index], expected(*own))
