"""Moves of aliases are locked, logged, and completed or undone after a kill."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.results.alias_history import format_history, load_history
from tasks.errors import RegistryDownError, RegistryError, StoreError
from tasks.registry import aliases, versions
from tasks.registry.alias_log import (
    AliasChange,
    LogEntry,
    find_serving_at,
    list_serving_periods,
    read_log,
)
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.storage.store import Store

pytestmark = pytest.mark.usefixtures("home")


def make_versions(count: int) -> None:
    client = MlflowClient()
    client.create_registered_model("waves")
    for number in range(count):
        tags = {"ostinato.report_hash": f"hash {number + 1}"}
        client.create_model_version("waves", source="file:///nowhere", tags=tags)


def read_mlflow_aliases() -> dict[str, str]:
    return {k: str(v) for k, v in MlflowClient().get_registered_model("waves").aliases.items()}


def promote(store: Store, version: str, **more) -> AliasChange | None:
    return move_aliases(store, AliasMove("waves", version, "promote", "a test", **more))


def test_a_move_adds_a_log_entry_and_a_tag_on_both_versions(local_store: Store) -> None:
    make_versions(2)
    promote(local_store, "1", make_challenger=True)

    change = promote(local_store, "2", make_challenger=True)

    assert read_mlflow_aliases() == {"champion": "2", "previous": "1", "challenger": "2"}
    entries = read_log(local_store, "waves")
    assert entries[-1] == LogEntry(change, "done")
    assert (change.before["champion"], change.after["champion"]) == ("1", "2")
    assert change.decision_hash == "hash 2"
    assert "@" in change.actor
    for number in ("1", "2"):
        tags = MlflowClient().get_model_version("waves", number).tags
        assert json.loads(tags["ostinato.move.000002"])["reason"] == "a test"


def test_a_repeated_move_changes_nothing(local_store: Store) -> None:
    make_versions(1)
    promote(local_store, "1")

    assert promote(local_store, "1") is None
    assert len(read_log(local_store, "waves")) == 1


def test_a_decision_that_was_rolled_back_is_not_applied_again(local_store: Store) -> None:
    make_versions(2)
    promote(local_store, "1")
    promote(local_store, "2", once=True)
    move_aliases(local_store, AliasMove("waves", "1", "rollback", "it was worse"))

    assert promote(local_store, "2", once=True) is None
    assert read_mlflow_aliases() == {"champion": "1"}


def test_a_refused_move_adds_no_log_entry(local_store: Store) -> None:
    make_versions(1)

    def refuse() -> None:
        raise RegistryError.of("no")

    with pytest.raises(RegistryError, match="no"):
        move_aliases(local_store, AliasMove("waves", "1", "promote", ""), check=refuse)

    assert read_mlflow_aliases() == {}
    assert read_log(local_store, "waves") == []


class KilledError(BaseException):
    """Stands for the end of a killed process."""


@pytest.mark.parametrize("step", range(5))
def test_a_move_killed_between_any_two_writes_is_completed_or_abandoned(
    local_store: Store, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    make_versions(3)
    promote(local_store, "1", make_challenger=True)
    with monkeypatch.context() as patch:
        allowed = iter([True] * step)

        def kill_after_allowed(write):
            def write_or_die(*arguments):
                if not next(allowed, False):
                    raise KilledError
                return write(*arguments)

            return write_or_die

        patch.setattr(versions, "point_alias", kill_after_allowed(versions.point_alias))
        patch.setattr(versions, "tag_version", kill_after_allowed(versions.tag_version))
        with pytest.raises(KilledError):
            promote(local_store, "2", make_challenger=True)

    assert read_mlflow_aliases()["champion"] == ("2" if step >= 3 else "1")
    promote(local_store, "2", make_challenger=True)

    assert read_mlflow_aliases() == {"champion": "2", "previous": "1", "challenger": "2"}
    entries = read_log(local_store, "waves")
    assert [entry.outcome for entry in entries] == (
        ["done", "done"] if step >= 3 else ["done", "abandoned", "done"]
    )
    assert [span.version for span in list_serving_periods(entries)] == ["1", "2"]
    tag = f"ostinato.move.{len(entries):06}"
    assert all(tag in MlflowClient().get_model_version("waves", n).tags for n in ("1", "2"))


def test_a_rollback_after_a_killed_promotion_starts_from_the_serving_version(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_versions(3)
    promote(local_store, "1")
    promote(local_store, "2")
    with monkeypatch.context() as patch:
        patch.setattr(aliases, "_apply_change", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            promote(local_store, "3")

    move_aliases(local_store, AliasMove("waves", "1", "rollback", ""))

    assert read_mlflow_aliases() == {"champion": "1"}


MOVER = """
import os, signal, sys
from tasks.registry import versions
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.storage.store import StoreConfig, open_store

store, version, times = open_store(StoreConfig(uri=sys.argv[1])), sys.argv[2], int(sys.argv[3])
if times == 0:
    write = versions.point_alias
    def kill_at_champion(name, alias, number):
        if alias == "champion":
            os.kill(os.getpid(), signal.SIGKILL)
        write(name, alias, number)
    versions.point_alias = kill_at_champion
for turn in range(max(times, 1)):
    other = str(int(version) + turn % 2 * 2)
    move_aliases(store, AliasMove("waves", other, "promote", f"by {version}"))
