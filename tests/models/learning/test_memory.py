"""Memory: a step reuses the freed blocks of the step before, without page faults."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, statistics, sys
import torch
from models.learning.memory import retain_freed_memory

def count_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "retained":
    assert retain_freed_memory()
faults = []
for _ in range(31):
    before = count_faults()
    # Above the size at which glibc gives a block back, however it has adapted.
    torch.ones(64 * 2**20 // 4)
    faults.append(count_faults() - before)
# The median: where a small block was cut out of the freed one, a turn has to fault anew.
print(statistics.median(faults))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_freed_blocks_are_reused_without_page_faults() -> None:
    faults = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, way], check=True, capture_output=True, text=True
            ).stdout
        )
        for way in ("retained", "given back")
    }

    assert faults["retained"] < 0.25 * faults["given back"]
