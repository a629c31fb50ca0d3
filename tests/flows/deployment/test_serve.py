"""Served jobs on real servers: who ends a run that died, who goes on, and what drift starts."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient

from flows.environment import THREAD_SETTINGS
from flows.notifications.automations import DEAD_RUNS, build_dead_run_automation, find_automations
from tests.support.sample_jobs import (
    WAVES,
    Pages,
    environment,
    fetch,
    send,
    wait_until,
    waves,
    write_job,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EPOCHS = 300
"""Seconds of learning on any machine: one has to be there in time to pull the plug."""

OFTEN = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""The most often that Prefect allows, so that a test need not wait long for silence."""

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

LONG = WAVES | {
    "name": "long",
    "training": {
        "epochs": EPOCHS,
        "patience": EPOCHS,
        "learning_rate": 0.02,
        "checkpoint_every": 0.2,
    },
}


DRIFTY = WAVES | {
    "name": "drifty",
    "source": {"uri": "drifty.parquet"},
    "triggers": {"drift": "1d", "drift_severity": "small", "cooldown": 0},
    # The champion that the monitor looks at stays, whoever comes first.
    "gate": {"min_rows": 10_000},
}

Serve = Callable[[dict[str, Any]], "subprocess.Popen[bytes]"]


@pytest.fixture
def serve(pages: Pages) -> Iterator[Serve]:
    """Serve a job in a process apart from the pages, until the test is over."""
    started = []
    log = pages.folder / "served.log"

    def begin(job: dict[str, Any]) -> "subprocess.Popen[bytes]":
        path = write_job(pages.folder, job)
        servers = {"PREFECT_API_URL": f"{pages.prefect}/api", "MLFLOW_TRACKING_URI": pages.mlflow}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.deployment.serve", path.name],
                cwd=pages.folder,
                env=environment() | THREAD_SETTINGS | OFTEN | servers,
                stdout=output,
                stderr=output,
            )
        started.append(process)
        wait_until(lambda: deployments(pages, "rollback", job["name"]))
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            kill(process)
    print(log.read_text(encoding="utf-8"))


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill it and all that it started, as a machine that goes dark does."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    process.wait()


def start(pages: Pages, flow: str, job: str) -> str:
    [found] = deployments(pages, flow, job)
    url = f"{pages.prefect}/api/deployments/{found['id']}/create_flow_run"
    return str(send(url, {})["id"])


def deployments(pages: Pages, flow: str, name: str) -> list[dict[str, Any]]:
    asked = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
    return list(send(f"{pages.prefect}/api/deployments/filter", asked))


def runs(pages: Pages, flow: str, name: str) -> list[dict[str, Any]]:
    """List the runs of a deployment, the oldest first."""
    asked = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
    found = send(f"{pages.prefect}/api/flow_runs/filter", asked)
    return sorted(found, key=lambda run: str(run["created"]))


def finished(pages: Pages, run: str) -> str:
    """Wait for the end of a run, and return what it said."""
    end = wait_until(lambda: (found := state(pages, run))["type"] in FINAL and found, 240)
    assert end["type"] == "COMPLETED", end
    return str(end["message"])


def state(pages: Pages, run: str) -> dict[str, Any]:
    return dict(json.loads(fetch(f"{pages.prefect}/api/flow_runs/{run}"))["state"])


@contextmanager
def hasty(pages: Pages, seconds: float) -> Iterator[None]:
    """Let the automation for dead runs wait less than the minutes that it waits for."""
    sooner = build_dead_run_automation()
    sooner.trigger.within = timedelta(seconds=seconds)
    with SyncPrefectClient(f"{pages.prefect}/api") as client:
        found = find_automations(client, DEAD_RUNS)[DEAD_RUNS]
        client.update_automation(found.id, sooner)
        try:
            yield
        finally:
            client.update_automation(found.id, build_dead_run_automation())


def is_learning(pages: Pages) -> list[Path]:
    return list(pages.folder.glob(".ostinato/store/checkpoints/*/state.pt"))


def test_a_run_that_died_with_its_machine_is_ended_and_gone_on_with(
    pages: Pages, serve: Serve
) -> None:
    machine = serve(LONG)
    with hasty(pages, 45.0):
        asked = [start(pages, "retrain", "long") for _ in range(2)]
        wait_until(lambda: is_learning(pages), every=0.05)
        # Whichever came first: the other waits for its place.
        dead, waiting = sorted(asked, key=lambda run: state(pages, run)["type"] != "RUNNING")

        kill(machine)
        before = state(pages, dead)
        ended = wait_until(lambda: (found := state(pages, dead))["type"] == "CRASHED" and found)
    slots = deployments(pages, "retrain", "long")[0]["global_concurrency_limit"]
    serve(LONG)
    finished(pages, waiting)

    assert before["type"] == "RUNNING", "nobody else notices"
    assert "its heartbeats have stopped" in ended["message"]
    assert slots["active_slots"] == 0
    client = MlflowClient(pages.mlflow)
    experiment = client.get_experiment_by_name("long")
    [run] = client.search_runs([experiment.experiment_id])
    steps = [each.step for each in client.get_metric_history(run.info.run_id, "validation_loss")]
    assert run.info.status == "FINISHED"
    assert sorted(steps) == list(range(EPOCHS)), "one training, part of it by the dead run"


def test_drift_starts_one_run_with_its_reason_and_the_same_drift_none(
    pages: Pages, serve: Serve
) -> None:
    calm = waves(300)
    calm.write_parquet(pages.folder / "drifty.parquet")
    serve(DRIFTY)
    assert finished(pages, start(pages, "retrain", "drifty"))
    louder = calm.with_columns(pl.col("wave").list.eval(pl.element() * 3 + 2))
    louder.write_parquet(pages.folder / "drifty.parquet")

    told = finished(pages, start(pages, "monitor", "drifty"))
    [first] = wait_until(lambda: runs(pages, "watch", "drifty-drift"))
    answered = finished(pages, first["id"])
    again = finished(pages, start(pages, "monitor", "drifty"))
    *_, second = wait_until(
        lambda: len(found := runs(pages, "watch", "drifty-drift")) == 2 and found
    )
    left = finished(pages, second["id"])

    reason = told.removeprefix("drifty: ")
    assert reason.startswith("drift since version 1: wave ")
    assert answered.endswith(f"is started: {reason}")
    assert again == told
    assert "no run is started: a run for the same reason" in left
    started = [run for run in runs(pages, "retrain", "drifty") if "automatic" in run["tags"]]
    assert [set(run["tags"]) >= {"drift", "job:drifty"} for run in started] == [True]
