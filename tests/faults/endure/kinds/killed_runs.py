"""Kills (SIGKILL) at random moments of what runs under `ostinato ui`, and the run again.

A flow in a terminal, a flow of the worker, the worker itself, Prefect's server and MLflow's: after
each death the same command has to end with the same weights, and with everything that was finished
or registered before.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.faults.endure.case import Case, find_error_line, judge_ended
from tests.faults.endure.running_ui import RunningUi, kill_after, list_manifests
from tests.faults.endure.workshop import Workshop, list_weights, read_results, read_versions
from tests.support.sample_jobs import wait_until

KIND = "killed runs"
COUNT, SLICE = 50, 2

_WORKER_START = 6.0
"""Seconds by which a flow of the worker takes longer: it imports everything."""

_TARGETS = (
    "terminal", "flow", "Prefect server", "terminal", "MLflow server", "worker", "flow",
    "terminal", "Prefect server", "flow",
)  # fmt: skip


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List kills of each target in turn, each at a share of an undisturbed run's time."""
    for index in range(count):
        draw = random.Random(f"{seed}/{KIND}/{index}")
        target = _TARGETS[index % len(_TARGETS)]
        share = draw.random()
        name = f"{index:02} {target} at {share:.0%}"
        yield Case(KIND, name, partial(judge_kill, index, target, share))


def judge_kill(index: int, target: str, share: float, workshop: Workshop) -> str | None:
    """Kill, run the same again, and judge what is there then."""
    expected = list_weights(workshop.finished.results)
    ui = workshop.ui
    name, store = f"waves-{index:02}", f".ostinato/store-{index:02}"
    overrides = {"name": name, "store.uri": store}
    settings = [f"{key}={value}" for key, value in overrides.items()]
    before = read_versions(ui.folder)
    left_before = set(ui.list_unfinished())
    whole = workshop.finished.ended.seconds
    seconds = share * (whole + (_WORKER_START if target in {"flow", "worker"} else 0.0))
    failure = _KILLS[target](ui, settings, overrides, seconds)
    if failure:
        return failure
    finished = list_manifests(ui.folder / store)
    ended = ui.run(settings)
    if failure := judge_ended(ended, (0,)):
        return f"run again: {failure}"
    if list_weights(read_results(ui.folder, store)) != expected:
        return "the weights are not those of an undisturbed run"
    now = list_manifests(ui.folder / store)
    if lost := [path for path, content in finished.items() if now.get(path) != content]:
        return f"lost: {lost}"
    versions = read_versions(ui.folder)
    if versions != sorted([*before, (name, "1")]):
        return f"registered are {versions}, before {before}"
    left = sorted(set(ui.list_unfinished()) - left_before)
    return f"still unfinished in the server: {left}" if left else None


def kill_terminal(
    ui: RunningUi, settings: list[str], _: dict[str, Any], seconds: float
) -> str | None:
    """Kill a run in a terminal."""
    ui.run(settings, kill_after=max(seconds, 0.05))
    return None


def kill_flow(ui: RunningUi, _: list[str], overrides: dict[str, Any], seconds: float) -> str | None:
    """Kill the process of a run of the worker; the worker has to mark the run as ended."""
    run = ui.trigger(overrides)
    process = wait_until(ui.find_run_process, 120, every=0.1)
    kill_after(process, seconds)
    try:
        wait_until(lambda: ui.read_run(run) not in {"SCHEDULED", "PENDING", "RUNNING"}, 120)
    except TimeoutError:
        return f"the run of a dead process stays {ui.read_run(run)}"
    return None


def kill_worker(
    ui: RunningUi, _: list[str], overrides: dict[str, Any], seconds: float
) -> str | None:
    """Kill the worker while its run goes on."""
    ui.trigger(overrides)
    wait_until(ui.find_run_process, 120, every=0.1)
    worker = ui.find_child("worker")
    time.sleep(seconds)
    family = ui.list_family()
    worker.kill()
    return ui.await_end(family)


def kill_server(
    target: str, ui: RunningUi, settings: list[str], _: dict[str, Any], seconds: float
) -> str | None:
    """Kill a server under a run in a terminal, which has to end with an error of its own."""
    family = ui.list_family()
    killing = threading.Thread(target=kill_after, args=(ui.find_child(target), seconds))
    killing.start()
    ended = ui.run(settings)
    killing.join()
    left = ui.await_end(family)
    if ended.timed_out:
        return "the run did not end without its server"
    if ended.code not in {0, 7, 8, 11}:
        return f"the run ended with exit code {ended.code}: {find_error_line(ended.errors)}"
    return left


_KILLS: dict[str, Callable[[RunningUi, list[str], dict[str, Any], float], str | None]] = {
    "terminal": kill_terminal,
    "flow": kill_flow,
    "worker": kill_worker,
    "Prefect server": partial(kill_server, "Prefect server"),
    "MLflow server": partial(kill_server, "MLflow server"),
}
