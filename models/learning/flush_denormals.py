"""Numbers below 1e-38 are taken for 0 while a network learns.

What an answer says about a step far before it dies away by a share with every step between, and so
the gradients of a long series sink through the subnormal numbers, of which a CPU computes each by a
detour: backwards over 1,460 steps an LSTM spends nine tenths of its time there. Nothing is learned
from them. The setting belongs to a thread, and each of the pool's has its own.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

TINY = 2.0**-140


@contextmanager
def flushed_subnormals() -> Iterator[None]:
    """Compute without subnormal numbers on a CPU, and then again as before."""
    before = is_flushing()
    set_everywhere(flush=True)
    try:
        yield
    finally:
        set_everywhere(flush=before)


def is_flushing() -> bool:
    """Tell whether this thread takes subnormal numbers for 0."""
    return not (torch.tensor([1.0]) * TINY).count_nonzero()


def set_everywhere(*, flush: bool) -> None:
    """Set this thread, and those that compute for it; where they can't be reached, this alone."""
    torch.set_flush_denormal(flush)
    if (pool := openmp()) is None:
        return

    def on_each(_: int) -> None:
        torch.set_flush_denormal(flush)

    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(on_each)
    pool.GOMP_parallel(call, None, ctypes.c_uint(torch.get_num_threads()), ctypes.c_uint(0))


@cache
def openmp() -> ctypes.CDLL | None:
    """Open the library whose threads compute for torch on Linux, if it came with torch."""
    found = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    return ctypes.CDLL(str(found[0])) if found else None
