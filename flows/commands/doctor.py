"""`ostinato doctor`: read everything that was written, and name what is damaged."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

import httpx

from flows.runtime.crashed_runs import mark_crashed_runs
from tasks.errors import PagesError, PrefectDownError
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
    crashed_runs: list[str] | None = None
    """Names of the runs in Prefect that were marked as crashed, because their process has ended;
    None where Prefect could not be asked."""


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


def end_crashed_runs(found: Examination, wait_for_server: Callable[[], None]) -> Examination:
    """Mark the runs in Prefect whose process has ended as crashed; a server that is away is told.

    Args:
        found: what was verified.
        wait_for_server: waits until Prefect's server responds.
    """
    try:
        wait_for_server()
        return replace(found, crashed_runs=mark_crashed_runs())
    except (httpx.HTTPError, PagesError, PrefectDownError):
        return found


def format_examination(found: Examination) -> str:
    """Format what is damaged, and what mends it, for a terminal."""
    size = f"{found.bytes / _GIGABYTE:.3f} GB in {found.seconds:.1f} s"
    lines = [f"{found.checked} artifacts, versions and records verified ({size})"]
    for each in found.damaged:
        lines += [f"{each.what}: {each.damage}", f"  -> {each.remedy}"]
    if found.crashed_runs is None:
        lines.append("runs whose process has ended were not looked for: Prefect does not answer")
    lines += [f"run '{name}': marked as crashed" for name in found.crashed_runs or []]
    lines.append(f"{len(found.damaged)} damaged" if found.damaged else "nothing is damaged")
    return "\n".join(lines)
