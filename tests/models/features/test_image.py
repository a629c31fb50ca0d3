"""Images: every cell is read to the fitted shape, or is an error of its row."""

import io
import struct
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from models.errors import UnlearnableError
from models.features.image import (
    ImageInput,
    ImageState,
    arrays,
    build_spec,
    compute_max_rows,
    files,
    fit,
    transform,
)
from models.features.image.files import ImageShape, decode_image
from models.features.steps import Steps

DRAW = np.random.default_rng(0)
GRAY = DRAW.integers(0, 256, (6, 5)).astype(np.uint8)
COLOR = DRAW.integers(0, 256, (6, 5, 3)).astype(np.uint8)

CONFIG = ImageInput(column="image")


def state(height: int = 6, width: int = 5, colors: int = 1, element: str = "uint8") -> ImageState:
    plain = {"mean": (0.0,) * colors, "std": (1.0,) * colors}
    return ImageState(height=height, width=width, colors=colors, pixel_type=element, **plain)


GRAY_STATE = state()
COLOR_STATE = state(colors=3)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def tiny_file(width: int, height: int, *, extra: bytes = b"") -> bytes:
    """Write a PNG whose header has this size; its pixels end after three rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(width + 1) * min(height, 3))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + extra + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def webp_bombs() -> list[bytes]:
    """Write WebP headers, one of each format, that claim 16000 x 16000 pixels."""
    side = 16_000
    three = (side - 1).to_bytes(3, "little")
    lossless = (side - 1 | (side - 1) << 14).to_bytes(4, "little")
    bodies = [
        b"VP8X\x0a\0\0\0" + bytes(4) + three * 2,
        b"VP8L\x0a\0\0\0" + b"\x2f" + lossless + bytes(5),
        b"VP8 \x0a\0\0\0" + bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", side, side),
    ]
    return [b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body for body in bodies]


def read(cells: object, image_state: ImageState = GRAY_STATE) -> Steps:
    column = cells if isinstance(cells, pl.Series) else pl.Series("image", cells)
    return transform(column.alias("image").to_frame(), CONFIG, image_state)


def rows_of(cell: object, image_state: ImageState) -> np.ndarray:
    steps = read([cell], image_state)
    assert steps.errors_R == [None]
    return steps.values_NC


def fitted_on(cells: object, **options: object) -> ImageState:
    return fit([pl.Series("image", cells).to_frame()], replace(CONFIG, **options))


FILES = [
    encoded(Image.fromarray(GRAY)),
    encoded(Image.fromarray(COLOR)),
    encoded(Image.fromarray(GRAY), "JPEG"),
    encoded(Image.fromarray(COLOR), "JPEG", progressive=True),
    encoded(Image.fromarray(COLOR), "WEBP"),
    encoded(Image.fromarray(COLOR), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
]


@given(st.sampled_from(FILES), st.data())
def test_a_damaged_file_never_affects_the_others(whole: bytes, data) -> None:
    position = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(position, min(position + 8, len(whole))))
    damaged = whole[:position] + data.draw(st.binary(max_size=4)) + whole[end:]

    steps = read([FILES[0], damaged, FILES[1]])

    assert [steps.errors_R[0], steps.errors_R[2]] == [None, None]
    np.testing.assert_array_equal(steps.values_NC[:6], GRAY)
    assert len(steps.values_NC[steps.starts_R[1] : steps.stops_R[1]]) == (
        0 if steps.errors_R[1] else 6
    )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("whole", FILES, ids=range(len(FILES)))
def test_a_truncated_file_is_an_error_and_never_half_an_image(whole: bytes) -> None:
    picture = decode_image(whole)

    for length in range(1, len(whole)):
        result = decode_image(whole[:length])
        assert isinstance(result, str) or np.array_equal(result, picture), length


def test_a_broken_color_profile_is_an_error_of_its_own_row() -> None:
    broken = tiny_file(3, 3, extra=chunk(b"iCCP", b"profile\x00"))

    steps = read([FILES[0], broken])

    assert steps.errors_R[0] is None
    assert steps.errors_R[1].startswith("the image is damaged: ")


@pytest.mark.parametrize("side", [8_000, 10_000, 60_000])
def test_a_small_file_that_claims_to_be_huge_is_rejected_unread(side: int) -> None:
    steps = read([tiny_file(side, side)])

    assert steps.errors_R == [
        f"the image has {side} x {side} pixels, and at most 50,000,000 are decoded"
    ]


@pytest.mark.parametrize("bomb", webp_bombs(), ids=["extended", "lossless", "lossy"])
def test_a_webp_that_claims_to_be_huge_is_rejected_by_its_header(bomb: bytes) -> None:
    assert decode_image(bomb) == (
        "the image has 16000 x 16000 pixels, and at most 50,000,000 are decoded"
    )


def test_rows_of_numbers_are_bounded_as_files_are(monkeypatch) -> None:
    for module in (arrays, files):
        monkeypatch.setattr(module, "MAX_FILE_PIXELS", 30)

    steps = read([GRAY.tolist(), np.zeros((6, 6), np.uint8).tolist(), [[1, 2], [3, 4]]])

    assert [steps.errors_R[0], steps.errors_R[2]] == [None, None]
    assert "6 x 6 pixels" in steps.errors_R[1]


def test_an_image_too_large_for_a_sequence_does_not_set_the_size_of_all() -> None:
    huge = encoded(Image.fromarray(np.zeros((2049, 2048), np.uint8)))

    assert fitted_on([huge, *FILES[:1]]).shape == (*GRAY.shape, 1)
    assert fitted_on([huge, *FILES[:1]], size=(7, 7)).shape == (7, 7, 1)
    with pytest.raises(UnlearnableError, match="2049 x 2048 pixels are too large"):
        fitted_on([huge])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (b"", "the image is an empty file"),
        (b"GIF89a", "the image is neither PNG, JPEG nor WebP"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "the image is damaged: "),
        (FILES[0][:20], "the image is damaged: "),
    ],
)
def test_a_file_that_is_no_image_is_an_error(cell: bytes, reason: str) -> None:
    assert read([cell]).errors_R[0].startswith(reason)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("image_state", [GRAY_STATE, COLOR_STATE], ids=["grey", "color"])
def test_a_file_of_any_mode_is_read_to_the_fitted_shape(mode: str, image_state: ImageState) -> None:
    black_and_white = np.where(GRAY > 127, 255, 0).astype(np.uint8)

    rows = rows_of(encoded(Image.fromarray(black_and_white).convert(mode)), image_state)

    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(rows, np.repeat(black_and_white, image_state.colors, axis=1))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparent_pixels_are_white(kind: str, mode: str) -> None:
    clear = Image.new(mode, (5, 6), 0 if mode == "P" else None)
    if mode == "P":
        clear.info["transparency"] = 0

    rows = rows_of(encoded(clear, kind), COLOR_STATE)

    np.testing.assert_array_equal(rows, np.full((6, 15), 255))


def test_palette_colors_are_read() -> None:
    palette = Image.fromarray(COLOR).quantize(30)

    rows = rows_of(encoded(palette), COLOR_STATE)

    np.testing.assert_array_equal(rows, np.asarray(palette.convert("RGB")).reshape(6, 15))


def test_a_cmyk_file_is_read_in_color() -> None:
    white = encoded(Image.new("CMYK", (5, 6)), "JPEG")

    np.testing.assert_array_equal(rows_of(white, COLOR_STATE), np.full((6, 15), 255))


def test_gray_values_of_sixteen_and_of_eight_bits_have_one_scale() -> None:
    deep = encoded(Image.fromarray(GRAY.astype(np.uint16) * 257))

    steps = read([deep, FILES[0]])

    np.testing.assert_array_equal(steps.values_NC, np.concatenate([GRAY, GRAY]))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_is_rotated_by_its_exif_orientation(turn: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    block = np.kron(np.array([[0, 90, 180], [250, 40, 130]], np.uint8), np.ones((16, 16), np.uint8))
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(block), kind, exif=exif, **options)

    upright = decode_image(data)
    small = decode_image(data, ImageShape(upright.shape[0] // 8, upright.shape[1] // 8, 1))

    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image)
    shape = ImageShape(*small.shape)
    np.testing.assert_array_equal(np.squeeze(upright), np.asarray(expected))
    again = decode_image(encoded(expected, kind, **options), shape)
    np.testing.assert_allclose(small.astype(int), again.astype(int), atol=3)


def test_an_image_with_broken_metadata_is_read() -> None:
    broken = encoded(Image.fromarray(GRAY), exif=b"Exif\0\0nothing of the kind")

    np.testing.assert_array_equal(rows_of(broken, GRAY_STATE), GRAY)


def test_color_becomes_gray_by_luminance_and_gray_becomes_color_by_repetition() -> None:
    gray = rows_of(FILES[1], GRAY_STATE)
    color = rows_of(FILES[0], COLOR_STATE)
    listed = rows_of(COLOR.tolist(), GRAY_STATE)

    np.testing.assert_array_equal(gray, np.asarray(Image.fromarray(COLOR).convert("L")))
    np.testing.assert_array_equal(color, np.repeat(GRAY, 3, axis=1))
    np.testing.assert_allclose(listed.astype(int), gray.astype(int), atol=1)


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 255, width=32))
def test_a_constant_image_stays_constant_at_any_size(height: int, width: int, level: float) -> None:
    rows = rows_of([[level] * width] * height, state(4, 3, element="float32"))

    np.testing.assert_allclose(rows, np.full((4, 3), level), rtol=1e-6, atol=1e-6)


@given(st.integers(40, 200), st.integers(40, 200), st.sampled_from(["PNG", "JPEG", "WEBP"]))
@settings(max_examples=20)
def test_a_large_image_is_downscaled_like_by_averaging(height: int, width: int, kind: str) -> None:
    ramp = np.linspace(0, 255, height)[:, None] * np.ones(width)
    data = encoded(Image.fromarray(ramp.astype(np.uint8)), kind)

    rows = rows_of(data, state(8, 4))

    np.testing.assert_allclose(rows[:, 0], (np.arange(8) + 0.5) * 255 / 8, atol=6)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([[1.0, 2.0], [3.0]], "rows differ in length"),
        ([[1.0, None]], "pixels that are not finite"),
        ([[float("inf"), 1.0]], "pixels that are not finite"),
        ([[]], "expected rows of pixels"),
        ([], "expected rows of pixels"),
        ([None, [1.0]], "rows differ in length"),
        (None, "the image is missing"),
    ],
)
def test_numbers_that_are_no_image_are_an_error_of_their_own_row(cell, reason: str) -> None:
    good = [[5.0, 6.0]]
    column = pl.Series("image", [good, cell, good], dtype=pl.List(pl.List(pl.Float64)))

    steps = read(column, state(1, 2, element="float32"))

    assert steps.errors_R[::2] == [None, None]
    assert reason in steps.errors_R[1]
    assert steps.values_NC.tolist() == [[5.0, 6.0], [5.0, 6.0]]


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.Int64, pl.Float64])
def test_arrays_of_a_fixed_size_are_images_too(dtype) -> None:
    gray = pl.Series("image", [GRAY.tolist(), None], dtype=pl.Array(dtype, (6, 5)))
    color = pl.Series("image", [COLOR.tolist()], dtype=pl.Array(dtype, (6, 5, 3)))

    np.testing.assert_array_equal(read(gray).values_NC, GRAY)
    np.testing.assert_array_equal(read(color, COLOR_STATE).values_NC, COLOR.reshape(6, 15))
    assert fit([gray.to_frame()], CONFIG).pixel_type == (
        "uint8" if dtype == pl.UInt8 else "float32"
    )


def test_numbers_of_every_size_and_type_get_the_scale_of_training() -> None:
    beyond = [[-3.0, 300.0], [1.4, 1.6]]

    assert rows_of(beyond, state(2, 2)).tolist() == [[0, 255], [1, 2]]
    assert rows_of(FILES[0], state(element="float32")).dtype == np.float32


def test_images_of_more_than_four_channels_are_read_unchanged() -> None:
    cell = DRAW.normal(size=(3, 2, 7))
    image_state = fitted_on([cell.tolist()])

    steps = read([cell.tolist(), np.zeros((3, 2, 4)).tolist()], image_state)

    np.testing.assert_array_equal(steps.values_NC, cell.reshape(3, 14).astype(np.float32))
    assert steps.errors_R == [None, "the image has 4 numbers a pixel, expected 7"]


def test_structs_with_bytes_are_files() -> None:
    cells = [{"bytes": FILES[0], "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]

    steps = read(cells)

    np.testing.assert_array_equal(steps.values_NC, GRAY)
    assert steps.errors_R == [None, "the image is missing", "the image is missing"]


@pytest.mark.parametrize("cells", [["cat.png"], [3], [[1, 2]], [[["a"]]]])
def test_the_error_for_another_column_type_says_what_is_expected(cells: list[object]) -> None:
    assert "expected the bytes of a PNG, JPEG or WebP file" in read(cells).errors_R[0]


def test_the_shape_is_that_of_the_first_image_that_can_be_read() -> None:
    image_state = fitted_on([None, b"not an image", FILES[1], FILES[0]])

    assert image_state.shape == (6, 5, 3)


def test_size_and_color_of_the_config_take_precedence() -> None:
    image_state = fitted_on([FILES[1]], size=(3, 4), color="grey")

    assert image_state.shape == (3, 4, 1)


def test_training_without_a_readable_image_is_rejected_with_the_last_reason() -> None:
    with pytest.raises(UnlearnableError, match=r"'image' holds no image.*neither PNG"):
        fitted_on([None, b"x"])
    with pytest.raises(UnlearnableError, match=r"holds no image.*no rows"):
        fit([], CONFIG)


def test_images_too_large_for_a_sequence_are_rejected_with_a_hint() -> None:
    with pytest.raises(UnlearnableError, match=r"2100 x 2100 .*size: \[64, 64\]"):
        fitted_on([encoded(Image.new("1", (2100, 2100)))])


def test_the_error_for_a_chunk_beyond_memory_says_how_many_rows_fit() -> None:
    large = state(2048, 2048, 3)

    with pytest.raises(UnlearnableError, match="give at most 341 rows"):
        read(pl.Series("image", [None] * 400, dtype=pl.Binary), large)
    assert compute_max_rows(large) == 21


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (0, 4)}, "size: 0 x 4"),
        ({"size": (9999, 9999)}, "too large"),
        ({"patch": 0}, "patch: 0"),
        ({"scan_order": "hilbert"}, "set sequence: patches"),
        ({"sequence": "backbone"}, "name a timm model"),
        ({"backbone": "resnet18"}, "set sequence: backbone"),
        ({"fine_tune": True}, "set sequence: backbone"),
    ],
)
def test_an_invalid_config_is_rejected(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageInput(column="image", **options)


def test_mean_and_std_are_those_of_each_color() -> None:
    images = DRAW.integers(0, 256, (9, 6, 5, 3)).astype(np.uint8)

    image_state = fitted_on([*(encoded(Image.fromarray(i)) for i in images), b"junk", None])

    np.testing.assert_allclose(image_state.mean, images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(image_state.std, images.std(axis=(0, 1, 2)))
    assert build_spec(CONFIG, image_state).mean == image_state.mean


def test_a_constant_color_has_a_std_of_one() -> None:
    assert fitted_on([[[7, 7]], [[7, 7]]]).std == (1.0,)


@given(st.lists(st.integers(0, 40), max_size=4))
@settings(max_examples=20)
def test_the_fitted_state_does_not_depend_on_the_chunks(cuts: list[int]) -> None:
    cells = [*(encoded(Image.fromarray(GRAY // (n + 1))) for n in range(38)), b"junk", None]
    frame = pl.Series("image", [cells[-1], cells[-2], *cells]).to_frame()
    edges = [0, *sorted(cuts), len(frame)]

    parts = [frame[a:b] for a, b in pairwise(edges)]

    assert fit(parts, CONFIG) == fit([frame], CONFIG)
    whole = transform(frame, CONFIG, GRAY_STATE)
    split = [transform(part, CONFIG, GRAY_STATE) for part in parts]
    np.testing.assert_array_equal(whole.values_NC, np.concatenate([s.values_NC for s in split]))
    assert whole.errors_R == [error for s in split for error in s.errors_R]


def test_the_sample_is_bounded_uniform_and_independent_of_the_chunks() -> None:
    levels = np.arange(20_000, dtype=np.float32) % 200
    frame = pl.Series("image", levels.reshape(-1, 1, 1).tolist()).to_frame()

    whole = fit([frame], CONFIG)

    assert fit([frame[:7_001], frame[7_001:7_002], frame[7_002:]], CONFIG) == whole
    np.testing.assert_allclose(whole.mean, 99.5, atol=1)
    np.testing.assert_allclose(whole.std, levels.std(), rtol=0.01)


def test_threads_preserve_the_order_of_the_rows() -> None:
    noise = [DRAW.integers(0, 256, (96, 96)).astype(np.uint8) for _ in range(5)]
    files = [encoded(Image.fromarray(image)) for image in noise]
    order = DRAW.integers(0, 5, 200)

    steps = read([files[n] for n in order], state(96, 96))

    np.testing.assert_array_equal(steps.values_NC, np.concatenate([noise[n] for n in order]))


@given(st.lists(st.sampled_from([*FILES, b"junk", None]), min_size=1, max_size=5))
def test_the_features_of_an_image_do_not_depend_on_the_others(cells: list[bytes | None]) -> None:
    together = read(pl.Series("image", cells, dtype=pl.Binary), COLOR_STATE)

    alone = [read(pl.Series("image", [c], dtype=pl.Binary), COLOR_STATE) for c in cells]

    assert together.errors_R == [steps.errors_R[0] for steps in alone]
    np.testing.assert_array_equal(
        together.values_NC, np.concatenate([steps.values_NC for steps in alone])
    )


@given(st.lists(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=3), max_size=5))
def test_ragged_numbers_are_read_the_same_alone_and_together(cells: list[list[list[int]]]) -> None:
    column = pl.Series("image", cells, dtype=pl.List(pl.List(pl.Int64)))
    image_state = state(2, 2, element="float32")

    together = read(column, image_state)

    alone = [read(column[row : row + 1], image_state) for row in range(len(cells))]
    assert together.errors_R == [steps.errors_R[0] for steps in alone]
    for row, cell in enumerate(cells):
        fits = bool(cell) and bool(cell[0]) and len({len(pixel_row) for pixel_row in cell}) == 1
        assert (together.errors_R[row] is None) == fits
    values = [steps.values_NC for steps in alone]
    np.testing.assert_array_equal(together.values_NC, np.concatenate([np.empty((0, 2)), *values]))
