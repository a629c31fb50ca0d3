"""Which kernels this process computes with: the compiled ones, or torch's.

The choice is made at the first use and holds for the life of the process, so that numbers never
change within a run. `pin_kernels` makes a resumed run use the kernels that it began with.
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

from models.networks.native.build import find_compiled, find_or_compile
from models.networks.native.call import KernelLibrary

logger = logging.getLogger(__name__)

TORCH = "torch"
"""Name of the fallback: torch without compiled kernels."""

_pinned_name: ContextVar[str] = ContextVar("pinned_name", default="")
"""Name of the kernels that this context must use; empty where the choice is free."""


@cache
def load_kernels() -> KernelLibrary | None:
    """Compile and load the kernels, once; log a warning where that is not possible."""
    try:
        return _open_library(find_or_compile())
    except OSError as error:
        logger.warning("torch runs step by step here, which is slower: %s", error)
        return None


@cache
def load_compiled(name: str) -> KernelLibrary | None:
    """Load kernels that were compiled earlier, even if their compiler has been removed since."""
    try:
        return _open_library(find_compiled(name))
    except OSError:
        return None


def get_kernel_name() -> str:
    """Return the name of the kernels in use here."""
    kernels = _get_kernels()
    return kernels.name if kernels is not None else TORCH


@contextmanager
def pin_kernels() -> Iterator[Callable[[str], bool]]:
    """Yield a function that pins all that follows, in this context, to kernels of a name.

    It returns whether they are available; where they are not, nothing is pinned.
    """
    token = _pinned_name.set(_pinned_name.get())

    def pin(name: str) -> bool:
        is_available = name == TORCH or load_compiled(name) is not None
        if is_available:
            _pinned_name.set(name)
        return is_available

    try:
        yield pin
    finally:
        _pinned_name.reset(token)


def select_kernels(*tensors: Tensor) -> KernelLibrary | None:
    """Return the kernels, where they are available and can read these tensors."""
    are_supported = all(
        part.dtype == torch.float32 and part.device.type == "cpu" for part in tensors
    )
    if not are_supported or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return None
    return _get_kernels()


def _open_library(path: Path) -> KernelLibrary:
    """Load a shared library; its name is that of the kernels."""
    return KernelLibrary(path.stem, ctypes.CDLL(str(path)))


def _get_kernels() -> KernelLibrary | None:
    """Return the compiled kernels, unless there are none or torch is pinned."""
    name = _pinned_name.get()
    if name == TORCH:
        return None
    return load_compiled(name) if name else load_kernels()
