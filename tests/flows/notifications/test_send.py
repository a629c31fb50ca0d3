"""Notifications: real blocks on a real Prefect server, told over real HTTP."""

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
from tests.support.sample_jobs import WAVES, waves, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")

SECRET = "hook-9f1c77-secret"


class Listener(BaseHTTPRequestHandler):
    """Keeps what is posted; refuses what is posted to /refused."""

    said: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.said.append({"path": self.path, **body})
        self.send_response(500 if self.path.startswith("/refused") else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def team(address: str, request: pytest.FixtureRequest) -> str:
    """A block of the test's own: what another test's server says late goes elsewhere."""
    return make_block(address, f"team-{abs(hash(request.node.name)) % 10**8}")


@pytest.fixture
def said(team: str) -> "Said":
    return lambda: [each for each in Listener.said if team.partition("/")[2] in each["path"]]


Said = Callable[[], list[dict[str, Any]]]


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


def notified(home: Path, name: str, *told: dict[str, Any]) -> Path:
    waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, WAVES | {"name": name, "notify": list(told)})


def wait_for(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.1)
    pytest.fail("nothing came of it in time")


def logged(client: SyncPrefectClient, where: LogFilter, sought: str) -> list[str]:
    logs = [each.message for each in client.read_logs(where, limit=200)]
    return logs if any(sought in words for words in logs) else []


def test_an_outcome_is_told_and_who_cannot_be_told_is_a_warning(
    home: Path, address: str, team: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_module, "_RETRY_SECONDS", (0.0, 0.1))
    monkeypatch.setenv("PREFECT_API_URL", "set, so that the run has a page")
    refused = make_block(address, "refused")
    blocks = [team, refused, "slack-webhook/nobody"]
    path = notified(home, "told-waves", *({"block": block} for block in blocks))

    outcome = retrain(str(path))
    again = retrain(str(path))

    assert outcome.decision == "promote"
    [heard] = said()
    failed = [each for each in Listener.said if each["path"].startswith("/refused")]
    assert heard["path"].endswith(f"/{SECRET}")
    assert heard["title"] == "told-waves version 1 serves from now on"
    first, second, *rest = heard["text"].splitlines()
    assert first.startswith("promote: no champion yet")
    assert second.startswith(f"macro F1 {outcome.metrics['macro_f1']:.4f} (")
    assert outcome.baseline["name"] in second
    assert rest[-1].startswith("run: http")
    assert [each["path"] for each in failed] == [f"/refused/{SECRET}"] * 2
    assert again.recomputed == [], "which is told to nobody who has not asked for it"
    doubts = [words for words in outcome.warnings if words.startswith("notify: ")]
    assert "custom-webhook/refused could not be notified (HTTPStatusError, 2 attempts)" in doubts[0]
    assert "has no block 'slack-webhook/nobody'" in doubts[1]
    with get_client(sync_client=True) as client:
        named = ArtifactFilter(key=ArtifactFilterKey(any_=["told-waves-result"]))
        pages = client.read_artifacts(artifact_filter=named)
        ours = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[page.flow_run_id for page in pages]))
        # what a run logs reaches the server in batches, seconds after the run has ended
        logs = wait_for(
            lambda: logged(client, ours, "custom-webhook/refused could not be notified")
        )
    page = "\n".join(str(page.data) for page in pages)
    assert "> Warning: notify: custom-webhook/refused could not be notified" in page
    assert SECRET not in page + "\n".join(logs)


def test_drift_is_told_to_whom_it_concerns(home: Path, team: str, said: Said) -> None:
    job = load_job(notified(home, "drifting", {"block": team, "events": ["drift"]}))
    other = load_job(notified(home, "other", {"block": team, "events": ["promoted"]}))

    doubts = notify_finding(job, "drift", reason="drift since version 1: wave large", key="drift-1")
    notify_finding(other, "drift", reason="drift since version 1: wave large", key="drift-1")

    assert doubts == []
    assert [each["text"] for each in said()] == ["drifting: drift since version 1: wave large"]


def test_a_run_that_is_dead_or_failed_is_told_by_the_server_once(
    home: Path, team: str, said: Said
) -> None:
    path = notified(home, "dying", {"block": team})
    update_automations([(path, load_job(path))])
    deployment = build_deployment(next(iter(plan_deployments(path)))).apply()
    ends = [Crashed(message="killed"), Crashed(message="killed"), Failed(message="no space")]

    # The server takes a moment until it heeds an automation that is new.
    time.sleep(6)
    with get_client(sync_client=True) as client:
        for end in ends:
            run = client.create_flow_run_from_deployment(deployment)
            client.set_flow_run_state(run.id, end, force=True)
    wait_for(lambda: {"killed", "no space"} <= {each["text"].splitlines()[0] for each in said()})

    killed, failed = sorted(said(), key=lambda each: str(each["text"]))
    assert [each["text"].splitlines()[0] for each in (killed, failed)] == ["killed", "no space"]
    assert killed["title"].endswith(" Crashed")
    assert killed["text"].splitlines()[1].startswith("run: http")


def test_a_move_by_a_person_is_told_by_the_server(home: Path, team: str, said: Said) -> None:
    path = notified(home, "moving", {"block": team, "events": ["alias-moved"]})
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

    def told() -> list[dict[str, Any]]:
        # The server takes a moment until it heeds an automation that is new.
        emit_alias_move("moving", MoveResult(line, resumed=False))
        time.sleep(1)
        return said()

    wait_for(told)

    assert said()[0]["title"] == "moving: rollback of version 2"
    assert said()[0]["text"] == "rollback by ada on ward: it alarmed"


