"""PNG, JPEG and WebP files, decoded to rows of pixels by Pillow.

Pillow and not OpenCV: both decode these formats to equal pixels, and both detect truncated files.
OpenCV is faster for tiny files (3 times for PNG of 28 x 28, twice for JPEG of 64 x 64, equal for
photographs), but needs 150 MB where Pillow needs 22, does not give the size of an image before it
is decoded, writes warnings to the terminal, and gives no reason for a damaged file. Files are
decoded once for a snapshot, and Pillow's slowest rate, 15,000 small files a second, is higher than
that of training a recurrent network.

Shapes: H rows, W columns, D colors (1 or 3).
"""

import io
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAX_FILE_PIXELS = 50_000_000
"""Larger images are rejected as decompression bombs."""

_LARGE_PIXELS = 8_000_000
"""Larger images are decoded one at a time, so that threads do not multiply their memory."""

_LARGE_IMAGE_LOCK = threading.Lock()

_GRAY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B"}

_ORIENTATION_TAG = 0x0112
"""EXIF tag of the orientation of the camera."""

_EXIF_KEYS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""Errors that Pillow raises for damaged files."""


class ImageShape(NamedTuple):
    """The size of an image, or the one that it is resized to."""

    height: int
    width: int
    colors: int


def decode_image(data: bytes, shape: ImageShape | None = None) -> NDArray[np.uint8] | str:
    """Return pixels [H, W, D] in `shape` or the file's own, or why the file cannot be read."""
    opener = _choose_decoder(data)
    if opener is None:
        return "the image is neither PNG, JPEG nor WebP" if data else "the image is an empty file"
    # WebP's decoder allocates all pixels when it is opened; the others read the header only.
    if opener is WebPImageFile and (too_large := check_pixel_count(*_read_webp_size(data))):
        return too_large
    try:
        with opener(io.BytesIO(data)) as image:
            if too_large := check_pixel_count(*image.size):
                return too_large
            is_large = image.width * image.height > _LARGE_PIXELS
            with _LARGE_IMAGE_LOCK if is_large else nullcontext():
                return _decode(image, shape)
    except _DECODING_ERRORS as error:
        return f"the image is damaged: {error or type(error).__name__}"


def _choose_decoder(data: bytes) -> Callable[[io.BytesIO], ImageFile] | None:
    """Return the decoder for the first bytes of a file; faster than Pillow's search for it."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    return WebPImageFile if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def check_pixel_count(width: int, height: int) -> str | None:
    """Return why an image of this size is not decoded, or None."""
    if width * height <= MAX_FILE_PIXELS:
        return None
    return f"the image has {width} x {height} pixels, and at most {MAX_FILE_PIXELS:,} are decoded"


def _read_webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a WebP header; 0 x 0 where it is none, which Pillow rejects."""
    chunk, head = data[12:16], data[20:30]
    if len(head) < 10:
        return 0, 0
    if chunk == b"VP8X":
        sides = int.from_bytes(head[4:7], "little"), int.from_bytes(head[7:10], "little")
        return sides[0] + 1, sides[1] + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[6:10])
    return width & 0x3FFF, height & 0x3FFF


def _decode(image: ImageFile, shape: ImageShape | None) -> NDArray[np.uint8]:
    """Return the pixels of an image, upright and in `shape`."""
    box = (0.0, 0.0, float(image.width), float(image.height))
    if shape is not None and isinstance(image, JpegImageFile):
        # JPEG is decoded faster to a half, a quarter or an eighth, and to gray.
        size = _get_stored_size(shape, _read_orientation(image))
        draft = image.draft("L" if shape.colors == 1 else None, size)
        box = draft[1] if draft else box
    image.load()
    orientation = _read_orientation(image)
    converted = _convert_colors(image, None if shape is None else shape.colors)
    size = converted.size if shape is None else _get_stored_size(shape, orientation)
    if (*size,) != box[2:]:
        # With a box, as the last pixel of an eighth may cover fewer than eight pixels.
        converted = converted.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=2.0)
    if orientation in _TRANSPOSES:
        converted = converted.transpose(_TRANSPOSES[orientation])
    pixels = np.asarray(converted)
    return pixels.reshape(*pixels.shape[:2], -1)


def _read_orientation(image: ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is unknown."""
    if image.info.keys().isdisjoint(_EXIF_KEYS):
        return 1
    try:
        found: object = image.getexif().get(_ORIENTATION_TAG)
    except _DECODING_ERRORS:
        # Only the metadata is damaged; the pixels may be intact.
        return 1
    return found if isinstance(found, int) and found in _TRANSPOSES else 1


def _get_stored_size(shape: ImageShape, orientation: int) -> tuple[int, int]:
    """Return width and height before the image is turned upright."""
    return (shape.height, shape.width) if orientation >= 5 else (shape.width, shape.height)


def _convert_colors(image: Image.Image, colors: int | None) -> Image.Image:
    """Return an image in gray or RGB with eight bits; transparent pixels are put on white."""
    if colors is None:
        colors = 1 if image.mode in _GRAY_MODES else 3
    if image.mode.startswith("I"):
        # The upper byte, as Pillow does for colors of sixteen bits.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    mode = "L" if colors == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)
