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

PROCESS = os.getpid()
"""Where this module was imported; a process forked from it later has another number."""


class BatchFields(ctypes.Structure):
    """What every kernel is told of a batch: `Batch` of work.h."""

    _fields_ = (
        ("sequences", c_int64),
        ("hidden", c_int64),
        ("threads", c_int64),
        ("bounds", c_void_p),
        ("order", c_void_p),
        ("team", c_void_p),
    )


class Kernels(NamedTuple):
    """The library, loaded."""

    name: str
    """Another one wherever the last digits of a result may differ."""
    library: ctypes.CDLL

    def call(self, kernel: str, offsets: Offsets, *tensors: Tensor, hidden: int) -> None:
        """Let a kernel work on tensors, which are of float32, on the host and without gaps."""
        bounds, order = offsets.bounds, offsets.by_length
        batch = BatchFields(
            sequences=len(offsets),
            hidden=hidden,
            threads=torch.get_num_threads(),
            bounds=bounds.ctypes.data,
            order=order.ctypes.data,
            team=team() if os.getpid() == PROCESS else None,
        )
        addresses = (c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
        getattr(self.library, kernel)(ctypes.byref(batch), ctypes.byref(addresses))


@cache
def team() -> int | None:
    """Return where OpenMP's way to run torch's own threads lies, if it is GNU's.

    Threads of our own would compete with those, which go on spinning for milliseconds after each
    product of matrices. A forked process has none of them, and would wait for them for ever.
    """
    try:
        run = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    return ctypes.cast(run, c_void_p).value
