"""`ostinato doctor`: read everything that was written, and name what is damaged."""

import time
from dataclasses import dataclass
from itertools import chain

from tasks.retention.damage import Checked, check_artifacts, check_records, check_versions
from tasks.storage.store import Store

_GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What was read, and what of it is damaged; the output of `ostinato doctor --json`."""

    checked: int
    """Artifacts, versions and records."""
    bytes: int
    """Size of those that are whole."""
    seconds: float
    damaged: list[Checked]


def examine(store: Store) -> Examination:
    """Verify a store and the versions in MLflow.

    Raises:
        StoreError: the store cannot be read.
        RegistryDownError: MLflow cannot be reached.
    """
    start_time = time.perf_counter()
    found = list(chain(check_artifacts(store), check_records(store), check_versions()))
    return Examination(
        checked=len(found),
        bytes=sum(each.bytes for each in found),
        seconds=round(time.perf_counter() - start_time, 3),
        damaged=[each for each in found if each.damage],
    )


def format_examination(found: Examination) -> str:
    """Format what is damaged, and what mends it, for a terminal."""
    size = f"{found.bytes / _GIGABYTE:.3f} GB in {found.seconds:.1f} s"
    lines = [f"{found.checked} artifacts, versions and records verified ({size})"]
    for each in found.damaged:
        lines += [f"{each.what}: {each.damage}", f"  -> {each.remedy}"]
    lines.append(f"{len(found.damaged)} damaged" if found.damaged else "nothing is damaged")
    return "\n".join(lines)
