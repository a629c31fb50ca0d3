"""PNG, JPEG and WebP files, decoded to rows of pixels by Pillow.

Pillow rather than OpenCV: both decode these formats without a difference in one level, and both
notice files that are cut off. OpenCV is faster where files are tiny (3 times for PNG of 28 x 28,
twice for JPEG of 64 x 64, equal for photographs), but takes 150 MB beside Pillow's 22, tells
nobody a file's size before it is decoded, writes its complaints to the terminal, and says of a
damaged file no more than that there is no image. Files are decoded once a snapshot, and
Pillow's slowest 15,000 small files a second are more than a recurrent network learns from.

Shapes: H rows, W columns, D colours (1 or 3).
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

MAX_PIXELS = 50_000_000
"""Larger images are taken for decompression bombs."""

HEAVY_PIXELS = 8_000_000
"""Larger ones are decoded one at a time, so that threads don't multiply their memory."""

ONE_HEAVY = threading.Lock()

GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B"}

ORIENTATION = 0x0112
"""EXIF's tag that says how the camera was held."""

EXIF_HOLDERS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

DAMAGE = (
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
"""What Pillow raises for files that are damaged."""


class Shape(NamedTuple):
    """The size that an image has, or is brought to."""

    height: int
    width: int
    colours: int


def read_file(data: bytes, shape: Shape | None = None) -> NDArray[np.uint8] | str:
    """Decode to [H, W, D] in `shape`, or the file's own; or say why it cannot be read."""
    opener = opener_of(data)
    if opener is None:
        return "the image is neither PNG, JPEG nor WebP" if data else "the image is an empty file"
    # WebP's decoder takes memory for all pixels when it is opened; the others read the header.
    if opener is WebPImageFile and (claim := refusal(*webp_size(data))):
        return claim
    try:
        with opener(io.BytesIO(data)) as image:
            if claim := refusal(*image.size):
                return claim
            heavy = image.width * image.height > HEAVY_PIXELS
            with ONE_HEAVY if heavy else nullcontext():
                return decoded(image, shape)
    except DAMAGE as error:
        return f"the image is damaged: {error or type(error).__name__}"


def opener_of(data: bytes) -> Callable[[io.BytesIO], ImageFile] | None:
    """Tell the format by the file's first bytes; opened directly, which spares Pillow's search."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    return WebPImageFile if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def refusal(width: int, height: int) -> str | None:
    """Return why an image of this size is not decoded."""
    if width * height <= MAX_PIXELS:
        return None
    return f"the image has {width} x {height} pixels, more than allowed"


def webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from a WebP header; 0 x 0 where it is none, for Pillow to refuse."""
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


def decoded(image: ImageFile, shape: Shape | None) -> NDArray[np.uint8]:
    """Decode, turn upright, and bring to `shape`."""
    box = (0.0, 0.0, float(image.width), float(image.height))
    if shape is not None and isinstance(image, JpegImageFile):
        # JPEG decodes to a half, a quarter or an eighth, and to grey, for less than the whole.
        size = lying(shape, orientation(image))
        drafted = image.draft("L" if shape.colours == 1 else None, size)
        box = drafted[1] if drafted else box
    image.load()
    turn = orientation(image)
    plain = one_or_three(image, None if shape is None else shape.colours)
    size = plain.size if shape is None else lying(shape, turn)
    if (*size,) != box[2:]:
        # A box, as the last pixel of an eighth may stand for less than eight.
        plain = plain.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=2.0)
    if turn in TURNS:
        plain = plain.transpose(TURNS[turn])
    pixels = np.asarray(plain)
    return pixels.reshape(*pixels.shape[:2], -1)


def orientation(image: ImageFile) -> int:
    """Read how the camera was held, 1 to 8; 1 where nobody can tell."""
    if image.info.keys().isdisjoint(EXIF_HOLDERS):
        return 1
    try:
        found: object = image.getexif().get(ORIENTATION)
    except DAMAGE:
        # Notes beside the pixels; the pixels may be whole.
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def lying(shape: Shape, turn: int) -> tuple[int, int]:
    """Give width and height before the image is turned upright."""
    return (shape.height, shape.width) if turn >= 5 else (shape.width, shape.height)


def one_or_three(image: Image.Image, colours: int | None) -> Image.Image:
    """Bring to grey or red, green, blue in eight bits; the clear lies on white, like paper."""
    if colours is None:
        colours = 1 if image.mode in GREY_MODES else 3
    if image.mode.startswith("I"):
        # The upper byte, which is what Pillow takes of sixteen-bit colours as well.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    mode = "L" if colours == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)
