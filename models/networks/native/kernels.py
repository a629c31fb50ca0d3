"""Which kernels this process computes with: the compiled ones, or torch's.

The choice is made at the first use and stands for the life of the process, so that numbers never
change within a run. `kept` holds a run that goes on to the choice that it began with.
"""

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

from models.networks.native.build import built
from models.networks.native.call import Kernels

logger = logging.getLogger(__name__)

TORCH = "torch"
"""The name of doing without."""

aside: ContextVar[bool] = ContextVar("aside", default=False)
"""Whether the compiled kernels are left alone here."""


@cache
def found() -> Kernels | None:
    """Compile and load the kernels, once; say it where there are none."""
    try:
        path = built()
        return Kernels(path.stem, ctypes.CDLL(str(path)))
    except OSError as error:
        logger.warning("torch reads step by step here, which is slower: %s", error)
        return None


def kernels() -> Kernels | None:
    """Return the compiled kernels, if there are any and they are not left alone."""
    return None if aside.get() else found()


def chosen() -> str:
    """Name what computes here."""
    ours = kernels()
    return ours.name if ours is not None else TORCH


@contextmanager
def kept() -> Iterator[Callable[[str], bool]]:
    """Hand out what holds all that follows, within, to kernels of a name.

    It tells whether they are here; where they are not, nothing is held.
    """
    token = aside.set(aside.get())

    def keep(name: str) -> bool:
        aside.set(name == TORCH)
        return name == TORCH or chosen() == name

    try:
        yield keep
    finally:
        aside.reset(token)


def kernels_for(*tensors: Tensor) -> Kernels | None:
    """Return the kernels, where they are there and can read these tensors."""
    plain = all(part.dtype == torch.float32 and part.device.type == "cpu" for part in tensors)
    if not plain or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return None
    return kernels()
