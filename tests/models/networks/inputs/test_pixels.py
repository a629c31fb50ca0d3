"""Pixels as steps: in every order, alone or in a batch, and augmented in training."""

import importlib
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from models.errors import SetupError, UnlearnableError
from models.features.feature_spec import Pixels
from models.features.image import AugmentConfig, ImageInput
from models.networks.inputs.augment import augment
from models.networks.inputs.grid_order import order_hilbert, order_raster
from models.networks.inputs.pixels import PixelFront
from models.networks.jagged import Offsets

sides = st.integers(1, 12)


def pixels(height: int = 6, width: int = 8, colors: int = 1) -> Pixels:
    return Pixels(
        height=height,
        width=width,
        colors=colors,
        mean=tuple(100.0 + n for n in range(colors)),
        std=tuple(50.0 + n for n in range(colors)),
    )


def images(features: Pixels, batch: int = 3, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    shape = (batch, features.height, features.width * features.colors)
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, generator=draw).to(dtype)


def front(features: Pixels, **options: object) -> PixelFront:
    config = ImageInput(column="image", **options)
    return PixelFront(features, config, pretrained=bool(options.get("pretrained_weights")))


def steps_of(reading: PixelFront, values: torch.Tensor) -> torch.Tensor:
    rows = Offsets.from_lengths([reading.pixels.height] * len(values))
    steps, offsets = reading(values.flatten(0, 1), rows)
    assert steps.shape == (len(values) * reading.steps, reading.channels)
    assert offsets.lengths.tolist() == [reading.steps] * len(values)
    assert steps.dtype == torch.float32
    return steps.unflatten(0, (len(values), reading.steps))


def unscaled(reading: PixelFront, values: torch.Tensor) -> np.ndarray:
    colors = reading.pixels.colors
    steps = steps_of(reading, values).unflatten(2, (-1, colors))
    std, mean = torch.tensor(reading.pixels.std), torch.tensor(reading.pixels.mean)
    return (steps * std + mean).round().numpy()


@given(sides, sides)
def test_every_order_reads_each_cell_once(height: int, width: int) -> None:
    cells = list(range(height * width))

    assert order_raster(height, width) == cells
    assert sorted(order_hilbert(height, width)) == cells


@pytest.mark.parametrize("side", [1, 2, 4, 8, 16, 32])
def test_the_hilbert_curve_of_a_power_of_two_goes_from_neighbor_to_neighbor(side: int) -> None:
    cells_read = [divmod(cell, side) for cell in order_hilbert(side, side)]

    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(cells_read))


@given(st.integers(1, 20), st.integers(1, 20))
def test_the_hilbert_curve_of_any_rectangle_has_one_diagonal_step_at_most(
    height: int, width: int
) -> None:
    cells_read = [divmod(cell, width) for cell in order_hilbert(height, width)]

    moves = [(abs(a - c), abs(b - d)) for (a, b), (c, d) in pairwise(cells_read)]

    assert all(max(move) == 1 for move in moves)
    assert moves.count((1, 1)) <= (height % 2 or width % 2)


@pytest.mark.parametrize("colors", [1, 3])
def test_rows_and_columns_are_the_image_from_the_top_and_from_the_left(colors: int) -> None:
    features = pixels(colors=colors)
    values = images(features)
    grid = values.unflatten(2, (8, colors)).numpy()

    rows = unscaled(front(features), values)
    columns = unscaled(front(features, sequence="columns"), values)

    np.testing.assert_array_equal(rows, grid)
    np.testing.assert_array_equal(columns, grid.swapaxes(1, 2))