"""


def start_mover(store: Store, version: str, times: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", MOVER, store.root, version, str(times)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_two_processes_that_move_aliases_at_once_take_turns(local_store: Store) -> None:
    make_versions(4)

    movers = [start_mover(local_store, version, 4) for version in ("1", "2")]
    errors = [mover.communicate(timeout=120)[1] for mover in movers]

    assert [mover.returncode for mover in movers] == [0, 0], errors
    entries = read_log(local_store, "waves")
    assert len(entries) == 8
    assert {entry.change.action for entry in entries} == {"promote"}
    for one, next_one in pairwise(entries):
        assert next_one.change.before == one.change.after
        assert next_one.change.after["previous"] == one.change.after["champion"]
    assert read_mlflow_aliases() == entries[-1].change.after


def test_a_killed_mover_does_not_block_the_next(local_store: Store) -> None:
    make_versions(2)
    promote(local_store, "1")
    killed = start_mover(local_store, "2", 0)
    killed.communicate(timeout=120)

    assert killed.returncode == -9
    promote(local_store, "2")

    assert read_mlflow_aliases() == {"champion": "2", "previous": "1"}
    assert [entry.outcome for entry in read_log(local_store, "waves")] == [
        "done",
        "abandoned",
        "done",
    ]


def test_an_alias_moved_in_mlflow_itself_is_logged(local_store: Store) -> None:
    make_versions(3)
    promote(local_store, "1")
    MlflowClient().set_registered_model_alias("waves", "champion", "3")

    promote(local_store, "2")

    actions = [entry.change.action for entry in read_log(local_store, "waves")]
    assert actions == ["promote", "external", "promote"]
    assert read_mlflow_aliases() == {"champion": "2", "previous": "3"}


def test_the_log_shows_which_versions_served_on_a_day(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_versions(2)
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for version, days in (("1", 0), ("2", 2)):
        moment = start + timedelta(days=days)
        monkeypatch.setattr("tasks.registry.alias_log.read_clock", lambda moment=moment: moment)
        promote(local_store, version)
    entries = read_log(local_store, "waves")

    def list_versions(when: date) -> list[str]:
        return [span.version for span in find_serving_at(entries, when)]

    assert list_versions(date(2026, 1, 30)) == []
    assert list_versions(date(2026, 1, 31)) == ["1"]
    assert list_versions(date(2026, 2, 1)) == ["1"]
    assert list_versions(date(2026, 2, 2)) == ["1", "2"]
    assert list_versions(date(2026, 2, 3)) == ["2"]
    assert list_versions(datetime(2026, 2, 2, 11, 59, tzinfo=UTC)) == ["1"]
    assert list_versions(datetime(2026, 2, 2, 12, tzinfo=UTC)) == ["2"]


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_log_that_was_tampered_with_is_refused_and_no_alias_moves(
    local_store: Store, damage: str
) -> None:
    make_versions(4)
    for version in ("1", "2", "3"):
        promote(local_store, version)
    path = Path(local_store.root) / "history" / "waves" / "000002.json"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(path.read_text().replace("a test", "a jest"))

    with pytest.raises(StoreError, match=r"history of 'waves' was changed: .*00000[23]"):
        promote(local_store, "4")

    assert read_mlflow_aliases()["champion"] == "3"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"outcome": "perhaps"}'])
def test_a_damaged_outcome_is_named_and_can_be_deleted(local_store: Store, damage: bytes) -> None:
    make_versions(2)
    promote(local_store, "1")
    path = Path(local_store.root) / "history" / "waves" / "000001.outcome.json"
    path.write_bytes(damage)

    with pytest.raises(StoreError, match=r"000001\.outcome\.json is damaged"):
        promote(local_store, "2")
    path.unlink()
    promote(local_store, "2")

    assert read_mlflow_aliases() == {"champion": "2", "previous": "1"}
    assert [entry.outcome for entry in read_log(local_store, "waves")] == ["done", "done"]


def test_the_log_is_written_on_every_filesystem(store: Store) -> None:
    make_versions(2)
    promote(store, "1")
    promote(store, "2")

    assert [span.version for span in list_serving_periods(read_log(store, "waves"))] == ["1", "2"]


def test_no_alias_moves_while_the_registry_is_down(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    with pytest.raises(RegistryDownError):
        promote(local_store, "1")

    assert read_log(local_store, "waves") == []


def test_a_clock_that_jumped_leaves_a_warning_in_the_history(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_versions(3)
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for version, days in (("1", 0), ("2", 365), ("3", 1)):
        moment = now + timedelta(days=days)
        monkeypatch.setattr("tasks.registry.alias_log.read_clock", lambda moment=moment: moment)
        promote(local_store, version)

    history = load_history("waves", local_store.root, None)
    first, jumped, after = history["moves"]
    text = format_history(history)

    assert first["clock_warning"] == jumped["clock_warning"] == ""
    assert "the clock says 2026-02-01T12:00:00" in after["clock_warning"]
    assert f"{364 * 86400} s before entry 2" in after["clock_warning"]
    assert after["at"] == jumped["at"], "entries stay in order"
    assert f"warning: entry 3: {after['clock_warning']}" in text
    assert text.count("warning") == 1
