"""After any alias moves, killed at any write, the log and the aliases agree."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count, pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from tasks.registry import alias_log, versions
from tasks.registry.alias_log import replay_aliases
from tasks.registry.aliases import AliasMove, move_aliases, read_aliases, reconcile_log
from tasks.storage.store import Store

NAMES = (f"waves-{number}" for number in count())

WRITES = (
    (versions, "point_alias"),
    (versions, "tag_version"),
    (alias_log, "create_exclusively"),
)
"""Functions by which a move writes."""


class KilledError(BaseException):
    """Stands for the end of a killed process."""


class Step(NamedTuple):
    """A move, and the index of the write at which its process is killed, if any."""

    action: str
    version: str
    challenge: bool
    killed_at: int | None
    just_before: bool
    """Whether the process is killed before this write instead of after it."""


STEPS = st.lists(
    st.builds(
        Step,
        action=st.sampled_from(["promote", "register", "rollback", "reject", "in mlflow"]),
        version=st.sampled_from(["1", "2", "3"]),
        challenge=st.booleans(),
        killed_at=st.none() | st.integers(0, 6),
        just_before=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def kill_at_write(
    write: Callable[..., Any], writes: "count[int]", step: Step
) -> Callable[..., Any]:
    def write_or_die(*arguments: Any) -> Any:
        is_killed = next(writes) == step.killed_at
        if is_killed and step.just_before:
            raise KilledError
        result = write(*arguments)
        if is_killed:
            raise KilledError
        return result

    return write_or_die


def make_move(store: Store, name: str, step: Step) -> None:
    if step.action == "in mlflow":
        MlflowClient().set_registered_model_alias(name, "champion", step.version)
        return
    move = AliasMove(name, step.version, step.action, "a test", make_challenger=step.challenge)
    with pytest.MonkeyPatch.context() as patch, suppress(KilledError):
        writes = count()
        for module, function in WRITES:
            patch.setattr(module, function, kill_at_write(getattr(module, function), writes, step))
        move_aliases(store, move)


@pytest.mark.usefixtures("home")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_log_and_the_aliases_agree_after_any_moves_and_kills(
    local_store: Store, steps: list[Step]
) -> None:
    name = next(NAMES)
    MlflowClient().create_registered_model(name)
    for _ in range(3):
        MlflowClient().create_model_version(name, source="file:///nowhere")

    for step in steps:
        make_move(local_store, name, step)
        entries = reconcile_log(local_store, name).entries

        assert read_aliases(name) == replay_aliases(entries)
        assert all(entry.outcome for entry in entries)
        changes = [entry.change for entry in entries if entry.outcome == "done"]
        assert all(one.after == after.before for one, after in pairwise(changes))
        champion = read_aliases(name).get("champion")
        assert read_aliases(name).get("previous") is None or champion is not None
    assert reconcile_log(local_store, name).entries == entries