@given(sides, sides, st.integers(1, 5), st.sampled_from(["raster", "hilbert"]))
def test_patches_are_the_squares_of_the_image_in_their_order(
    height: int, width: int, patch: int, order: str
) -> None:
    features = pixels(height, width, 3)
    values = images(features, batch=2)
    reading = front(features, sequence="patches", patch=patch, scan_order=order)

    result = unscaled(reading, values).reshape(2, -1, patch, patch, 3)

    down, right = -(-height // patch), -(-width // patch)
    grid = np.empty((2, down * patch, right * patch, 3))
    grid[:] = features.mean
    grid[:, :height, :width] = values.unflatten(2, (width, 3)).numpy()
    for index, cell in enumerate(
        (order_hilbert if order == "hilbert" else order_raster)(down, right)
    ):
        top, left = cell // right * patch, cell % right * patch
        square = grid[:, top : top + patch, left : left + patch]
        np.testing.assert_array_equal(result[:, index], square)


@pytest.mark.parametrize("sequence", ["rows", "columns", "patches"])
@given(batch=st.integers(1, 4), index=st.integers(0, 3))
@settings(max_examples=20)
def test_an_image_reads_the_same_alone_and_in_any_batch(
    sequence: str, batch: int, index: int
) -> None:
    features = pixels()
    values = images(features, batch)
    reading = front(features, sequence=sequence)
    one = min(index, batch - 1)

    together = steps_of(reading, values)

    assert torch.equal(together[one : one + 1], steps_of(reading, values[one : one + 1]))
    assert torch.equal(together, steps_of(reading, values.float()))


def test_an_extreme_pixel_stays_finite() -> None:
    features = pixels()
    values = torch.full((1, 6, 8), 3e38)

    assert steps_of(front(features), values).isfinite().all()


def test_reading_pixels_adds_no_parameters_and_no_state() -> None:
    assert front(pixels(), sequence="patches", scan_order="hilbert").state_dict() == {}


@settings(max_examples=20)
@given(height=st.integers(1, 40), width=st.integers(1, 40), stride=st.sampled_from([2, 4, 8]))
def test_convolutions_give_one_step_for_every_stride_of_columns(
    height: int, width: int, stride: int
) -> None:
    features = pixels(height, width, 3)
    reading = front(features, sequence="convolutions", feature_stride=stride).eval()
    values = images(features, batch=2)

    together = steps_of(reading, values)
    alone = torch.cat([steps_of(reading, values[n : n + 1]) for n in range(2)])

    assert reading.steps == -(-width // stride)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("index", "steps"), [(0, range(3)), (30, range(6, 11)), (56, range(13, 16))]
)
def test_convolutions_read_from_left_to_right_and_are_trained(index: int, steps: range) -> None:
    torch.manual_seed(0)
    features = pixels(16, 64, 3)
    values = images(features)
    reading = front(features, sequence="convolutions", feature_stride=4)
    changed = values.clone()
    changed.unflatten(2, (64, 3))[:, :, index : index + 8] = 0

    off = (steps_of(reading, changed) - steps_of(reading, values)).square().mean(dim=(0, 2))

    # The others change a little: the normalization is over the whole image.
    assert int(off.argmax()) in steps
    steps_of(reading, values).sum().backward()
    assert all(weight.grad is not None for weight in reading.convolutions.parameters())


@pytest.fixture(scope="module")
def timm():
    """Return timm, with the operators that torchvision lacks where its build does not fit torch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except ImportError as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    try:
        module = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be imported: {error}")
    yield module
    del library


backbone_test = pytest.mark.usefixtures("timm")

BACKBONE = {"sequence": "backbone", "backbone": "test_resnet"}


@pytest.mark.parametrize("stride", [4, 8])
@backbone_test
def test_a_backbone_reads_its_features_from_left_to_right(stride: int) -> None:
    features = pixels(16, 64, 3)
    values = images(features)
    reading = front(features, feature_stride=stride, **BACKBONE).eval()
    changed = values.clone()
    changed.unflatten(2, (64, 3))[:, :, 48:] = 0

    is_changed = (steps_of(reading, changed) - steps_of(reading, values)).abs().amax(
        dim=(0, 2)
    ) > 1e-5

    assert reading.steps == 64 // stride
    assert is_changed[-1]
    assert not is_changed[0]


@backbone_test
def test_bytes_get_the_scale_of_the_backbone_and_other_numbers_ours() -> None:
    features = pixels(16, 16, 3)
    reading = front(features, **BACKBONE)
    model_inputs = []
    reading.backbone.body.register_forward_pre_hook(
        lambda _, inputs: model_inputs.append(inputs[0])
    )
    values = images(features)

    steps_of(reading, values)
    steps_of(reading, values.float())

    pretrained_config = reading.backbone.body.pretrained_cfg
    colors = values.unflatten(2, (16, 3)).movedim(3, 1).float()
    for result, scale, mean, std in (
        (model_inputs[0], 255, pretrained_config["mean"], pretrained_config["std"]),
        (model_inputs[1], 1, features.mean, features.std),
    ):
        expected = (colors / scale - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
            :, None, None
        ]
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


@backbone_test
def test_gray_images_are_repeated_for_a_backbone() -> None:
    gray, color = pixels(16, 16), pixels(16, 16, 3)
    torch.manual_seed(0)
    one = front(gray, **BACKBONE)
    three = front(color, **BACKBONE)
    three.load_state_dict(one.state_dict())
    values = images(gray)

    expected = steps_of(three, values.repeat_interleave(3, dim=2))

    assert torch.equal(steps_of(one, values), expected)


@backbone_test
def test_a_frozen_backbone_never_changes_and_a_fine_tuned_one_is_trained() -> None:
    features = pixels(16, 16, 3)
    for fine_tune in (False, True):
        reading = front(features, fine_tune=fine_tune, **BACKBONE).train()
        before = {name: value.clone() for name, value in reading.state_dict().items()}

        steps = steps_of(reading, images(features))

        same = all(torch.equal(before[name], v) for name, v in reading.state_dict().items())
        assert same != fine_tune
        assert steps.requires_grad == fine_tune


@backbone_test
def test_an_image_has_the_same_features_in_any_batch() -> None:
    features = pixels(16, 16, 3)
    values = images(features, 4)
    reading = front(features, **BACKBONE).train()

    alone = torch.cat([steps_of(reading, values[n : n + 1]) for n in range(4)])

    torch.testing.assert_close(steps_of(reading, values), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_weights_come_from_a_local_file_and_then_from_the_state(timm, kind, tmp_path) -> None:
    torch.manual_seed(0)  # Weights drawn as timm itself would draw them are valid weights.
    path = tmp_path / f"weights.{kind}"
    pretrained_config = timm.create_model("test_resnet").state_dict()
    save_file(pretrained_config, path) if kind == "safetensors" else torch.save(
        pretrained_config, path
    )
    features = pixels(16, 16, 3)

    loaded = front(features, pretrained_weights=str(path), **BACKBONE)
    path.unlink()
    config = loaded.config
    again = PixelFront(features, config, pretrained=False)
    again.load_state_dict(loaded.state_dict())

    result = loaded.state_dict()
    assert torch.equal(result["backbone.body.conv1.0.weight"], pretrained_config["conv1.0.weight"])
    assert torch.equal(steps_of(again, images(features)), steps_of(loaded, images(features)))


def junk(path: Path) -> None:
    path.write_bytes(b"junk" * 9)


def other(path: Path) -> None:
    save_file({"other.weight": torch.zeros(3, 3)}, path)


def write_empty(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("write", "message"),
    [(junk, "does not hold those of"), (other, "are not in"), (write_empty, "there is no file")],
)
@backbone_test
def test_weights_of_another_backbone_are_rejected(write, message, tmp_path) -> None:
    write(tmp_path / "w.safetensors")

    with pytest.raises(UnlearnableError, match=rf"pretrained_weights: .*{message}"):
        front(pixels(16, 16, 3), pretrained_weights=str(tmp_path / "w.safetensors"), **BACKBONE)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (pixels(16, 16, 3), {"backbone": "resnet19"}, "no model 'resnet19'; it has"),
        (
            pixels(16, 16, 3),
            {"backbone": "test_vit", "feature_stride": 4},
            "has no stage of stride 4",
        ),
        (pixels(16, 16, 5), {"backbone": "resnet18"}, "these images have 5"),
    ],
)
@backbone_test
def test_the_error_for_an_unavailable_backbone_has_its_reason(features, options, message) -> None:
    with pytest.raises(UnlearnableError, match=message):
        front(features, sequence="backbone", **options)


def test_the_error_for_a_missing_timm_names_the_package_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(SetupError, match=r"needs timm.*pip install 'timm"):
        front(pixels(16, 16, 3), **BACKBONE)


KINDS = {
    "shift": AugmentConfig(shift=0.3),
    "flip": AugmentConfig(flip=True),
    "rotate": AugmentConfig(rotate=20.0),
    "brightness": AugmentConfig(brightness=0.5),
    "contrast": AugmentConfig(contrast=0.5),
    "noise": AugmentConfig(noise=0.5),
    "erase": AugmentConfig(erase=0.5),
    "all": AugmentConfig(
        shift=0.1, flip=True, rotate=10.0, brightness=0.1, contrast=0.2, noise=0.1, erase=0.2
    ),
}

each_kind = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)


def vary(
    values: torch.Tensor, features: Pixels, config: AugmentConfig, batch: int = 0
) -> torch.Tensor:
    draws = torch.Generator().manual_seed(batch)
    return augment(values, features, config, generator=draws)


@each_kind
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("colors", [1, 3])
def test_augmented_images_have_the_same_shape_and_dtype_and_are_reproducible(
    config, dtype, colors
) -> None:
    features = pixels(colors=colors)
    values = images(features, 16, dtype)
    before = values.clone()

    varied = vary(values, features, config)

    assert (varied.shape, varied.dtype) == (values.shape, values.dtype)
    assert torch.equal(values, before)
    assert not torch.equal(varied, values)
    assert torch.equal(varied, vary(values, features, config))
    assert not torch.equal(varied, vary(values, features, config, batch=1))


def test_images_are_not_augmented_by_default() -> None:
    values = images(pixels())

    assert vary(values, pixels(), AugmentConfig()) is values


def test_shifts_and_flips_add_no_new_pixel_value() -> None:
    features = pixels(7, 9, 3)
    values = images(features, 64)
    colors = values.unflatten(2, (9, 3))

    flipped = vary(values, features, KINDS["flip"]).unflatten(2, (9, 3))
    shifted = vary(values, features, KINDS["shift"]).unflatten(2, (9, 3))

    same = (flipped == colors).all(dim=(1, 2, 3))
    assert torch.equal(flipped[~same], colors[~same].flip(2))
    assert 16 < same.sum() < 48
    for image, is_changed in zip(colors, shifted, strict=True):
        known = {tuple(pixel.tolist()) for pixel in image.reshape(-1, 3)}
        assert {tuple(pixel.tolist()) for pixel in is_changed.reshape(-1, 3)} <= known


@given(st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=20)
def test_a_constant_image_stays_constant_under_shift_and_rotation(height: int, width: int) -> None:
    features = pixels(height, width)
    plain = torch.full((4, height, width), 90, dtype=torch.uint8)

    varied = vary(plain, features, AugmentConfig(shift=1.0, flip=True, rotate=180.0, contrast=1.0))

    assert torch.equal(varied, plain)


def test_a_rotated_image_has_the_same_center_and_proportions() -> None:
    features = pixels(21, 61)
    disc = (torch.arange(21)[:, None] - 10) ** 2 + (torch.arange(61) - 30) ** 2 < 64
    values = (disc * 200).to(torch.uint8).expand(8, -1, -1).contiguous()

    turned = vary(values, features, AugmentConfig(rotate=180.0))

    assert ((turned.float() - values.float()).abs() > 110).float().mean() < 0.01


@given(st.floats(0.05, 1.0))
@settings(max_examples=20)
def test_no_more_is_erased_than_configured(share: float) -> None:
    features = pixels(20, 30)
    values = torch.zeros(64, 20, 30)

    hidden = vary(values, features, AugmentConfig(erase=share)) == 100

    areas = hidden.float().mean(dim=(1, 2))
    border_share = (20 + 30 + 1) / 600
    assert areas.max() <= share + border_share
    assert (areas == 0).sum() > 10


def test_augmentation_out_of_range_is_rejected() -> None:
    for name, value in (("shift", 2.0), ("rotate", -1.0), ("noise", float("nan"))):
        with pytest.raises(ValueError, match=f"{name}: {value} is out of range"):
            AugmentConfig(**{name: value})
