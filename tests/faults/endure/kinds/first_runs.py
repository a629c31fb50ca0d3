"""Kills during the first run in a folder, while Prefect and MLflow create their databases."""

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.faults.endure.case import Case, judge_ended
from tests.faults.endure.terminal import finish_run, kill, start_run
from tests.faults.endure.workshop import (
    RUN_SECONDS,
    Workshop,
    list_weights,
    read_results,
    read_versions,
    write_inputs,
)

KIND = "killed first runs"
COUNT, SLICE = 12, 1

DATABASES = {"MLflow": ("mlflow", 950_000), "Prefect": ("prefect", 1_000_000)}
"""Folder of each database, and about how many bytes it has once its tables are made."""

_POLL_SECONDS = 0.002


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List kills when one of the databases has reached a share of its size."""
    for index in range(count):
        draw = random.Random(f"{seed}/{KIND}/{index}")
        which = list(DATABASES)[index % 2]
        folder, size = DATABASES[which]
        share, whole = draw.random(), draw.random() < 0.7
        victims = "all processes" if whole else "the command alone"
        name = f"{index:02} {victims}, {which}'s database at {share:.0%}"
        yield Case(KIND, name, partial(judge_first_run, folder, share * size, whole))


def judge_first_run(which: str, size: float, whole: bool, workshop: Workshop) -> str | None:
    """Kill a first run when a database has a size, and judge the second run."""
    folder = workshop.make_folder()
    write_inputs(folder)
    process = start_run(folder)
    while process.poll() is None and measure_database(folder, which) < max(size, 1):
        time.sleep(_POLL_SECONDS)
    kill(process, whole=whole)
    ended = finish_run(start_run(folder), seconds=RUN_SECONDS)
    failure = judge_ended(ended, (0,))
    if failure is None and list_weights(read_results(folder)) != list_weights(
        workshop.finished.results
    ):
        failure = "the weights are not those of an undisturbed run"
    if failure is None and read_versions(folder) != [("waves", "1")]:
        failure = f"registered are {read_versions(folder)}"
    workshop.delete_folder(folder)
    return failure


def measure_database(folder: Path, which: str) -> int:
    """Return the bytes of a database, with its log of writes, wherever it is being made."""
    size = 0
    for path in (folder / ".ostinato" / which).glob("**/*.db*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:
            continue
    return size
