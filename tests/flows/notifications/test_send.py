"""Notifications: real blocks on a real Prefect server, sent over real HTTP."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event
from prefect.states import Crashed, Failed, Running

import flows.notifications.send as send_module
from flows.deployment.deploy import deploy
from flows.deployment.deployments import build_deployment, plan_deployments
from flows.job.job import load_job
from flows.notifications.automations import (
    DEAD_RUNS,
    build_dead_run_automation,
    find_automations,
    is_same,
    update_automations,
)
from flows.notifications.events import emit_alias_move, format_resource_id
from flows.notifications.send import notify_finding
from flows.retrain import retrain
from flows.servers.prefect_server import ACTION_LOGGER, ErrorKindFilter
from tasks.errors import JobError
from tasks.registry.alias_log import AliasChange
from tasks.registry.promotion import MoveResult
from tests.support.sample_jobs import WAVES, make_waves, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")

SECRET = "hook-9f1c77-secret"


class Listener(BaseHTTPRequestHandler):
    """Stores the requests; those to /refused fail with status 500."""

    received: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.received.append({"path": self.path, **body})
        self.send_response(500 if self.path.startswith("/refused") else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def team(address: str, request: pytest.FixtureRequest) -> str:
    """A block for one test alone: late notifications of other tests go elsewhere."""
    return make_block(address, f"team-{abs(hash(request.node.name)) % 10**8}")


@pytest.fixture
def received(team: str) -> "Received":
    return lambda: [each for each in Listener.received if team.partition("/")[2] in each["path"]]


Received = Callable[[], list[dict[str, Any]]]


def make_block(address: str, name: str) -> str:
    """Make a block whose address is secret, and that posts to a path of its own."""
    block = CustomWebhookNotificationBlock(
        name=name,
        url=f"{address}/{name}/{{{{token}}}}",
        secrets={"token": SECRET},
        json_data={"title": "{{subject}}", "text": "{{body}}"},
    )
    block.save(name, overwrite=True)
    return f"custom-webhook/{name}"


def write_notifying_job(home: Path, name: str, *notify_configs: dict[str, Any]) -> Path:
    make_waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, WAVES | {"name": name, "notify": list(notify_configs)})


def wait_for(result: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := result():
            return value
        time.sleep(0.1)
    pytest.fail("it did not happen in time")


def find_log(client: SyncPrefectClient, log_filter: LogFilter, text: str) -> list[str]:
    logs = [each.message for each in client.read_logs(log_filter, limit=200)]
    return logs if any(text in message for message in logs) else []


def test_an_outcome_is_notified_and_a_failed_notification_is_a_warning(
    home: Path, address: str, team: str, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_module, "_RETRY_SECONDS", (0.0, 0.1))
    monkeypatch.setenv("PREFECT_API_URL", "set, so that the run has a page")
    refused = make_block(address, "refused")
    blocks = [team, refused, "slack-webhook/nobody"]
    path = write_notifying_job(home, "notifying-waves", *({"block": block} for block in blocks))

    outcome = retrain(str(path))
    again = retrain(str(path))

    assert outcome.decision == "promote"
    [notification] = received()
    failed = [each for each in Listener.received if each["path"].startswith("/refused")]
    assert notification["path"].endswith(f"/{SECRET}")
    assert notification["title"] == "notifying-waves version 1 serves from now on"
    first, second, *rest = notification["text"].splitlines()
    assert first.startswith("promote: no champion yet")
    assert second.startswith(f"macro F1 {outcome.metrics['macro_f1']:.4f} (")
    assert outcome.baseline["name"] in second
    assert rest[-1].startswith("run: http")
    assert [each["path"] for each in failed] == [f"/refused/{SECRET}"] * 2
    assert again.recomputed == [], "which is an event that no block is configured for"
    warnings = [each for each in outcome.warnings if each.startswith("notify: ")]
    assert (
        "custom-webhook/refused could not be notified (HTTPStatusError, 2 attempts)" in warnings[0]
    )
    assert "has no block 'slack-webhook/nobody'" in warnings[1]
    with get_client(sync_client=True) as client:
        by_key = ArtifactFilter(key=ArtifactFilterKey(any_=["notifying-waves-result"]))
        pages = client.read_artifacts(artifact_filter=by_key)
        by_runs = LogFilter(
            flow_run_id=LogFilterFlowRunId(any_=[page.flow_run_id for page in pages])
        )
        # what a run logs reaches the server in batches, seconds after the run has ended
        logs = wait_for(
            lambda: find_log(client, by_runs, "custom-webhook/refused could not be notified")
        )
    page = "\n".join(str(page.data) for page in pages)
    assert "> Warning: notify: custom-webhook/refused could not be notified" in page
    assert SECRET not in page + "\n".join(logs)


def test_drift_is_notified_to_its_subscribers(home: Path, team: str, received: Received) -> None:
    job = load_job(write_notifying_job(home, "drifting", {"block": team, "events": ["drift"]}))
    other = load_job(write_notifying_job(home, "other", {"block": team, "events": ["promoted"]}))

    warnings = notify_finding(
        job, "drift", reason="drift since version 1: wave large", key="drift-1"
    )
    notify_finding(other, "drift", reason="drift since version 1: wave large", key="drift-1")

    assert warnings == []
    assert [each["text"] for each in received()] == ["drifting: drift since version 1: wave large"]


def test_a_crashed_or_failed_run_is_notified_by_the_server_once(
    home: Path, team: str, received: Received
) -> None:
    path = write_notifying_job(home, "dying", {"block": team})
    update_automations([(path, load_job(path))])
    deployment = build_deployment(next(iter(plan_deployments(path)))).apply()
    ends = [Crashed(message="killed"), Crashed(message="killed"), Failed(message="no space")]

    # The server needs a moment before a new automation takes effect.
    time.sleep(6)
    with get_client(sync_client=True) as client:
        for end in ends:
            run = client.create_flow_run_from_deployment(deployment)
            client.set_flow_run_state(run.id, end, force=True)
    wait_for(
        lambda: {"killed", "no space"} <= {each["text"].splitlines()[0] for each in received()}
    )

    killed, failed = sorted(received(), key=lambda each: str(each["text"]))
    assert [each["text"].splitlines()[0] for each in (killed, failed)] == ["killed", "no space"]
    assert killed["title"].endswith(" Crashed")
    assert killed["text"].splitlines()[1].startswith("run: http")


def test_a_manual_alias_move_is_notified_by_the_server(
    home: Path, team: str, received: Received
) -> None:
    path = write_notifying_job(home, "moving", {"block": team, "events": ["alias-moved"]})
    update_automations([(path, load_job(path))])
    line = AliasChange(
        number=4,
        action="rollback",
        version="2",
        at="2026-01-31T08:00:00+00:00",
        actor="ada on ward",
        reason="it alarmed",
        run_id="",
        decision_hash="",
        before={"champion": "3"},
        after={"champion": "2"},
        previous_hash="",
    )

    def move_alias() -> list[dict[str, Any]]:
        # The server needs a moment before a new automation takes effect.
        emit_alias_move("moving", MoveResult(line, resumed=False))
        time.sleep(1)
        return received()

    wait_for(move_alias)

    assert received()[0]["title"] == "moving: rollback of version 2"
    assert received()[0]["text"] == "rollback by ada on ward: it alarmed"


def test_automations_are_created_once_repaired_and_removed(home: Path, address: str) -> None:
    team, crew = make_block(address, "team"), make_block(address, "crew")
    path = write_notifying_job(home, "updated", {"block": team})
    job, plain = load_job(path), load_job(write_job(home, WAVES | {"name": "updated"}))
    fewer = load_job(write_notifying_job(home, "updated", {"block": team, "events": ["crashed"]}))
    moved = load_job(write_notifying_job(home, "updated", {"block": crew, "events": ["crashed"]}))

    def update_and_list(job: Any) -> dict[str, Any]:
        update_automations([(path, job)])
        with get_client(sync_client=True) as client:
            return find_automations(client, format_resource_id("updated"))

    first, second = update_and_list(job), update_and_list(job)
    with get_client(sync_client=True) as client:
        for each in first.values():
            client.pause_automation(each.id)
    third = update_and_list(fewer)
    fourth, none = update_and_list(moved), update_and_list(plain)

    names = [
        f"updated: {team} is notified of alias moves",
        f"updated: {team} is notified of failures",
    ]
    assert first == second
    assert set(first) == set(names)
    assert list(third) == names[1:]
    assert third[names[1]].id == first[names[1]].id
    assert third[names[1]].trigger.expect == {"prefect.flow-run.Crashed"}
    assert not third[names[1]].enabled, "a person has disabled it"
    assert list(fourth) == [f"updated: {crew} is notified of failures"]
    assert none == {}


def test_existing_automations_are_not_changed(home: Path, team: str) -> None:
    path = write_notifying_job(home, "steady", {"block": team})
    job = load_job(path)
    update_automations([(path, job)])
    with get_client(sync_client=True) as client:
        before = find_automations(client, DEAD_RUNS)[DEAD_RUNS]
        longer = before.model_copy(deep=True)
        longer.trigger.within *= 2

    assert is_same(before, before)
    assert not is_same(before, longer)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("slack-webhook/nobody", "the Prefect server has no block 'slack-webhook/nobody'"),
        (
            "webhook/plain",
            "the block 'webhook/plain' is a webhook, which cannot send notifications",
        ),
    ],
)
def test_deploying_rejects_a_block_that_cannot_notify(
    home: Path, team: str, block: str, message: str
) -> None:
    Webhook(url="http://127.0.0.1:9").save("plain", overwrite=True)
    path = write_notifying_job(home, "refused", {"block": team}, {"block": block})

    with pytest.raises(JobError) as refused:
        deploy([path], "machines")

    assert f"notify[1].block: {message}" in str(refused.value)
    assert str(path) in str(refused.value)
    assert team in str(refused.value), "the blocks that exist"
    assert "Hint:" in str(refused.value)
    with get_client(sync_client=True) as client:
        assert find_automations(client, format_resource_id("refused")) == {}


def test_the_server_log_shows_an_error_without_the_address(
    caplog: pytest.LogCaptureFixture, address: str
) -> None:
    logger, error_filter = logging.getLogger(ACTION_LOGGER), ErrorKindFilter()
    with pytest.raises(httpx.HTTPStatusError, match=SECRET) as failed:
        httpx.post(f"{address}/refused/{SECRET}", json={}).raise_for_status()

    logger.addFilter(error_filter)
    logger.error("Failed in %s", "consume_loop", exc_info=failed.value)
    logger.removeFilter(error_filter)

    [received] = [record for record in caplog.records if record.name == ACTION_LOGGER]
    assert logging.Formatter().format(received) == "Failed in consume_loop: HTTPStatusError"


@pytest.mark.slow
def test_only_our_own_runs_without_a_heartbeat_are_ended(home: Path) -> None:
    path = write_job(home, WAVES | {"name": "beating"})
    update_automations([(path, load_job(path))])
    automation = build_dead_run_automation()
    automation.trigger.within = timedelta(seconds=20)
    deployment = build_deployment(next(iter(plan_deployments(path)))).apply()
    with get_client(sync_client=True) as client:
        client.update_automation(find_automations(client, DEAD_RUNS)[DEAD_RUNS].id, automation)
        silent, never_alive, live = (
            client.create_flow_run_from_deployment(deployment) for _ in range(3)
        )
        foreign = client.create_flow_run(retrain, tags=["of another team"])
        for run in (silent, live, foreign):
            client.set_flow_run_state(run.id, Running(), force=True)
        # as long as the server may take to read the automation again
        for _ in range(7):
            for run in (silent, live, foreign):
                send_heartbeat(run)
            time.sleep(1)
        client.set_flow_run_state(never_alive.id, Running(), force=True)

        def have_crashed() -> bool:
            time.sleep(1)
            send_heartbeat(live)
            return all(
                client.read_flow_run(run.id).state.is_crashed() for run in (silent, never_alive)
            )

        wait_for(have_crashed, 90)
        states = [
            client.read_flow_run(run.id).state for run in (silent, never_alive, live, foreign)
        ]

    assert [state.name for state in states] == ["Crashed", "Crashed", "Running", "Running"]
    assert all("its heartbeats have stopped" in state.message for state in states[:2])


def send_heartbeat(run: FlowRun) -> None:
    """Send a heartbeat of a run, as Prefect's engine does."""
    related = [
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
        for tag in run.tags
    ]
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}"}
    emit_event("prefect.flow-run.heartbeat", resource=resource, related=related)
