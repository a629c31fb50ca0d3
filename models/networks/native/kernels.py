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
from pathlib import Path

import torch
from torch import Tensor

from models.networks.native.build import built, standing
from models.networks.native.call import Kernels

logger = logging.getLogger(__name__)

TORCH = "torch"
"""The name of doing without."""

held: ContextVar[str] = ContextVar("held", default="")
"""The name of what is computed with here; empty where that is free."""


@cache
def found() -> Kernels | None:
    """Compile and load the kernels, once; say it where there are none."""
    try:
        return opened(built())
    except OSError as error:
        logger.warning("torch reads step by step here, which is slower: %s", error)
        return None


@cache
def earlier(name: str) -> Kernels | None:
    """Load kernels that were compiled earlier, perhaps by a compiler that has gone since."""
    try:
        return opened(standing(name))
    except OSError:
        return None


def opened(path: Path) -> Kernels:
    """Load a library."""
    return Kernels(path.stem, ctypes.CDLL(str(path)))


def kernels() -> Kernels | None:
    """Return the compiled kernels, if there are any and they are not left alone."""
    name = held.get()
    if name == TORCH:
        return None
    return earlier(name) if name else found()


def chosen() -> str:
    """Name what computes here."""
    ours = kernels()
    return ours.name if ours is not None else TORCH


@contextmanager
def kept() -> Iterator[Callable[[str], bool]]:
    """Hand out what holds all that follows, within, to kernels of a name.

    It tells whether they are here; where they are not, nothing is held.
    """
    token = held.set(held.get())

    def keep(name: str) -> bool:
        here = name == TORCH or earlier(name) is not None
        if here:
            held.set(name)
        return here

    try:
        yield keep
    finally:
        held.reset(token)


def kernels_for(*tensors: Tensor) -> Kernels | None:
    """Return the kernels, where they are there and can read these tensors."""
    plain = all(part.dtype == torch.float32 and part.device.type == "cpu" for part in tensors)
    if not plain or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return None
    return kernels()
