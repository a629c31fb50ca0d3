"""Pixels as a network reads them: in every order, alone as in a batch, and varied in training."""

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

from models.errors import UnlearnableError
from models.features.feature_spec import Pixels
from models.features.image import AugmentConfig, ImageInput
from models.networks.inputs.augment import augment
from models.networks.inputs.grid_order import order_hilbert, order_raster
from models.networks.inputs.pixels import PixelFront
from models.networks.jagged import Offsets

sides = st.integers(1, 12)


def pixels(height: int = 6, width: int = 8, colours: int = 1) -> Pixels:
    return Pixels(
        height=height,
        width=width,
        colors=colours,
        mean=tuple(100.0 + n for n in range(colours)),
        std=tuple(50.0 + n for n in range(colours)),
    )


def images(signal: Pixels, batch: int = 3, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    shape = (batch, signal.height, signal.width * signal.colors)
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, generator=draw).to(dtype)


def front(signal: Pixels, **options: object) -> PixelFront:
    config = ImageInput(column="image", **options)
    return PixelFront(signal, config, pretrained=bool(options.get("pretrained_weights")))


def steps_of(reading: PixelFront, values: torch.Tensor) -> torch.Tensor:
    rows = Offsets.from_lengths([reading.signal.height] * len(values))
    steps, offsets = reading(values.flatten(0, 1), rows)
    assert steps.shape == (len(values) * reading.steps, reading.channels)
    assert offsets.lengths.tolist() == [reading.steps] * len(values)
    assert steps.dtype == torch.float32
    return steps.unflatten(0, (len(values), reading.steps))


def unscaled(reading: PixelFront, values: torch.Tensor) -> np.ndarray:
    colours = reading.signal.colors
    steps = steps_of(reading, values).unflatten(2, (-1, colours))
    spread, mean = torch.tensor(reading.signal.std), torch.tensor(reading.signal.mean)
    return (steps * spread + mean).round().numpy()


@given(sides, sides)
def test_every_order_reads_each_cell_once(height: int, width: int) -> None:
    cells = list(range(height * width))

    assert order_raster(height, width) == cells
    assert sorted(order_hilbert(height, width)) == cells


@pytest.mark.parametrize("side", [1, 2, 4, 8, 16, 32])
def test_the_hilbert_curve_of_a_power_of_two_walks_from_neighbour_to_neighbour(side: int) -> None:
    places = [divmod(cell, side) for cell in order_hilbert(side, side)]

    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(places))


@given(st.integers(1, 20), st.integers(1, 20))
def test_the_hilbert_curve_of_any_rectangle_has_one_diagonal_step_at_most(
    height: int, width: int
) -> None:
    places = [divmod(cell, width) for cell in order_hilbert(height, width)]

    moves = [(abs(a - c), abs(b - d)) for (a, b), (c, d) in pairwise(places)]

    assert all(max(move) == 1 for move in moves)
    assert moves.count((1, 1)) <= (height % 2 or width % 2)


@pytest.mark.parametrize("colours", [1, 3])
def test_rows_and_columns_are_the_image_from_the_top_and_from_the_left(colours: int) -> None:
    signal = pixels(colours=colours)
    values = images(signal)
    grid = values.unflatten(2, (8, colours)).numpy()

    rows = unscaled(front(signal), values)
    columns = unscaled(front(signal, sequence="columns"), values)

    np.testing.assert_array_equal(rows, grid)
    np.testing.assert_array_equal(columns, grid.swapaxes(1, 2))


