"""Images: whatever a cell holds, it is read to the fitted shape or is that row's error."""

import io
import struct
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.features.image import ImageShape, fit_shape, image_steps

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (6, 5)).astype(np.uint8)
COLOUR = DRAW.integers(0, 256, (6, 5, 3)).astype(np.uint8)

GREY_SHAPE = ImageShape(height=6, width=5, colours=1)
COLOUR_SHAPE = ImageShape(height=6, width=5, colours=3)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def tiny_file(width: int, height: int, *, extra: bytes = b"") -> bytes:
    """Write a PNG whose header says a size; its pixels end after three rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(width + 1) * min(height, 3))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + extra + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def rows_of(cell: object, shape: ImageShape) -> np.ndarray:
    steps = image_steps(pl.Series("image", [cell]), shape)
    assert steps.errors_R == [None]
    return steps.values_NC


FILES = [
    encoded(Image.fromarray(GREY)),
    encoded(Image.fromarray(COLOUR)),
    encoded(Image.fromarray(GREY), "JPEG"),
    encoded(Image.fromarray(COLOUR), "JPEG", progressive=True),
]


@given(st.sampled_from(FILES), st.data())
def test_a_file_that_is_damaged_anywhere_never_stops_the_others(whole: bytes, data) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(place, min(place + 8, len(whole))))
    damaged = whole[:place] + data.draw(st.binary(max_size=4)) + whole[end:]
    column = pl.Series("image", [FILES[0], damaged, FILES[1]])

    steps = image_steps(column, GREY_SHAPE)

    assert [steps.errors_R[0], steps.errors_R[2]] == [None, None]
    np.testing.assert_array_equal(steps.values_NC[:6], GREY)
    assert len(steps.values_NC[steps.starts_R[1] : steps.stops_R[1]]) == (
        0 if steps.errors_R[1] else 6
    )


def test_a_file_with_a_broken_colour_profile_is_its_own_rows_error() -> None:
    broken = tiny_file(3, 3, extra=chunk(b"iCCP", b"profile\x00"))

    steps = image_steps(pl.Series("image", [FILES[0], broken]), GREY_SHAPE)

    assert steps.errors_R[0] is None
    assert steps.errors_R[1].startswith("the image is damaged")


def test_a_small_file_that_claims_to_be_huge_is_refused_unread() -> None:
    steps = image_steps(pl.Series("image", [tiny_file(8000, 8000)]), GREY_SHAPE)

    assert steps.errors_R == ["the image has 8000 x 8000 pixels, more than allowed"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("shape", [GREY_SHAPE, COLOUR_SHAPE], ids=["grey", "colour"])
def test_a_file_of_any_mode_is_read_to_the_fitted_shape(mode: str, shape: ImageShape) -> None:
    black_and_white = Image.fromarray(np.where(GREY > 127, 255, 0).astype(np.uint8))

    rows = rows_of(encoded(black_and_white.convert(mode)), shape)

    expected = np.repeat(np.where(GREY > 127, 255.0, 0.0), shape.colours, axis=1)
    np.testing.assert_allclose(rows, expected, atol=1e-3)


def test_a_print_file_in_four_inks_is_read_in_colour() -> None:
    white = encoded(Image.new("CMYK", (5, 6)), "JPEG")

    np.testing.assert_array_equal(rows_of(white, COLOUR_SHAPE), np.full((6, 15), 255.0))


def test_the_greys_of_a_sixteen_bit_image_stay_apart() -> None:
    greys = np.linspace(0, 65535, 30).astype(np.uint16).reshape(6, 5)

    rows = rows_of(encoded(Image.fromarray(greys)), GREY_SHAPE)

    assert (np.diff(rows.reshape(-1)) > 0).all()


def test_colour_becomes_grey_by_its_mean_and_grey_becomes_colour_by_repetition() -> None:
    grey = rows_of(encoded(Image.fromarray(COLOUR)), GREY_SHAPE)
    colour = rows_of(encoded(Image.fromarray(GREY)), COLOUR_SHAPE)

    np.testing.assert_allclose(grey, COLOUR.mean(axis=2), rtol=1e-6)
    np.testing.assert_array_equal(colour, np.repeat(GREY, 3, axis=1))


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 255, width=32))
def test_a_plain_image_stays_plain_at_any_size(height: int, width: int, level: float) -> None:
    shape = ImageShape(height=4, width=3, colours=1)

    rows = rows_of([[level] * width] * height, shape)

    np.testing.assert_allclose(rows, np.full((4, 3), level), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([[1.0, 2.0], [3.0]], "rows differ in length"),
        ([[1.0, None]], "pixels that are not finite"),
        ([[float("inf"), 1.0]], "pixels that are not finite"),
        ([[]], "expected rows of pixels"),
        ([], "expected rows of pixels"),
    ],
)
def test_rows_of_numbers_that_are_no_image_are_their_own_rows_error(cell, reason: str) -> None:
    good = [[5.0, 6.0]]
    column = pl.Series("image", [good, cell, good], dtype=pl.List(pl.List(pl.Float64)))

    steps = image_steps(column, ImageShape(height=1, width=2, colours=1))

    assert steps.errors_R[::2] == [None, None]
    assert reason in steps.errors_R[1]
    assert steps.values_NC.tolist() == [[5.0, 6.0], [5.0, 6.0]]


def test_arrays_of_a_fixed_size_are_images_too() -> None:
    column = pl.Series("image", [GREY.tolist()], dtype=pl.Array(pl.UInt8, (6, 5)))

    np.testing.assert_array_equal(image_steps(column, GREY_SHAPE).values_NC, GREY)


def test_a_text_in_place_of_an_image_says_what_was_expected() -> None:
    steps = image_steps(pl.Series("image", ["cat.png"]), GREY_SHAPE)

    assert steps.errors_R == ["the image is of type str, expected PNG or JPEG bytes"]


def test_the_shape_is_that_of_the_first_image_that_can_be_read() -> None:
    column = pl.Series("image", [None, b"not an image", FILES[1], FILES[0]])

    assert fit_shape(column) == COLOUR_SHAPE


@given(st.lists(st.sampled_from([*FILES, b"junk", None]), min_size=1, max_size=5))
def test_what_an_image_becomes_does_not_depend_on_the_others(cells: list[bytes | None]) -> None:
    together = image_steps(pl.Series("image", cells, dtype=pl.Binary), COLOUR_SHAPE)

    alone = [
        image_steps(pl.Series("image", [cell], dtype=pl.Binary), COLOUR_SHAPE) for cell in cells
    ]

    assert together.errors_R == [steps.errors_R[0] for steps in alone]
    np.testing.assert_array_equal(
        together.values_NC, np.concatenate([steps.values_NC for steps in alone])
    )
