"""Freed memory is retained by the process, for the next step.

glibc gives every large block back to the kernel as soon as it is freed, and so each step of a
recurrent network would fault all its pages anew: on a CPU a third of the time of an LSTM.
"""

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of two settings in glibc's malloc.h."""
MMAP_THRESHOLD_BYTES = 2**30
"""Smaller blocks are not mapped one by one, so that freeing one does not unmap it."""
TRIM_THRESHOLD_BYTES = 2**31 - 1
"""Free bytes above which glibc gives memory back: the largest value, in effect never."""


@cache
def retain_freed_memory() -> bool:
    """Let this process retain freed blocks; return whether the C library supports it."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    is_set = libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    return bool(is_set and libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES))
