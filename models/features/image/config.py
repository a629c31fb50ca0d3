"""What an image input is, how it is read as a sequence, and how it is varied in training."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

MOST_PIXELS = 4_194_304
"""Pixels of one image as the network sees it: 2048 x 2048."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """How far images are varied while a network learns from them; 0 leaves them as they are."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    shift: float = 0.0
    """Farthest move up, down, left or right, as a share of the side; 0.1 suits most images."""
    flip: bool = False
    """Mirror half of the images left to right. Never for what is read, such as digits."""
    rotate: float = 0.0
    """Farthest turn either way, in degrees; 10 suits most images."""
    brightness: float = 0.0
    """Farthest change of all pixels together, as a share of the training pixels' spread."""
    contrast: float = 0.0
    """Farthest change of the distance to the image's mean, as a share; 0.3 suits photographs."""
    noise: float = 0.0
    """Standard deviation of each pixel's own noise, as a share of the training pixels' spread."""
    erase: float = 0.0
    """Largest share of the area that is blotted out, in half of the images (random erasing)."""

    def __post_init__(self) -> None:
        """Refuse strengths that leave nothing of the image, or mean nothing."""
        for name, most in (("shift", 1.0), ("rotate", 180.0), ("contrast", 1.0), ("erase", 1.0)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ValueError(f"{name}: {value} is out of range; give 0 to {most:g}")
        for name in ("brightness", "noise"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}: {value} is out of range; give 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInput:
    """A column of images, and the order in which a network reads them."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """Bytes of PNG, JPEG or WebP files (or structs that hold such `bytes`), or rows of numbers."""
    kind: Literal["image"] = "image"
    """One image a row."""
    size: tuple[int, int] | None = None
    """Height and width that every image is brought to; that of the first one when left out."""
    color: Literal["auto", "grey", "rgb"] = "auto"
    """`auto`: as the first image. `grey`: one number a pixel. `rgb`: three."""
    sequence: Literal["rows", "columns", "patches", "convolutions", "backbone"] = "rows"
    """What one step is. `rows`: from the top. `columns`: from the left. `patches`: squares of
    pixels. `convolutions`: columns of what two-dimensional convolutions see, learned with the rest
    (CRNN). `backbone`: columns of the features that a pretrained network sees."""
    patch: int = 4
    """Side of a patch in pixels."""
    scan_order: Literal["raster", "hilbert"] = "raster"
    """`raster`: patches line by line. `hilbert`: along a curve that keeps neighbours together."""
    backbone: str | None = None
    """Name of a timm model, such as `resnet18`; needs the extra `images`."""
    pretrained_weights: str | None = None
    """Its weights, a local .safetensors or .pth file; fetched from their hub when left out."""
    feature_stride: Literal[2, 4, 8, 16, 32] = 8
    """Pixels in width behind one step of convolutions or of the backbone: few for text, many for
    photographs."""
    fine_tune: bool = False
    """Let the backbone learn too; as it came, and much faster, when false."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How images are varied in training."""

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if self.size is not None:
            check_size(*self.size)
        if self.patch < 1:
            raise ValueError(f"patch: {self.patch} is no side of a square; give at least 1 pixel")
        if self.scan_order == "hilbert" and self.sequence != "patches":
            raise ValueError(
                f"scan_order: hilbert is for patches, not {self.sequence}; set sequence: patches"
            )
        if self.sequence == "backbone" and not self.backbone:
            raise ValueError("backbone: name a timm model, such as resnet18, or read rows")
        if self.sequence != "backbone" and (
            self.backbone or self.pretrained_weights or self.fine_tune
        ):
            raise ValueError(
                f"sequence: a backbone is described, and {self.sequence} are read; "
                "set sequence: backbone"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)


def check_size(height: int, width: int) -> None:
    """Refuse sizes that make no image or no sequence.

    Raises:
        ValueError: says which side.
    """
    if height < 1 or width < 1:
        raise ValueError(f"size: {height} x {width} is no size; give a height and a width")
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"size: images of {height} x {width} pixels are too large for a sequence (at most "
            f"{MOST_PIXELS} pixels); give a smaller size, such as size: [64, 64]"
        )
