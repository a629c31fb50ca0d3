"""Freed memory stays with the process, for the next step.

glibc gives every large block back to the kernel as soon as it is freed, and so each step of a
recurrent network would fault all its pages anew: on a CPU a third of the time of an LSTM.
"""

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of two settings in glibc's malloc.h."""
LARGEST_BLOCK = 2**30
NEVER = 2**31 - 1


@cache
def keep_memory() -> bool:
    """Let freed blocks stay with this process; return whether the C library supports it."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
    return bool(kept and libc.mallopt(M_TRIM_THRESHOLD, NEVER))
