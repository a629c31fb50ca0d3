"""A clock that jumps both ways, between runs and while one runs.

Leases, schedules, histories and the records of sources all compare times; none may lose data, wait
for a time that is far away, or order what came later before what came earlier.
"""

import json
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.faults.endure.case import Case, Ended, judge_ended
from tests.faults.endure.shim import JumpingClock
from tests.faults.endure.workshop import (
    DATABASE,
    STORE,
    Workshop,
    list_leftovers,
    read_results,
    run_job,
    write_inputs,
)

KIND = "jumping clock"
COUNT, SLICE = 14, 1

MINUTE, DAY, YEAR = 60, 86_400, 365 * 86_400

_JUMPS = (-YEAR, -DAY, -MINUTE, MINUTE, DAY, YEAR, 10 * YEAR)


class Jump(NamedTuple):
    """Where the clock stands before a run, and where it jumps while it runs."""

    before: int
    after: int
    fraction: float
    """Of the seconds of an undisturbed run, after which it jumps."""


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List sequences of runs, with a jump in each."""
    for index in range(count):
        draw = random.Random(f"{seed}/{KIND}/{index}")
        jumps = [Jump(draw.choice(_JUMPS), draw.choice(_JUMPS), draw.random()) for _ in range(3)]
        words = ", ".join(f"{format_span(j.before)} then {format_span(j.after)}" for j in jumps)
        yield Case(KIND, f"{index:02} {words}", partial(judge_clock, jumps))


def format_span(seconds: int) -> str:
    """Format a span with the largest unit that fits."""
    for name, size in (("y", YEAR), ("d", DAY), ("min", MINUTE)):
        if abs(seconds) >= size:
            return f"{seconds / size:+.0f} {name}"
    return f"{seconds:+} s"


def judge_clock(jumps: list[Jump], workshop: Workshop) -> str | None:
    """Run three versions of a job under a jumping clock, and judge each, and their history."""
    finished = workshop.finished
    settings = [(), ("gate.bootstrap_samples=201",), ("training.seed=8",)]
    expected = [finished.get_expected(*each) if each else finished.results for each in settings]
    folder = workshop.make_folder(with_database=True)
    write_inputs(folder)
    clock = JumpingClock(workshop.root / "clock")
    for number, jump in enumerate(jumps):
        clock.jump_to(jump.before)
        timer = threading.Timer(
            jump.fraction * finished.ended.seconds, clock.jump_to, (jump.after,)
        )
        timer.start()
        ended = run_job(workshop.shimmed_flows, folder, *settings[number], **clock.variables)
        timer.cancel()
        failure = judge_ended(ended, (0,)) or judge_results(folder, expected[number])
        if failure:
            return f"run {number + 1}: {failure}"
    clock.jump_to(0)
    failure = judge_history(folder, workshop)
    workshop.delete_folder(folder)
    return failure


def judge_results(folder: Path, expected: dict[str, str]) -> str | None:
    """Judge what a run has made: the weights of an undisturbed one, and nothing half-made."""
    if leftovers := list_leftovers(folder):
        return f"left in .staging: {leftovers}"
    results = read_results(folder)
    weights = {k: v for k, v in expected.items() if k.endswith("network.safetensors")}
    different = [name for name, value in weights.items() if results.get(name) != value]
    return f"{different[0]} is not that of an undisturbed run" if different else None


def judge_history(folder: Path, workshop: Workshop) -> str | None:
    """Judge the history of aliases: in the order of the moves, whatever the clock said."""
    ended = read_history(folder, workshop)
    if failure := judge_ended(ended, (0,)):
        return f"history: {failure}"
    moves = sorted((folder / STORE / "history" / "waves").glob("*.outcome.json"))
    if not moves:
        return "history: no move was recorded"
    json.loads(ended.output.strip().splitlines()[-1])
    return None


def read_history(folder: Path, workshop: Workshop) -> Ended:
    """Run `ostinato history`."""
    registry = f"sqlite:///{(folder / DATABASE).absolute()}"
    return workshop.flows.run(folder, "history", "waves", "--json", MLFLOW_TRACKING_URI=registry)
