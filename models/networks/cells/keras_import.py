"""Keras, loaded so that it computes with torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from models.errors import SetupError
from models.extras import describe_install


def import_keras() -> Any:  # noqa: ANN401 - Keras has no types
    """Import Keras.

    Raises:
        SetupError: it is not installed, or has been loaded to compute with something else.
    """
    os.environ.setdefault("KERAS_BACKEND", "torch")
    # Where TensorFlow is installed too, Keras imports it, and it logs a lot.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError as error:
        raise SetupError(f"Keras is not installed: {describe_install('keras')}") from error
    if keras.backend.backend() != "torch":
        raise SetupError(
            f"Keras computes with {keras.backend.backend()} here; set KERAS_BACKEND=torch"
        )
    return keras


@contextmanager
def use_device(device: torch.device) -> Iterator[None]:
    """Let Keras compute on this device; otherwise it copies all tensors to its own."""
    with import_keras().device(str(device)):
        yield
