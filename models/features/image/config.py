"""Settings of images, of their order as a sequence, and of augmentation in training."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

_MAX_PIXELS = 4_194_304
"""Pixels of one image as the network sees it: 2048 x 2048."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Random augmentation of images in training; 0 switches each part off."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    shift: float = 0.0
    """Largest shift in any direction, as a share of the side; 0.1 suits most images."""
    flip: bool = False
    """Flip half of the images left to right. Not for text or digits."""
    rotate: float = 0.0
    """Largest rotation in either direction, in degrees; 10 suits most images."""
    brightness: float = 0.0
    """Largest change of brightness, as a share of the training pixels' standard deviation."""
    contrast: float = 0.0
    """Largest relative change of contrast (distance to the image's mean); 0.3 suits photos."""
    noise: float = 0.0
    """Standard deviation of Gaussian pixel noise, as a share of the training pixels' one."""
    erase: float = 0.0
    """Largest share of the area that is erased, in half of the images (random erasing)."""

    def __post_init__(self) -> None:
        """Validate the settings.

        Raises:
            ValueError: a strength is out of range.
        """
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
    """`image`: one image per row."""
    size: tuple[int, int] | None = None
    """Height and width that every image is resized to; by default those of the first image that
    is not too large for a sequence."""
    color: Literal["auto", "grey", "rgb"] = "auto"
    """`auto`: as the first image. `grey`: one channel. `rgb`: three channels."""
    sequence: Literal["rows", "columns", "patches", "convolutions", "backbone"] = "rows"
    """What one step is. `rows`: a row of pixels, from the top. `columns`: a column, from the left.
    `patches`: a square of pixels. `convolutions`: a column of the feature map of two-dimensional
    convolutions, trained with the network (CRNN). `backbone`: a column of the feature map of a
    pretrained network."""
    patch: int = 4
    """Side length of a patch, in pixels."""
    scan_order: Literal["raster", "hilbert"] = "raster"
    """Order of the patches. `raster`: row by row. `hilbert`: along a Hilbert curve, which keeps
    neighbours together."""
    backbone: str | None = None
    """Name of a timm model, such as `resnet18`; needs the extra `images`."""
    pretrained_weights: str | None = None
    """Weights of the backbone, a local .safetensors or .pth file; by default they are downloaded
    from the model's hub."""
    feature_stride: Literal[2, 4, 8, 16, 32] = 8
    """Width in pixels of one step of `convolutions` or `backbone`: small for text, large for
    photographs."""
    fine_tune: bool = False
    """Whether the backbone is trained too; otherwise it is frozen, which is much faster."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of the training images."""

    def __post_init__(self) -> None:
        """Validate the settings.

        Raises:
            ValueError: the size is out of range, or two settings contradict each other.
        """
        if self.size is not None:
            check_size(*self.size)
        if self.patch < 1:
            raise ValueError(f"patch: {self.patch} is too small; give at least 1 pixel")
        if self.scan_order == "hilbert" and self.sequence != "patches":
            raise ValueError(
                f"scan_order: hilbert is for patches, not {self.sequence}; set sequence: patches"
            )
        if self.sequence == "backbone" and not self.backbone:
            raise ValueError("backbone: name a timm model, such as resnet18, or set sequence: rows")
        if self.sequence != "backbone" and (
            self.backbone or self.pretrained_weights or self.fine_tune
        ):
            raise ValueError(
                f"sequence: backbone settings are given, but sequence is {self.sequence}; "
                "set sequence: backbone, or remove them"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)


def check_size(height: int, width: int) -> None:
    """Check that a size is at least one pixel, and not too large for a sequence.

    Raises:
        ValueError: it is not.
    """
    if height < 1 or width < 1:
        raise ValueError(
            f"size: {height} x {width} is too small; give a height and a width of at least 1"
        )
    if height * width > _MAX_PIXELS:
        raise ValueError(
            f"size: images of {height} x {width} pixels are too large for a sequence (at most "
            f"{_MAX_PIXELS} pixels); give a smaller size, such as size: [64, 64]"
        )
