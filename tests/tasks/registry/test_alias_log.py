"""Whatever moves are made and wherever they are killed, history and aliases agree afterwards."""

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
"""Everything that a move writes."""


class KilledError(BaseException):
    """Stands for the end of the process."""


class Step(NamedTuple):
    """A move, and after how many writes its process is killed; None lets it live."""

    action: str
    version: str
    challenge: bool
    dies_after: int | None
    just_before: bool
    """Whether the write that kills it is not made."""


STEPS = st.lists(
    st.builds(
        Step,
        action=st.sampled_from(["promote", "register", "rollback", "reject", "by hand"]),
        version=st.sampled_from(["1", "2", "3"]),
        challenge=st.booleans(),
        dies_after=st.none() | st.integers(0, 6),
        just_before=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def dying(work: Callable[..., Any], left: "count[int]", step: Step) -> Callable[..., Any]:
    def done(*words: Any) -> Any:
        dies = next(left) == step.dies_after
        if dies and step.just_before:
            raise KilledError
        result = work(*words)
        if dies:
            raise KilledError
        return result

    return done


def take(store: Store, name: str, step: Step) -> None:
    if step.action == "by hand":
        MlflowClient().set_registered_model_alias(name, "champion", step.version)
        return
    asked = AliasMove(name, step.version, step.action, "a test", make_challenger=step.challenge)
    with pytest.MonkeyPatch.context() as patch, suppress(KilledError):
        left = count()
        for module, word in WRITES:
            patch.setattr(module, word, dying(getattr(module, word), left, step))
        move_aliases(store, asked)


@pytest.mark.usefixtures("home")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_after_any_moves_and_kills_history_and_aliases_agree(
    local_store: Store, steps: list[Step]
) -> None:
    name = next(NAMES)
    MlflowClient().create_registered_model(name)
    for _ in range(3):
        MlflowClient().create_model_version(name, source="file:///nowhere")

    for step in steps:
        take(local_store, name, step)
        entries = reconcile_log(local_store, name).entries

        assert read_aliases(name) == replay_aliases(entries)
        assert all(entry.outcome for entry in entries)
        done = [entry.change for entry in entries if entry.outcome == "done"]
        assert all(one.after == after.before for one, after in pairwise(done))
        champion = read_aliases(name).get("champion")
        assert read_aliases(name).get("previous") is None or champion is not None
    assert reconcile_log(local_store, name).entries == entries
