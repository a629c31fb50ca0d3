"""Subnormal numbers (below 1e-38) are flushed to 0 during training.

Gradients vanish with the distance in steps, so over a long series they reach the subnormal numbers,
which a CPU computes very slowly: the backward pass of an LSTM over 1,460 steps spends 90 % of its
time there. They are too small to change a weight. The setting belongs to a thread, so it is
made in every thread of the pool.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

SUBNORMAL = 2.0**-140
"""A subnormal number in float32."""


@contextmanager
def flush_subnormals() -> Iterator[None]:
    """Flush subnormal numbers to 0 within the context, then restore the setting."""
    before = is_flushing()
    _set_flush(flush=True)
    try:
        yield
    finally:
        _set_flush(flush=before)


def is_flushing() -> bool:
    """Return whether this thread flushes subnormal numbers to 0."""
    return not (torch.tensor([1.0]) * SUBNORMAL).count_nonzero()


def _set_flush(*, flush: bool) -> None:
    """Turn flushing on or off for this thread and, where it can be reached, the OpenMP pool."""
    torch.set_flush_denormal(flush)
    if (openmp := _open_openmp()) is None:
        return

    def set_in_thread(_: int) -> None:
        torch.set_flush_denormal(flush)

    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(set_in_thread)
    openmp.GOMP_parallel(callback, None, ctypes.c_uint(torch.get_num_threads()), ctypes.c_uint(0))


@cache
def _open_openmp() -> ctypes.CDLL | None:
    """Open the OpenMP library that torch ships on Linux; None where it ships none."""
    found = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    return ctypes.CDLL(str(found[0])) if found else None
