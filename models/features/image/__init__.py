"""Images: files or rows of numbers, brought to one size, as rows of pixels from the top.

`config` says what is read and how, `files` decodes, `arrays` reads numbers, `column` reads either
for a whole column, and `fitted` holds what training decides: size, colours, mean and spread.
The network turns the rows of pixels into the reading order (`inputs/pixels.py`), so that
order, patches and augmentation cost nothing on disk.
"""

from models.features.image.config import AugmentConfig, ImageInput
from models.features.image.fitted import ImageState, fit, rows_at_once, signal, transform

__all__ = [
    "AugmentConfig",
    "ImageInput",
    "ImageState",
    "fit",
    "packages",
    "rows_at_once",
    "signal",
    "transform",
]


def packages(config: ImageInput) -> tuple[str, ...]:
    """Name what a served model needs beside the core."""
    return ("timm", "torchvision") if config.sequence == "backbone" else ()