def test_automations_are_made_once_mended_and_removed(home: Path, address: str) -> None:
    team, crew = make_block(address, "team"), make_block(address, "crew")
    path = notified(home, "settled", {"block": team})
    job, plain = load_job(path), load_job(write_job(home, WAVES | {"name": "settled"}))
    fewer = load_job(notified(home, "settled", {"block": team, "events": ["crashed"]}))
    moved = load_job(notified(home, "settled", {"block": crew, "events": ["crashed"]}))

    def settled(job: Any) -> dict[str, Any]:
        update_automations([(path, job)])
        with get_client(sync_client=True) as client:
            return find_automations(client, format_resource_id("settled"))

    first, second = settled(job), settled(job)
    with get_client(sync_client=True) as client:
        for each in first.values():
            client.pause_automation(each.id)
    third = settled(fewer)
    fourth, none = settled(moved), settled(plain)

    names = [
        f"settled: {team} is notified of alias moves",
        f"settled: {team} is notified of failures",
    ]
    assert first == second
    assert set(first) == set(names)
    assert list(third) == names[1:]
    assert third[names[1]].id == first[names[1]].id
    assert third[names[1]].trigger.expect == {"prefect.flow-run.Crashed"}
    assert not third[names[1]].enabled, "who has switched it off wants it off"
    assert list(fourth) == [f"settled: {crew} is notified of failures"]
    assert none == {}


def test_what_is_there_already_is_left_as_it_is(home: Path, team: str) -> None:
    path = notified(home, "steady", {"block": team})
    job = load_job(path)
    update_automations([(path, job)])
    with get_client(sync_client=True) as client:
        before = find_automations(client, DEAD_RUNS)[DEAD_RUNS]
        longer = before.model_copy(deep=True)
        longer.trigger.within *= 2

    assert is_same(before, before)
    assert not is_same(before, longer)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("slack-webhook/nobody", "the Prefect server has no block 'slack-webhook/nobody'"),
        (
            "webhook/plain",
            "the block 'webhook/plain' is a webhook, which cannot send notifications",
        ),
    ],
)
def test_deploying_refuses_a_block_that_cannot_be_told(
    home: Path, team: str, block: str, told: str
) -> None:
    Webhook(url="http://127.0.0.1:9").save("plain", overwrite=True)
    path = notified(home, "refused", {"block": team}, {"block": block})

    with pytest.raises(JobError) as refused:
        deploy([path], "machines")

    assert f"notify[1].block: {told}" in str(refused.value)
    assert str(path) in str(refused.value)
    assert team in str(refused.value), "what there is instead"
    assert "Hint:" in str(refused.value)
    with get_client(sync_client=True) as client:
        assert find_automations(client, format_resource_id("refused")) == {}


def test_the_log_of_the_pages_server_tells_an_error_without_the_address(
    caplog: pytest.LogCaptureFixture, address: str
) -> None:
    logger, hush = logging.getLogger(ACTION_LOGGER), ErrorKindFilter()
    with pytest.raises(httpx.HTTPStatusError, match=SECRET) as failed:
        httpx.post(f"{address}/refused/{SECRET}", json={}).raise_for_status()

    logger.addFilter(hush)
    logger.error("Failed in %s", "consume_loop", exc_info=failed.value)
    logger.removeFilter(hush)

    [said] = [record for record in caplog.records if record.name == ACTION_LOGGER]
    assert logging.Formatter().format(said) == "Failed in consume_loop: HTTPStatusError"


@pytest.mark.slow
def test_a_silent_run_of_ours_is_ended_and_nobody_elses_nor_a_live_one(home: Path) -> None:
    path = write_job(home, WAVES | {"name": "beating"})
    update_automations([(path, load_job(path))])
    sooner = build_dead_run_automation()
    sooner.trigger.within = timedelta(seconds=20)
    deployment = build_deployment(next(iter(plan_deployments(path)))).apply()
    with get_client(sync_client=True) as client:
        client.update_automation(find_automations(client, DEAD_RUNS)[DEAD_RUNS].id, sooner)
        silent, mute, live = (client.create_flow_run_from_deployment(deployment) for _ in range(3))
        foreign = client.create_flow_run(retrain, tags=["of another team"])
        for run in (silent, live, foreign):
            client.set_flow_run_state(run.id, Running(), force=True)
        # as long as the server may take to read the automation again
        for _ in range(7):
            for run in (silent, live, foreign):
                beat(run)
            time.sleep(1)
        client.set_flow_run_state(mute.id, Running(), force=True)

        def ended() -> bool:
            time.sleep(1)
            beat(live)
            return all(client.read_flow_run(run.id).state.is_crashed() for run in (silent, mute))

        wait_for(ended, 90)
        states = [client.read_flow_run(run.id).state for run in (silent, mute, live, foreign)]

    assert [state.name for state in states] == ["Crashed", "Crashed", "Running", "Running"]
    assert all("its heartbeats have stopped" in state.message for state in states[:2])


def beat(run: FlowRun) -> None:
    """Tell that a run is alive, as Prefect's engine does."""
    related = [
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
        for tag in run.tags
    ]
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}"}
    emit_event("prefect.flow-run.heartbeat", resource=resource, related=related)
