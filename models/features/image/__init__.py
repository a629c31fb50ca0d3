"""Images: files or rows of numbers, brought to one size, as rows of pixels from the top.

`config` has the settings, `files` decodes files, `arrays` reads numbers, `column` reads a whole
column of either, and `featurize` fits size, colors, mean and standard deviation, and transforms.
The network puts the pixels into reading order (`inputs/pixels.py`), so that order, patches and
augmentation need no space on disk.
"""

from pathlib import Path

from models.features.image.config import AugmentConfig, ImageInput
from models.features.image.featurize import ImageState, build_spec, compute_max_rows, fit, transform

__all__ = [
    "AugmentConfig",
    "ImageInput",
    "ImageState",
    "build_spec",
    "compute_max_rows",
    "fit",
    "list_files",
    "list_packages",
    "transform",
]


def list_files(config: ImageInput) -> tuple[Path, ...]:
    """Return the file with the weights of the backbone, which the network begins with."""
    return (Path(config.pretrained_weights),) if config.pretrained_weights else ()


def list_packages(config: ImageInput, _: ImageState | None) -> tuple[str, ...]:
    """Return the packages that prediction needs in addition to the core."""
    return ("timm", "torchvision") if config.sequence == "backbone" else ()
