"""Prefect's server as we start it: many runs report at once, and every event is heeded."""

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
from tests.support.sample_jobs import environment, fetch, send, wait_until

AT_ONCE, EACH = 8, 12
TAGS = ["ostinato", "job:busy"]


class Served(NamedTuple):
    """A server with the automations that watch over runs, and what it has written."""

    api: str
    log: Path
    dropped: Path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    port, log = find_free_port(), tmp_path / "server.log"
    command = ["flows.servers.prefect_server", "server", "start", "--port", str(port)]
    api = f"http://127.0.0.1:{port}/api"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment() | {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": api},
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: is_responding(f"{api}/health"))
        with SyncPrefectClient(api) as client:
            sync_automations(
                client, [build_dead_run_automation(), build_lost_run_automation()], tag=DEAD_RUNS
            )
        yield Served(api, log, tmp_path / "home" / "dlq")
    finally:
        process.terminate()
        process.wait(30)


def live(api: str, flow: str) -> str:
    """Let a run begin, tell of itself, and end, as the engine does over HTTP."""
    run = send(f"{api}/flow_runs/", {"flow_id": flow, "tags": TAGS})["id"]
    for kind in ("PENDING", "RUNNING"):
        send(f"{api}/flow_runs/{run}/set_state", {"state": {"type": kind}})
    now = datetime.now(UTC).isoformat()
    beat = {
        "occurred": now,
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "related": [
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
            for tag in TAGS
        ],
        "id": str(uuid4()),
    }
    send(f"{api}/events", [beat])
    line = {"name": "busy", "level": 20, "message": "at work", "timestamp": now}
    send(f"{api}/logs/", [line | {"flow_run_id": run}])
    send(f"{api}/flow_runs/{run}/set_state", {"state": {"type": "COMPLETED"}})
    return str(run)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_runs_that_report_at_once_wait_for_each_other_and_lose_nothing(served: Served) -> None:
    flow = send(f"{served.api}/flows/", {"name": "busy"})["id"]

    with ThreadPoolExecutor(AT_ONCE) as threads:
        runs = list(threads.map(lambda _: live(served.api, flow), range(AT_ONCE * EACH)))

    def heard() -> bool:
        asked: dict[str, Any] = {"filter": {"event": {"prefix": ["prefect.flow-run.Completed"]}}}
        return send(f"{served.api}/events/filter", asked)["total"] == len(runs)

    wait_until(heard)
    written = served.log.read_text(encoding="utf-8")
    assert b"COMPLETED" in fetch(f"{served.api}/flow_runs/{runs[-1]}")
    assert "OperationalError" not in written
    assert not list(served.dropped.glob("*"))
