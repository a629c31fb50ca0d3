"""Memory: what one step has used is there for the next, without asking the kernel again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, statistics, sys
import torch
from models.learning.memory import keep_memory

def count_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    assert keep_memory()
faults = []
for _ in range(31):
    before = count_faults()
    # Above the size at which glibc gives a block back, however it has adapted.
    torch.ones(64 * 2**20 // 4)
    faults.append(count_faults() - before)
# The median: where a small block was cut out of the freed one, a turn has to fault anew.
print(statistics.median(faults))
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
