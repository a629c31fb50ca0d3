"""Heartbeats of our own: what Prefect would send, from a thread that ends with the run."""

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
    found: list[tuple[str, dict[str, Any]]] = []

    def note(event: str, **told: Any) -> None:
        found.append((event, told))

    monkeypatch.setattr(heartbeat, "emit_event", note)
    monkeypatch.setattr(flow_engine, "emit_event", note)
    return found


def plain(part: Any) -> dict[str, str]:
    return dict(part.root if hasattr(part, "root") else part)


def shape(told: dict[str, Any]) -> tuple[set[str], list[tuple[str, str]]]:
    """Names of the resource's parts, and kind and role of all that it is related to."""
    related = [plain(part) for part in told["related"]]
    kinds = [part["prefect.resource.id"].rsplit(".", 1)[0] for part in related]
    roles = [part["prefect.resource.role"] for part in related]
    return set(told["resource"]) - {"prefect.version"}, sorted(zip(kinds, roles, strict=True))


def test_our_heartbeats_say_what_prefect_s_say(sent: list[tuple[str, dict[str, Any]]]) -> None:
    @flow
    def alive() -> None:
        with send_heartbeats():
            pass

    with tags("ostinato"):
        alive()
        with use_own_heartbeat():
            alive()

    (theirs, first), (ours, second) = sent
    assert ours == theirs == "prefect.flow-run.heartbeat"
    assert shape(second) == shape(first)
    assert second["resource"]["prefect.resource.id"] != first["resource"]["prefect.resource.id"]


def test_they_go_on_while_the_run_does_and_end_at_once(
    sent: list[tuple[str, dict[str, Any]]],
) -> None:
    enough = threading.Event()

    @flow
    def alive() -> int:
        heartbeat.interval_seconds.set(0)
        with send_heartbeats():
            while len(sent) < 3:
                enough.wait(0.01)
        return len(sent)

    with use_own_heartbeat():
        counted = alive()

    assert counted >= 3
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
