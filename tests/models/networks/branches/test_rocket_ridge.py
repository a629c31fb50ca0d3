"""Random convolutions and ridge regression: learned from few rows, and kept in a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.networks.branches.base import BranchSpec, SequenceBatch, make_empty_statics
from models.networks.branches.rocket_ridge import RocketBranch
from models.networks.jagged import Offsets


def draw_waves(count: int, seed: int) -> tuple[SequenceBatch, np.ndarray]:
    """Return sines and square waves of several lengths and phases, two channels."""
    draw = np.random.default_rng(seed)
    codes, parts = np.arange(count) % 2, []
    for code in codes:
        phase = np.arange(draw.integers(30, 50)) / 4 + draw.uniform(0, 6)
        wave = np.sin(phase) if code else np.sign(np.sin(phase))
        parts.append(np.stack([wave, wave[::-1]], axis=1) + draw.normal(0, 0.2, (len(wave), 2)))
    values = torch.from_numpy(np.concatenate(parts).astype(np.float32))
    offsets = Offsets.from_lengths([len(part) for part in parts])
    return SequenceBatch(values, offsets, make_empty_statics(count)), codes


@pytest.mark.parametrize("wide", [False, True])
def test_twenty_rows_are_enough_to_tell_waves_apart(wide: bool, tmp_path: Path) -> None:
    batch, codes = draw_waves(20, seed=0)
    branch = RocketBranch(BranchSpec("category", 2), 2, wide=wide)
    branch.fit_features([batch])
    branch.fit(branch.compute_features(batch), codes[:, None].astype(float))

    test, test_codes = draw_waves(60, seed=1)
    logits = branch(*test)

    assert (logits.argmax(dim=1).numpy() == test_codes).mean() > 0.9
    save_file(branch.state_dict(), tmp_path / "branch.safetensors")
    loaded = RocketBranch(BranchSpec("category", 2), 2, wide=wide)
    loaded.restore(load_file(tmp_path / "branch.safetensors"))
    assert torch.equal(loaded(*test), logits)


def test_a_prediction_does_not_depend_on_the_other_sequences_of_a_batch() -> None:
    batch, codes = draw_waves(20, seed=2)
    branch = RocketBranch(BranchSpec("number", 1), 2, wide=False)
    branch.fit_features([batch])
    branch.fit(branch.compute_features(batch), codes[:, None].astype(float))

    together = branch(*batch)
    first = int(batch.offsets.lengths[0])
    alone = branch(batch.values_NC[:first], Offsets.from_lengths([first]), None)

    torch.testing.assert_close(alone, together[:1], atol=1e-4, rtol=1e-4)
