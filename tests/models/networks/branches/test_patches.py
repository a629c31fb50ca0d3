"""Filters drawn from images and ridge regression: learned from few images, kept in a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.features.feature_spec import Pixels
from models.networks.branches.base import BranchSpec, SequenceBatch, make_empty_statics
from models.networks.branches.patches import PatchBranch
from models.networks.jagged import Offsets


def draw_bars(count: int, side: int, colors: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw noisy images with a bar somewhere: lying (0), standing (1) or slanting (2)."""
    draw = np.random.default_rng(seed)
    classes = np.arange(count) % 3
    images = draw.normal(100, 20, (count, side, side, colors))
    inside = np.arange(side // 2)
    for image, kind in zip(images, classes, strict=True):
        top, left = draw.integers(0, side // 2, 2)
        rows = top + inside * (kind != 0)
        image[rows, left + inside * (kind != 1)] += 100
    return images.clip(0, 255).astype(np.uint8), classes


def build_batch(images: np.ndarray) -> SequenceBatch:
    count, height, width, colors = images.shape
    values = torch.from_numpy(images.reshape(count * height, width * colors))
    return SequenceBatch(values, Offsets.from_lengths([height] * count), make_empty_statics(count))


def build_branch(images: np.ndarray, outputs: int = 3, kind: str = "category") -> PatchBranch:
    _, height, width, colors = images.shape
    pixels = Pixels(
        height=height, width=width, colors=colors, mean=(100.0,) * colors, std=(30.0,) * colors
    )
    return PatchBranch(BranchSpec(kind, outputs), pixels)


def fit(branch: PatchBranch, images: np.ndarray, targets: np.ndarray) -> PatchBranch:
    batch = build_batch(images)
    branch.fit_features([batch])
    branch.fit(branch.compute_features(batch), targets[:, None].astype(float))
    return branch


@pytest.mark.parametrize(("side", "colors"), [(8, 1), (20, 3), (130, 1)])
def test_shapes_are_told_apart_wherever_they_are(side: int, colors: int) -> None:
    images, classes = draw_bars(240, side, colors, 0)
    others, expected = draw_bars(90, side, colors, 1)

    branch = fit(build_branch(images), images, classes)

    found = branch(*build_batch(others)).argmax(dim=1).numpy()
    assert (found == expected).mean() > 0.85


def test_numbers_are_predicted() -> None:
    images, _ = draw_bars(200, 12, 1, 2)
    size = np.linspace(0, 1, 200)
    images[:, :6] = (images[:, :6] * size[:, None, None, None]).astype(np.uint8)

    branch = fit(build_branch(images, 1, "number"), images[::2], size[::2])

    predicted = branch(*build_batch(images[1::2]))[:, 0].numpy()
    assert np.corrcoef(predicted, size[1::2])[0, 1] > 0.9


def test_a_saved_branch_predicts_the_same(tmp_path: Path) -> None:
    images, classes = draw_bars(60, 16, 3, 3)
    branch = fit(build_branch(images), images, classes)
    save_file(branch.state_dict(), tmp_path / "branch.safetensors")

    loaded = build_branch(images)
    loaded.restore(load_file(tmp_path / "branch.safetensors"))

    batch = build_batch(images)
    torch.testing.assert_close(loaded(*batch), branch(*batch), rtol=0, atol=0)


def test_an_image_alone_is_predicted_as_in_a_batch() -> None:
    images, classes = draw_bars(70, 16, 1, 4)
    branch = fit(build_branch(images), images, classes)

    together = branch(*build_batch(images))
    alone = torch.cat([branch(*build_batch(images[row : row + 1])) for row in range(70)])

    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def test_images_of_one_color_are_predicted() -> None:
    images, classes = draw_bars(60, 16, 1, 5)
    branch = fit(build_branch(images), images, classes)

    flat = np.full((3, 16, 16, 1), 7, np.uint8)

    assert torch.isfinite(branch(*build_batch(flat))).all()
