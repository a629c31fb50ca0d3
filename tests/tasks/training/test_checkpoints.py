"""Checkpoints that were damaged: training goes on from the one before, or from the beginning."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.learning.callbacks import Callbacks, EpochResult
from tasks.records import Candidate
from tasks.storage.store import Store
from tasks.training.checkpoints import hold_checkpoints, read_checkpoint
from tasks.training.train import make_candidate
from tasks.tuning.trials import TrialContext
from tests.support.learning_fixtures import ProcessKilledError
from tests.support.tuning_fixtures import copy_context, make_trial_context

Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_with_garbage(path: Path) -> None:
    path.write_bytes(b"not a checkpoint" * 100)


def rewrite(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Return a damage that changes the state, and gives the file the hash of what it holds then."""

    def damage(path: Path) -> None:
        state = torch.load(io.BytesIO(path.read_bytes()[:-32]), weights_only=True)
        change(state)
        path.write_bytes(encode_state(state))

    return damage


def encode_state(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def spoil_weights(state: dict[str, Any]) -> None:
    name = next(iter(state["network"]))
    state["network"][name] = torch.full_like(state["network"][name], float("nan"))


def rename_weights(state: dict[str, Any]) -> None:
    state["network"] = {f"old.{name}": weight for name, weight in state["network"].items()}


def cut_plan(state: dict[str, Any]) -> None:
    state["plan"] = state["plan"][:3]


def spoil_plan(state: dict[str, Any]) -> None:
    state["plan"] = ("many", *state["plan"][1:])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> TrialContext:
    return make_trial_context(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def expected(prepared: TrialContext, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the hash of the model of a training that nothing interrupts."""
    whole = copy_context(prepared, tmp_path_factory.mktemp("whole") / "store")
    return train(whole, lambda _: None).content_hash


def train(context: TrialContext, on_epoch: Callable[[EpochResult], None]) -> Candidate:
    return make_candidate(
        context.features,
        context.store,
        model=context.base.model,
        head=context.base.head,
        training=replace(context.base.training, epochs=6, checkpoint_every=0.0),
        callbacks=Callbacks(on_epoch),
    )


def kill_after_three(context: TrialContext) -> Path:
    """Kill a training after three epochs, and return its newest checkpoint."""

    def kill(epoch: EpochResult) -> None:
        if epoch.epoch == 2:
            raise ProcessKilledError

    with pytest.raises(ProcessKilledError):
        train(context, kill)
    [newest] = Path(context.store.root).glob("checkpoints/*/state.pt")
    return newest


@pytest.mark.parametrize("damage", [cut, flip, empty, replace_with_garbage])
@pytest.mark.parametrize("both", [False, True], ids=["newest", "both"])
def test_a_damaged_checkpoint_changes_no_weight(
    damage: Damage, both: bool, prepared: TrialContext, expected: str, tmp_path: Path
) -> None:
    killed, epochs = copy_context(prepared, tmp_path / "killed"), list[int]()
    newest = kill_after_three(killed)

    damage(newest)
    if both:
        damage(newest.with_name("previous.pt"))
    resumed = train(killed, lambda epoch: epochs.append(epoch.epoch))

    assert resumed.content_hash == expected
    assert (epochs[0] == 0) == both


@pytest.mark.parametrize(
    ("change", "first_epoch", "told"),
    [
        (spoil_weights, 2, "weights that are not finite"),
        (lambda state: state.pop("optimizer"), 2, "its keys are others"),
        (cut_plan, 2, "its plan or history is none"),
        (spoil_plan, 2, "its plan or history is none"),
        (lambda state: state.update(history=[("x",)]), 2, "its plan or history is none"),
        (rename_weights, 0, "does not fit, so training starts again"),
        (lambda state: state.update(optimizer={}), 0, "does not fit, so training starts again"),
    ],
)
def test_a_whole_checkpoint_of_something_else_changes_no_weight(
    change: Callable[[dict[str, Any]], object],
    first_epoch: int,
    told: str,
    prepared: TrialContext,
    expected: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    killed, epochs = copy_context(prepared, tmp_path / "killed"), list[int]()

    rewrite(change)(kill_after_three(killed))
    resumed = train(killed, lambda epoch: epochs.append(epoch.epoch))

    assert resumed.content_hash == expected
    assert epochs[0] == first_epoch
    assert told in caplog.text


def test_the_last_two_are_kept_and_the_newest_is_read(
    prepared: TrialContext, store: Store, tmp_path: Path
) -> None:
    whole = kill_after_three(copy_context(prepared, tmp_path / "killed")).read_bytes()[:-32]
    state = torch.load(io.BytesIO(whole), weights_only=True)
    first, second, third = (encode_state(state | {"step": step})[:-32] for step in range(3))
    with pytest.raises(ProcessKilledError), hold_checkpoints(store, "k") as checkpoints:  # noqa: PT012
        assert checkpoints.load() is None
        for data in (first, second, third):
            checkpoints.save(data)
        assert checkpoints.load() == third
        raise ProcessKilledError

    store.fs.pipe_file(f"{store.root}/checkpoints/k/state.pt", b"third")
    assert read_checkpoint(store, "k") == second
    store.fs.rm(f"{store.root}/checkpoints/k/state.pt")
    assert read_checkpoint(store, "k") == second


def test_nothing_is_left_of_a_finished_training(store: Store) -> None:
    with hold_checkpoints(store, "k") as checkpoints:
        checkpoints.save(b"first")

    assert read_checkpoint(store, "k") is None
