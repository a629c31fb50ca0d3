"""Our heartbeats: the same as Prefect's, from a thread that ends with the run."""

import threading
from typing import Any

import pytest
from prefect import flow, flow_engine, tags

from flows.runtime import heartbeat
from flows.runtime.heartbeat import send_heartbeats, use_own_heartbeat

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """All heartbeats, Prefect's and ours."""
    result: list[tuple[str, dict[str, Any]]] = []

    def record_event(event: str, **description: Any) -> None:
        result.append((event, description))

    monkeypatch.setattr(heartbeat, "emit_event", record_event)
    monkeypatch.setattr(flow_engine, "emit_event", record_event)
    return result


def to_dict(part: Any) -> dict[str, str]:
    return dict(part.root if hasattr(part, "root") else part)


def summarize_event(description: dict[str, Any]) -> tuple[set[str], list[tuple[str, str]]]:
    """Names of the resource's parts, and kind and role of all that it is related to."""
    related = [to_dict(part) for part in description["related"]]
    kinds = [part["prefect.resource.id"].rsplit(".", 1)[0] for part in related]
    roles = [part["prefect.resource.role"] for part in related]
    return set(description["resource"]) - {"prefect.version"}, sorted(
        zip(kinds, roles, strict=True)
    )


def test_our_heartbeats_equal_those_of_prefect(sent: list[tuple[str, dict[str, Any]]]) -> None:
    @flow
    def beating_flow() -> None:
        with send_heartbeats():
            pass

    with tags("ostinato"):
        beating_flow()
        with use_own_heartbeat():
            beating_flow()

    (theirs, first), (ours, second) = sent
    assert ours == theirs == "prefect.flow-run.heartbeat"
    assert summarize_event(second) == summarize_event(first)
    assert second["resource"]["prefect.resource.id"] != first["resource"]["prefect.resource.id"]


def test_heartbeats_continue_during_the_run_and_end_with_it(
    sent: list[tuple[str, dict[str, Any]]],
) -> None:
    enough = threading.Event()

    @flow
    def beating_flow() -> int:
        heartbeat.interval_seconds.set(0)
        with send_heartbeats():
            while len(sent) < 3:
                enough.wait(0.01)
        return len(sent)

    with use_own_heartbeat():
        count = beating_flow()

    assert count >= 3
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
