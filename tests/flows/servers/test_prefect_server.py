"""Prefect's server as we start it: many runs report at once, and no event is lost."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.notifications.automations import (
    DEAD_RUNS,
    build_dead_run_automation,
    build_lost_run_automation,
    sync_automations,
)
from flows.servers.ports import find_free_port, is_responding
from tests.support.sample_jobs import build_environment, fetch, send_json, wait_until

THREADS, RUNS_PER_THREAD = 8, 12
TAGS = ["ostinato", "job:busy"]


class Server(NamedTuple):
    """A server with the automations for dead runs, its log and its dropped events."""

    api: str
    log: Path
    dropped: Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    port, log = find_free_port(), tmp_path / "server.log"
    command = ["flows.servers.prefect_server", "server", "start", "--port", str(port)]
    api = f"http://127.0.0.1:{port}/api"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=build_environment()
            | {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": api},
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: is_responding(f"{api}/health"))
        with SyncPrefectClient(api) as client:
            sync_automations(
                client, [build_dead_run_automation(), build_lost_run_automation()], tag=DEAD_RUNS
            )
        yield Server(api, log, tmp_path / "home" / "dlq")
    finally:
        process.terminate()
        process.wait(30)


def report_run(api: str, flow: str) -> str:
    """Start, report and end a run over HTTP, as Prefect's engine does."""
    run = send_json(f"{api}/flow_runs/", {"flow_id": flow, "tags": TAGS})["id"]
    for kind in ("PENDING", "RUNNING"):
        send_json(f"{api}/flow_runs/{run}/set_state", {"state": {"type": kind}})
    now = datetime.now(UTC).isoformat()
    heartbeat = {
        "occurred": now,
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": [
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
            for tag in TAGS
        ],
        "id": str(uuid4()),
    }
    send_json(f"{api}/events", [heartbeat])
    record = {"name": "busy", "level": 20, "message": "at work", "timestamp": now}
    send_json(f"{api}/logs/", [record | {"flow_run_id": run}])
    send_json(f"{api}/flow_runs/{run}/set_state", {"state": {"type": "COMPLETED"}})
    return str(run)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_concurrent_reports_are_serialized_and_none_is_lost(server: Server) -> None:
    flow = send_json(f"{server.api}/flows/", {"name": "busy"})["id"]

    with ThreadPoolExecutor(THREADS) as threads:
        runs = list(
            threads.map(lambda _: report_run(server.api, flow), range(THREADS * RUNS_PER_THREAD))
        )

    def all_received() -> bool:
        query: dict[str, Any] = {"filter": {"event": {"prefix": ["prefect.flow-run.Completed"]}}}
        return send_json(f"{server.api}/events/filter", query)["total"] == len(runs)

    wait_until(all_received)
    written = server.log.read_text(encoding="utf-8")
    assert b"COMPLETED" in fetch(f"{server.api}/flow_runs/{runs[-1]}")
    assert "OperationalError" not in written
    assert not list(server.dropped.glob("*"))
