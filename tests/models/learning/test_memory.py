"""Memory: what one step has used is there for the next, without asking the kernel again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from models.learning.memory import keep_memory

if sys.argv[1] == "kept":
    assert keep_memory()
for turn in range(30):
    if turn == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    # Above the size at which glibc gives a block back, however it has adapted.
    torch.ones(64 * 2**20 // 4)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_blocks_are_used_again_without_faulting_their_pages() -> None:
    faults = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, way], check=True, capture_output=True, text=True
            ).stdout
        )
        for way in ("kept", "given back")
    }

    assert faults["kept"] < 0.25 * faults["given back"]
