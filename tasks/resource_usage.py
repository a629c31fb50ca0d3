"""What a stage costs: seconds, peak memory, and energy where the machine tells it.

No two runs cost the same, so nothing here may become part of a model or of a key.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from models.bundle import Bundle

POWERCAP = Path("/sys/class/powercap")

TIMED_REQUESTS = 20
"""One-row answers that are timed."""

MICRO = 1e-6

MILLI = 1e-3


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What a stage has used."""

    seconds: float
    """Elapsed time."""
    peak_memory_bytes: int
    """The most memory that the process ever held."""
    energy_joules: float | None
    """None where the machine does not measure it."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Readings at the begin of a stage."""

    start_time: float
    joules: Mapping[str, float]

    def measure(self) -> ResourceUsage:
        """Return what was spent since then, and the most memory that the process ever had."""
        return ResourceUsage(
            seconds=round(time.perf_counter() - self.start_time, 3),
            peak_memory_bytes=measure_peak_memory(),
            energy_joules=compute_energy(self.joules),
        )


def start_meter() -> Meter:
    """Take the first readings."""
    return Meter(time.perf_counter(), read_energy())


def measure_peak_memory() -> int:
    """Return the peak memory of this process, in bytes: the GPU's where one was used."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
        kibibytes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if kibibytes:
            return int(kibibytes[0]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def read_energy(root: Path = POWERCAP) -> dict[str, float]:
    """Read the counters of the processors' packages (RAPL) and of the GPUs (NVML), in joules."""
    return {**read_package_energy(root), **read_gpu_energy()}


def read_package_energy(root: Path) -> dict[str, float]:
    """Read each package's counter; none where there is none, or only root may read it."""
    found = {}
    for zone in sorted(root.glob("intel-rapl:*")):
        if zone.name.count(":") > 1:
            # A part of a package, which is counted with it.
            continue
        try:
            found[str(zone)] = int((zone / "energy_uj").read_text(encoding="ascii")) * MICRO
        except (OSError, ValueError):
            continue
    return found


def read_gpu_energy() -> dict[str, float]:
    """Read each GPU's counter; none where NVML or its package is missing."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    if find_spec("pynvml") is None:
        return {}
    pynvml = import_module("pynvml")
    try:
        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(place) for place in range(pynvml.nvmlDeviceGetCount())
        ]
        return {
            f"gpu {place}": pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) * MILLI
            for place, handle in enumerate(handles)
        }
    except pynvml.NVMLError:
        return {}


def compute_energy(before: Mapping[str, float]) -> float | None:
    """Return the joules since the first reading; None where the machine does not count them.

    A package's counter begins anew after some minutes to hours, at most once in between, it is
    assumed; then its range is added.
    """
    if not before:
        return None
    now = read_energy()
    spent = 0.0
    for name, was in before.items():
        used = now.get(name, was) - was
        spent += used if used >= 0 else used + read_counter_range(Path(name))
    return round(spent, 3)


def read_counter_range(zone: Path) -> float:
    """Return where a package's counter begins anew, in joules; 0 where that is not known."""
    try:
        return int((zone / "max_energy_range_uj").read_text(encoding="ascii")) * MICRO
    except (OSError, ValueError):
        return 0.0


def measure_latency(bundle: Bundle, frame: pl.DataFrame) -> dict[str, float] | None:
    """Time answers to one row after the other, in milliseconds; None where there is no row.

    Args:
        bundle: the model.
        frame: raw rows that it can predict; of windows the last rows have a past.
    """
    if not len(frame):
        return None
    window, taken = bundle.featurizer.layout.window, []
    for time_asked in range(TIMED_REQUESTS + 1):
        row = len(frame) - 1 - time_asked % (1 if window else len(frame))
        began = time.perf_counter()
        if window:
            bundle.predict(frame, np.array([row]))
        else:
            bundle.predict(frame[row : row + 1])
        taken.append((time.perf_counter() - began) / MILLI)
    # The first prediction opens files and caches that later ones find open.
    median, high = np.quantile(np.array(taken[1:]), [0.5, 0.95])
    return {"p50": round(float(median), 3), "p95": round(float(high), 3)}


def count_folder_bytes(folder: Path) -> int:
    """Count the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
