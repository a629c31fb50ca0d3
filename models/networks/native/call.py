"""The compiled kernels as Python calls them: by address, over memory that tensors own.

Shapes: B sequences.
"""

import ctypes
import os
from ctypes import c_int64, c_void_p
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from models.networks.jagged import Offsets

IMPORTING_PROCESS = os.getpid()
"""Where this module was imported; a process forked from it later has another number."""


class KernelLibrary(NamedTuple):
    """The shared library, loaded."""

    name: str
    """Differs where the last digits of a result may differ."""
    library: ctypes.CDLL

    def call(self, kernel: str, offsets: Offsets, *tensors: Tensor, hidden: int) -> None:
        """Run a kernel on tensors, which must be float32, on the host and contiguous."""
        bounds, order = offsets.bounds, offsets.by_length
        batch = _BatchFields(
            sequences=len(offsets),
            hidden=hidden,
            threads=torch.get_num_threads(),
            bounds=bounds.ctypes.data,
            order=order.ctypes.data,
            team=_find_thread_team() if os.getpid() == IMPORTING_PROCESS else None,
        )
        addresses = (c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
        getattr(self.library, kernel)(ctypes.byref(batch), ctypes.byref(addresses))


class _BatchFields(ctypes.Structure):
    """A batch as every kernel gets it: `Batch` of work.h."""

    _fields_ = (
        ("sequences", c_int64),
        ("hidden", c_int64),
        ("threads", c_int64),
        ("bounds", c_void_p),
        ("order", c_void_p),
        ("team", c_void_p),
    )


@cache
def _find_thread_team() -> int | None:
    """Return the address of GNU OpenMP's `GOMP_parallel`, which runs torch's own threads.

    A second thread pool would compete with torch's, which spins for milliseconds after each matrix
    product. A forked process has none of these threads, and would wait for them forever.
    """
    try:
        run = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    return ctypes.cast(run, c_void_p).value