@given(sides, sides, st.integers(1, 5), st.sampled_from(["raster", "hilbert"]))
def test_patches_are_the_squares_of_the_image_in_their_order(
    height: int, width: int, patch: int, order: str
) -> None:
    signal = pixels(height, width, 3)
    values = images(signal, batch=2)
    reading = front(signal, sequence="patches", patch=patch, scan_order=order)

    found = unscaled(reading, values).reshape(2, -1, patch, patch, 3)

    down, right = -(-height // patch), -(-width // patch)
    grid = np.empty((2, down * patch, right * patch, 3))
    grid[:] = signal.mean
    grid[:, :height, :width] = values.unflatten(2, (width, 3)).numpy()
    for place, cell in enumerate(
        (order_hilbert if order == "hilbert" else order_raster)(down, right)
    ):
        top, left = cell // right * patch, cell % right * patch
        square = grid[:, top : top + patch, left : left + patch]
        np.testing.assert_array_equal(found[:, place], square)


@pytest.mark.parametrize("sequence", ["rows", "columns", "patches"])
@given(batch=st.integers(1, 4), place=st.integers(0, 3))
@settings(max_examples=20)
def test_an_image_reads_the_same_alone_and_in_any_batch(
    sequence: str, batch: int, place: int
) -> None:
    signal = pixels()
    values = images(signal, batch)
    reading = front(signal, sequence=sequence)
    one = min(place, batch - 1)

    together = steps_of(reading, values)

    assert torch.equal(together[one : one + 1], steps_of(reading, values[one : one + 1]))
    assert torch.equal(together, steps_of(reading, values.float()))


def test_an_absurd_pixel_stays_a_number() -> None:
    signal = pixels()
    values = torch.full((1, 6, 8), 3e38)

    assert steps_of(front(signal), values).isfinite().all()


def test_reading_learns_nothing_and_keeps_nothing() -> None:
    assert front(pixels(), sequence="patches", scan_order="hilbert").state_dict() == {}


@settings(max_examples=20)
@given(height=st.integers(1, 40), width=st.integers(1, 40), stride=st.sampled_from([2, 4, 8]))
def test_convolutions_give_a_step_for_so_many_columns(height: int, width: int, stride: int) -> None:
    signal = pixels(height, width, 3)
    reading = front(signal, sequence="convolutions", feature_stride=stride).eval()
    values = images(signal, batch=2)

    together = steps_of(reading, values)
    alone = torch.cat([steps_of(reading, values[n : n + 1]) for n in range(2)])

    assert reading.steps == -(-width // stride)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "steps"), [(0, range(3)), (30, range(6, 11)), (56, range(13, 16))]
)
def test_convolutions_read_from_left_to_right_and_are_learned(place: int, steps: range) -> None:
    torch.manual_seed(0)
    signal = pixels(16, 64, 3)
    values = images(signal)
    reading = front(signal, sequence="convolutions", feature_stride=4)
    marked = values.clone()
    marked.unflatten(2, (64, 3))[:, :, place : place + 8] = 0

    off = (steps_of(reading, marked) - steps_of(reading, values)).square().mean(dim=(0, 2))

    # The others move a little: what is normalised over is the whole image.
    assert int(off.argmax()) in steps
    steps_of(reading, values).sum().backward()
    assert all(weight.grad is not None for weight in reading.convolutions.parameters())


@pytest.fixture(scope="module")
def timm():
    """Give timm, with the operators that torchvision lacks where its build does not fit torch."""
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
    signal = pixels(16, 64, 3)
    values = images(signal)
    reading = front(signal, feature_stride=stride, **BACKBONE).eval()
    marked = values.clone()
    marked.unflatten(2, (64, 3))[:, :, 48:] = 0

    moved = (steps_of(reading, marked) - steps_of(reading, values)).abs().amax(dim=(0, 2)) > 1e-5

    assert reading.steps == 64 // stride
    assert moved[-1]
    assert not moved[0]


@backbone_test
def test_bytes_meet_the_backbones_own_scale_and_other_numbers_ours() -> None:
    signal = pixels(16, 16, 3)
    reading = front(signal, **BACKBONE)
    seen = []
    reading.backbone.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    values = images(signal)

    steps_of(reading, values)
    steps_of(reading, values.float())

    learned = reading.backbone.body.pretrained_cfg
    colours = values.unflatten(2, (16, 3)).movedim(3, 1).float()
    for found, scale, mean, spread in (
        (seen[0], 255, learned["mean"], learned["std"]),
        (seen[1], 1, signal.mean, signal.std),
    ):
        expected = (colours / scale - torch.tensor(mean)[:, None, None]) / torch.tensor(spread)[
            :, None, None
        ]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@backbone_test
def test_grey_is_repeated_for_a_backbone() -> None:
    grey, colour = pixels(16, 16), pixels(16, 16, 3)
    torch.manual_seed(0)
    one = front(grey, **BACKBONE)
    three = front(colour, **BACKBONE)
    three.load_state_dict(one.state_dict())
    values = images(grey)

    expected = steps_of(three, values.repeat_interleave(3, dim=2))

    assert torch.equal(steps_of(one, values), expected)


@backbone_test
def test_a_frozen_backbone_never_moves_and_a_tuned_one_learns() -> None:
    signal = pixels(16, 16, 3)
    for fine_tune in (False, True):
        reading = front(signal, fine_tune=fine_tune, **BACKBONE).train()
        before = {name: value.clone() for name, value in reading.state_dict().items()}

        steps = steps_of(reading, images(signal))

        same = all(torch.equal(before[name], v) for name, v in reading.state_dict().items())
        assert same != fine_tune
        assert steps.requires_grad == fine_tune


@backbone_test
def test_an_image_has_the_same_features_in_any_batch() -> None:
    signal = pixels(16, 16, 3)
    values = images(signal, 4)
    reading = front(signal, **BACKBONE).train()

    alone = torch.cat([steps_of(reading, values[n : n + 1]) for n in range(4)])

    torch.testing.assert_close(steps_of(reading, values), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_weights_come_from_a_local_file_and_then_from_the_state(timm, kind, tmp_path) -> None:
    torch.manual_seed(0)  # Weights drawn as timm itself would draw them are weights all the same.
    path = tmp_path / f"weights.{kind}"
    learned = timm.create_model("test_resnet").state_dict()
    save_file(learned, path) if kind == "safetensors" else torch.save(learned, path)
    signal = pixels(16, 16, 3)

    loaded = front(signal, pretrained_weights=str(path), **BACKBONE)
    path.unlink()
    config = loaded.config
    again = PixelFront(signal, config, pretrained=False)
    again.load_state_dict(loaded.state_dict())

    found = loaded.state_dict()
    assert torch.equal(found["backbone.body.conv1.0.weight"], learned["conv1.0.weight"])
    assert torch.equal(steps_of(again, images(signal)), steps_of(loaded, images(signal)))


def junk(path: Path) -> None:
    path.write_bytes(b"junk" * 9)


def other(path: Path) -> None:
    save_file({"other.weight": torch.zeros(3, 3)}, path)


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("write", "words"),
    [(junk, "does not hold those of"), (other, "are not in"), (nothing, "there is no file")],
)
@backbone_test
def test_weights_that_are_not_the_backbones_are_refused(write, words, tmp_path) -> None:
    write(tmp_path / "w.safetensors")

    with pytest.raises(UnlearnableError, match=rf"pretrained_weights: .*{words}"):
        front(pixels(16, 16, 3), pretrained_weights=str(tmp_path / "w.safetensors"), **BACKBONE)


@pytest.mark.parametrize(
    ("signal", "options", "words"),
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
def test_a_backbone_that_cannot_be_made_says_why(signal, options, words) -> None:
    with pytest.raises(UnlearnableError, match=words):
        front(signal, sequence="backbone", **options)


def test_a_timm_that_cannot_be_imported_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(UnlearnableError, match=r"needs timm.*pip install 'ostinato\[images\]'"):
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
    values: torch.Tensor, signal: Pixels, config: AugmentConfig, batch: int = 0
) -> torch.Tensor:
    draws = torch.Generator().manual_seed(batch)
    return augment(values, signal, config, generator=draws)


@each_kind
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("colours", [1, 3])
def test_varied_images_keep_shape_and_type_and_come_again_the_same(config, dtype, colours) -> None:
    signal = pixels(colours=colours)
    values = images(signal, 16, dtype)
    before = values.clone()

    varied = vary(values, signal, config)

    assert (varied.shape, varied.dtype) == (values.shape, values.dtype)
    assert torch.equal(values, before)
    assert not torch.equal(varied, values)
    assert torch.equal(varied, vary(values, signal, config))
    assert not torch.equal(varied, vary(values, signal, config, batch=1))


def test_images_are_left_alone_unless_asked_for() -> None:
    values = images(pixels())

    assert vary(values, pixels(), AugmentConfig()) is values


def test_moving_and_mirroring_invent_no_pixel() -> None:
    signal = pixels(7, 9, 3)
    values = images(signal, 64)
    colours = values.unflatten(2, (9, 3))

    mirrored = vary(values, signal, KINDS["flip"]).unflatten(2, (9, 3))
    shifted = vary(values, signal, KINDS["shift"]).unflatten(2, (9, 3))

    same = (mirrored == colours).all(dim=(1, 2, 3))
    assert torch.equal(mirrored[~same], colours[~same].flip(2))
    assert 16 < same.sum() < 48
    for image, moved in zip(colours, shifted, strict=True):
        known = {tuple(pixel.tolist()) for pixel in image.reshape(-1, 3)}
        assert {tuple(pixel.tolist()) for pixel in moved.reshape(-1, 3)} <= known


@given(st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=20)
def test_a_plain_image_stays_plain_however_it_is_moved(height: int, width: int) -> None:
    signal = pixels(height, width)
    plain = torch.full((4, height, width), 90, dtype=torch.uint8)

    varied = vary(plain, signal, AugmentConfig(shift=1.0, flip=True, rotate=180.0, contrast=1.0))

    assert torch.equal(varied, plain)


def test_a_turned_image_keeps_its_middle_and_its_proportions() -> None:
    signal = pixels(21, 61)
    disc = (torch.arange(21)[:, None] - 10) ** 2 + (torch.arange(61) - 30) ** 2 < 64
    values = (disc * 200).to(torch.uint8).expand(8, -1, -1).contiguous()

    turned = vary(values, signal, AugmentConfig(rotate=180.0))

    assert ((turned.float() - values.float()).abs() > 110).float().mean() < 0.01


@given(st.floats(0.05, 1.0))
@settings(max_examples=20)
def test_no_more_is_blotted_out_than_was_asked_for(share: float) -> None:
    signal = pixels(20, 30)
    values = torch.zeros(64, 20, 30)

    hidden = vary(values, signal, AugmentConfig(erase=share)) == 100

    areas = hidden.float().mean(dim=(1, 2))
    rim = (20 + 30 + 1) / 600
    assert areas.max() <= share + rim
    assert (areas == 0).sum() > 10


def test_strengths_that_mean_nothing_are_refused() -> None:
    for name, value in (("shift", 2.0), ("rotate", -1.0), ("noise", float("nan"))):
        with pytest.raises(ValueError, match=f"{name}: {value} is out of range"):
            AugmentConfig(**{name: value})
