"""Many triggers of one job at once: from terminals, and through the server."""

import random
import threading
from collections.abc import Iterator
from functools import partial

from tests.faults.endure.case import Case, Ended, judge_ended
from tests.faults.endure.running_ui import RunningUi
from tests.faults.endure.terminal import finish_run, start_run
from tests.faults.endure.workshop import (
    Workshop,
    list_leftovers,
    list_weights,
    read_results,
    read_versions,
)
from tests.support.sample_jobs import wait_until

KIND = "overlapping triggers"
COUNT, SLICE = 20, 4
"""Triggers, of one case."""

_SECONDS = 900.0
_ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List the one scene: a third of the triggers come from terminals."""
    terminals = (count + 2) // 3
    draw = random.Random(f"{seed}/{KIND}")
    name = f"{count} triggers, {terminals} of them from terminals"
    yield Case(KIND, name, partial(judge_triggers, count - terminals, terminals, draw))


def judge_triggers(
    triggers: int, terminals: int, draw: random.Random, workshop: Workshop
) -> str | None:
    """Trigger all at seeded moments of one run's time, and judge their ends and the registry."""
    ui = workshop.ui
    left_before = set(ui.list_unfinished())
    before = read_versions(ui.folder)
    settings = {"name": "overlapping"}
    ended: list[Ended] = []
    runs = [ui.trigger(settings) for _ in range(triggers)]

    def run_in_terminal() -> None:
        process = start_run(ui.folder, "name=overlapping")
        ended.append(finish_run(process, seconds=_SECONDS))

    timers = [
        threading.Timer(draw.uniform(0, workshop.finished.ended.seconds), run_in_terminal)
        for _ in range(terminals)
    ]
    for each in timers:
        each.start()
    for each in timers:
        each.join()
    states = wait_until(lambda: read_ends(ui, runs), _SECONDS)
    for each in ended:
        # A trainer that finds another at work refuses, and says so.
        if failure := judge_ended(each, (0, 7), ["another"]):
            return f"in a terminal: {failure}"
    if wrong := [state for state in states if state not in {"COMPLETED", "CANCELLED"}]:
        return f"through the server: {len(wrong)} of {len(runs)} ended as {sorted(set(wrong))}"
    if left := sorted(set(ui.list_unfinished()) - left_before):
        return f"still unfinished in the server: {left}"
    return judge_end(workshop, before)


def read_ends(ui: RunningUi, runs: list[str]) -> list[str] | None:
    """Return the last states of all runs; None while one goes on."""
    states = [ui.read_run(run) for run in runs]
    return states if set(states) <= _ENDS else None


def judge_end(workshop: Workshop, before: list[tuple[str, str]]) -> str | None:
    """Judge what all of them have made together: one model, once."""
    folder = workshop.ui.folder
    if list_weights(read_results(folder)) != list_weights(workshop.finished.results):
        return "the weights are not those of a single run"
    versions = read_versions(folder)
    if versions != sorted([*before, ("overlapping", "1")]):
        return f"registered are {versions}"
    leftovers = list_leftovers(folder)
    return f"left in .staging: {leftovers}" if leftovers else None
