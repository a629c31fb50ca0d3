"""How much memory there is for sequences, and whether they fit."""

from pathlib import Path

import torch

SHARE = 0.5
"""Of the free memory that sequences may take: the rest is for what is computed from them."""

LIMITS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""A container's limit and what it uses, in both versions of Linux' control groups."""


def fits(size: int, device: torch.device) -> bool:
    """Tell whether so many bytes of sequences fit on the device, beside what else it does."""
    return size <= SHARE * free_bytes(device)


def free_bytes(device: torch.device) -> int:
    """Tell how much of the device's memory is free; of a container's, where there is one."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    import psutil  # type: ignore[import-untyped]

    return min(int(psutil.virtual_memory().available), container_bytes(Path("/sys/fs/cgroup")))


def container_bytes(folder: Path) -> int:
    """Tell how much this container may still take; without bounds where it is not told."""
    free = 2**63
    for limit, used in LIMITS:
        try:
            most = (folder / limit).read_text(encoding="ascii").strip()
            taken = (folder / used).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if most.isdigit():
            free = min(free, max(0, int(most) - int(taken)))
    return free
