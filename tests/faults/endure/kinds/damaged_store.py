"""Every file of a store, damaged in turn; then the job runs again, so that the file is read.

A run whose stages are all finished reads few files. So some setting of a later stage is changed,
which makes that stage read what the damaged one has written. The run may end well, with the weights
of an undisturbed run, or refuse and name what is damaged; it must register nothing else.
"""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.faults.endure.case import Case, NoSuchCase, judge_ended
from tests.faults.endure.workshop import (
    DATABASE,
    STORE,
    FinishedRun,
    Workshop,
    hash_file,
    list_leftovers,
    list_registered_files,
    read_results,
    read_versions,
)

KIND = "damaged store"
COUNT, SLICE = 4, 1
"""Damages of every file."""

DAMAGES = ("flip", "cut", "empty", "pickle")

_PICKLE = b"cposix\nsystem\n(S'touch ran-a-pickle'\ntR."
"""A pickle that runs a command when it is loaded: a file appears in the working folder."""

_READERS = {
    "ingest": ("split.validation=15%",),
    "part": ("split.validation=15%",),
    "validate": ("split.validation=15%",),
    "featurize": ("training.seed=8",),
    "train": ("gate.bootstrap_samples=201",),
    "history": ("gate.bootstrap_samples=201",),
    "holdouts": ("gate.bootstrap_samples=201",),
}
"""Settings by which the next stage is run again, and reads what a stage has written."""

_MEASURED = {"report.html", "report.json", "report.md"}

_MAX_FILES = 60
"""More files than a store of one small run has."""

_SLICE = (3, 9, 11, 21)
"""Files of a slice."""


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List each file of the store with each damage.

    The names of files have keys in them that are known only when the job has run, so a case
    addresses a file by its number.
    """
    for place in range(_MAX_FILES) if count == COUNT else _SLICE:
        for damage in DAMAGES[:count]:
            name = f"file {place:02}, {damage}"
            yield Case(KIND, name, partial(judge_file, place, damage, f"{seed}/{name}"))


def judge_file(place: int, damage: str, seed: str, workshop: Workshop) -> str | None:
    """Damage a file, run the job so that the file is read, and judge how that ends."""
    finished = workshop.finished
    if place >= len(finished.files):
        raise NoSuchCase
    name = finished.files[place]
    stage = name.partition("/")[0]
    settings = _READERS.get(stage, ())
    expected = finished.get_expected(*settings)
    finished.restore()
    path = finished.folder / STORE / name
    damage_file(path, damage, random.Random(seed))
    if stage == "evaluate":
        # What it wrote is read where the registry does not have the version yet.
        (finished.folder / DATABASE).write_bytes(workshop.blank_database.read_bytes())
    failure = judge_run(finished, settings, expected, path)
    return f"{name}, {' '.join(settings) or 'run again'}: {failure}" if failure else None


def judge_run(
    finished: FinishedRun, settings: tuple[str, ...], expected: dict[str, str], path: Path
) -> str | None:
    """Run the job twice over a damaged file: the second run has what the first one mended."""
    damaged = hash_file(path)
    for _ in range(2):
        before = read_versions(finished.folder)
        ended = finished.run(*settings)
        # A message may name the file, or the folder of the artifact that it is in.
        names = [path.name, *(parent.name for parent in path.parents[:3])]
        failure = judge_ended(ended, (0, 3, 4, 5, 6, 7), names)
        if failure or (failure := judge_folder(finished, damaged)):
            return failure
        if ended.code and read_versions(finished.folder) != before:
            return f"exit code {ended.code}, but a version was registered"
        if ended.code == 0:
            return find_difference(finished, expected, path)
    return None


def find_difference(finished: FinishedRun, expected: dict[str, str], path: Path) -> str | None:
    """Return the first result that is not that of an undisturbed run.

    A damaged file that nothing has read may still lie where it was.
    """
    results = read_results(finished.folder)
    for name, value in results.items():
        own = path.parts[-2:] == ("bundle", name.rpartition("/")[2]) and name in finished.results
        if expected.get(name) != value and not own:
            return f"{name} is not that of an undisturbed run"
    missing = sorted(set(expected) - set(finished.results) - set(results))
    return f"{missing[0]} is missing after a run that ended well" if missing else None


def judge_folder(finished: FinishedRun, damaged: str) -> str | None:
    """Judge what a run has left: each file of a registered model is of an undisturbed run.

    A report that is made again has other times and sizes of memory in it, as it measures them anew:
    it is only not to be the damaged one.
    """
    if leftovers := list_leftovers(finished.folder):
        return f"left in .staging: {leftovers}"
    if (finished.folder / "ran-a-pickle").exists():
        return "the pickle was run"
    for path in list_registered_files(finished.folder):
        digest = hash_file(path)
        remade = path.name in _MEASURED and digest != damaged
        if digest not in finished.known and not remade:
            return f"a model was registered with another {path.name}"
    return None


def damage_file(path: Path, damage: str, draw: random.Random) -> None:
    """Damage a file."""
    data = bytearray(path.read_bytes())
    if damage == "flip" and data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif damage == "cut":
        data = data[: draw.randrange(len(data))] if data else data
    elif damage == "empty":
        data = bytearray()
    elif damage == "pickle":
        data = bytearray(_PICKLE)
    path.write_bytes(data)
