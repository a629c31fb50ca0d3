"""Images: files or rows of numbers, brought to one size, as rows of pixels from the top.

`config` has the settings, `files` decodes files, `arrays` reads numbers, `column` reads a whole
column of either, and `featurize` fits size, colors, mean and standard deviation, and transforms.
The network puts the pixels into reading order (`inputs/pixels.py`), so that order, patches and
augmentation need no space on disk.
"""

from models.features.image.config import AugmentConfig, ImageInput
from models.features.image.featurize import ImageState, build_spec, compute_max_rows, fit, transform

__all__ = [
    "AugmentConfig",
    "ImageInput",
    "ImageState",
    "build_spec",
    "compute_max_rows",
    "fit",
    "list_packages",
    "transform",
]


def list_packages(config: ImageInput, _: ImageState) -> tuple[str, ...]:
    """Return the packages that prediction needs in addition to the core."""
    return ("timm", "torchvision") if config.sequence == "backbone" else ()
