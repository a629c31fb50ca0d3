"""Subnormal numbers (below 1e-38) are flushed to 0 during training.

Gradients vanish with the distance in steps, so over a long series they reach the subnormal numbers,
which a CPU computes very slowly: the backward pass of an LSTM over 1,460 steps spends 90 % of its
time there. Nothing is learned from them. The setting belongs to a thread, so it is made in every
thread of the pool.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

TINY = 2.0**-140


@contextmanager
def flush_subnormals() -> Iterator[None]:
    """Flush subnormal numbers to 0 within the context, then restore the setting."""
    before = is_flushing()
    set_flush(flush=True)
    try:
        yield
    finally:
        set_flush(flush=before)


def is_flushing() -> bool:
    """Return whether this thread flushes subnormal numbers to 0."""
    return not (torch.tensor([1.0]) * TINY).count_nonzero()


def set_flush(*, flush: bool) -> None:
    """Set it for this thread and for the OpenMP pool, where that can be reached."""
    torch.set_flush_denormal(flush)
    if (pool := open_openmp()) is None:
        return

    def on_each(_: int) -> None:
        torch.set_flush_denormal(flush)

    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(on_each)
    pool.GOMP_parallel(call, None, ctypes.c_uint(torch.get_num_threads()), ctypes.c_uint(0))


@cache
def open_openmp() -> ctypes.CDLL | None:
    """Open the OpenMP library that torch ships on Linux; None where it ships none."""
    found = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    return ctypes.CDLL(str(found[0])) if found else None
