"""Served jobs on real servers: crashed runs end and are resumed, and drift starts a run."""

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
    build_environment,
    fetch,
    make_waves,
    send_json,
    wait_until,
    write_job,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EPOCHS = 300
"""Enough epochs that training takes seconds on any machine, and can be killed before its end."""

HEARTBEAT_SETTINGS = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""The shortest interval that Prefect allows, so that missing heartbeats are noticed soon."""

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

LONG = WAVES | {
    "name": "long",
    "training": {
        "epochs": EPOCHS,
        "patience": EPOCHS,
        "learning_rate": 0.02,
        "checkpoint_every": 0.2,
        "folds": 1,
    },
}


DRIFTY = WAVES | {
    "name": "drifty",
    "source": {"uri": "drifty.parquet"},
    "triggers": {"drift": "1d", "drift_severity": "small", "cooldown": 0},
    # No challenger replaces the champion that the monitor compares with.
    "gate": {"min_rows": 10_000},
}

Serve = Callable[[dict[str, Any]], "subprocess.Popen[bytes]"]


@pytest.fixture
def serve(pages: Pages) -> Iterator[Serve]:
    """Serve a job in a process of its own until the end of the test."""
    started = []
    log = pages.folder / "served.log"

    def start_serving(job: dict[str, Any]) -> "subprocess.Popen[bytes]":
        path = write_job(pages.folder, job)
        servers = {"PREFECT_API_URL": f"{pages.prefect}/api", "MLFLOW_TRACKING_URI": pages.mlflow}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.deployment.serve", path.name],
                cwd=pages.folder,
                env=build_environment() | THREAD_SETTINGS | HEARTBEAT_SETTINGS | servers,
                stdout=output,
                stderr=output,
            )
        started.append(process)
        wait_until(lambda: list_deployments(pages, "rollback", job["name"]))
        return process

    yield start_serving
    for process in started:
        if process.poll() is None:
            kill_process_tree(process)
    print(log.read_text(encoding="utf-8"))


def kill_process_tree(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its children, as when a machine loses power."""
    processes = [process, *psutil.Process(process.pid).children(recursive=True)]
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    process.wait()


def start_run(pages: Pages, flow: str, job: str) -> str:
    [result] = list_deployments(pages, flow, job)
    url = f"{pages.prefect}/api/deployments/{result['id']}/create_flow_run"
    return str(send_json(url, {})["id"])


def list_deployments(pages: Pages, flow: str, name: str) -> list[dict[str, Any]]:
    query = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
    return list(send_json(f"{pages.prefect}/api/deployments/filter", query))


def list_runs(pages: Pages, flow: str, name: str) -> list[dict[str, Any]]:
    """List the runs of a deployment, the oldest first."""
    query = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
    result = send_json(f"{pages.prefect}/api/flow_runs/filter", query)
    return sorted(result, key=lambda run: str(run["created"]))


def wait_for_message(pages: Pages, run: str) -> str:
    """Wait for the end of a run, and return its message."""
    end = wait_until(lambda: (result := read_state(pages, run))["type"] in FINAL and result, 240)
    assert end["type"] == "COMPLETED", end
    return str(end["message"])


def read_state(pages: Pages, run: str) -> dict[str, Any]:
    return dict(json.loads(fetch(f"{pages.prefect}/api/flow_runs/{run}"))["state"])


@contextmanager
def shorten_heartbeat_limit(pages: Pages, seconds: float) -> Iterator[None]:
    """Shorten the time without heartbeats after which a run is marked as crashed."""
    automation = build_dead_run_automation()
    automation.trigger.within = timedelta(seconds=seconds)
    with SyncPrefectClient(f"{pages.prefect}/api") as client:
        result = find_automations(client, DEAD_RUNS)[DEAD_RUNS]
        client.update_automation(result.id, automation)
        try:
            yield
        finally:
            client.update_automation(result.id, build_dead_run_automation())


def list_checkpoints(pages: Pages) -> list[Path]:
    return list(pages.folder.glob(".ostinato/store/checkpoints/*/state.pt"))


def test_a_run_that_crashed_with_its_machine_is_ended_and_resumed(
    pages: Pages, serve: Serve
) -> None:
    machine = serve(LONG)
    with shorten_heartbeat_limit(pages, 45.0):
        started_runs = [start_run(pages, "retrain", "long") for _ in range(2)]
        wait_until(lambda: list_checkpoints(pages), every=0.05)
        # Either may run first; the other waits for the concurrency slot.
        dead, waiting = sorted(
            started_runs, key=lambda run: read_state(pages, run)["type"] != "RUNNING"
        )

        kill_process_tree(machine)
        before = read_state(pages, dead)
        ended = wait_until(
            lambda: (result := read_state(pages, dead))["type"] == "CRASHED" and result
        )
    slots = list_deployments(pages, "retrain", "long")[0]["global_concurrency_limit"]
    serve(LONG)
    wait_for_message(pages, waiting)

    assert before["type"] == "RUNNING", "no other process notices"
    assert "its heartbeats have stopped" in ended["message"]
    assert slots["active_slots"] == 0
    client = MlflowClient(pages.mlflow)
    experiment = client.get_experiment_by_name("long")
    [run] = client.search_runs([experiment.experiment_id])
    steps = [each.step for each in client.get_metric_history(run.info.run_id, "validation_loss")]
    assert run.info.status == "FINISHED"
    assert sorted(steps) == list(range(EPOCHS)), "one training, part of it by the dead run"


def test_drift_starts_one_run_with_its_reason_and_none_for_the_same_drift(
    pages: Pages, serve: Serve
) -> None:
    frame = make_waves(300)
    frame.write_parquet(pages.folder / "drifty.parquet")
    serve(DRIFTY)
    assert wait_for_message(pages, start_run(pages, "retrain", "drifty"))
    shifted = frame.with_columns(pl.col("wave").list.eval(pl.element() * 3 + 2))
    shifted.write_parquet(pages.folder / "drifty.parquet")

    message = wait_for_message(pages, start_run(pages, "monitor", "drifty"))
    [first] = wait_until(lambda: list_runs(pages, "watch", "drifty-drift"))
    watch_message = wait_for_message(pages, first["id"])
    again = wait_for_message(pages, start_run(pages, "monitor", "drifty"))
    *_, second = wait_until(
        lambda: len(result := list_runs(pages, "watch", "drifty-drift")) == 2 and result
    )
    second_message = wait_for_message(pages, second["id"])

    reason = message.removeprefix("drifty: ")
    assert reason.startswith("drift since version 1: wave ")
    assert watch_message.endswith(f"is started: {reason}")
    assert again == message
    assert "no run is started: a run for the same reason" in second_message
    started = [run for run in list_runs(pages, "retrain", "drifty") if "automatic" in run["tags"]]
    assert [set(run["tags"]) >= {"drift", "job:drifty"} for run in started] == [True]
