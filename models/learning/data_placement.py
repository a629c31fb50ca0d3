"""Free memory, and whether sequences fit into it."""

from pathlib import Path

import torch

MEMORY_SHARE = 0.5
"""Share of the free memory that sequences may take; the rest is for activations."""

CONTROL_GROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Files of a container's limit and use, in versions 2 and 1 of Linux control groups."""


def fits_in_memory(size: int, device: torch.device) -> bool:
    """Return whether so many bytes of sequences fit into the device's free memory."""
    return size <= MEMORY_SHARE * _measure_free_bytes(device)


def measure_container_bytes(folder: Path) -> int:
    """Return the bytes that this container may still use; 2^63 where there is no limit."""
    free = 2**63
    for limit, used in CONTROL_GROUP_FILES:
        try:
            allowed = (folder / limit).read_text(encoding="ascii").strip()
            used_bytes = (folder / used).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if allowed.isdigit():
            free = min(free, max(0, int(allowed) - int(used_bytes)))
    return free


def _measure_free_bytes(device: torch.device) -> int:
    """Return the free bytes of the device; within a container's limit, where there is one."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    import psutil  # type: ignore[import-untyped]

    return min(
        int(psutil.virtual_memory().available), measure_container_bytes(Path("/sys/fs/cgroup"))
    )
