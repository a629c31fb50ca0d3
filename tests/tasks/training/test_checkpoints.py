"""Checkpoints that were damaged: training goes on from the one before, or from the beginning."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> TrialContext:
    return make_trial_context(tmp_path_factory.mktemp("prepared"))


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
    damage: Damage, both: bool, prepared: TrialContext, tmp_path: Path
) -> None:
    whole = copy_context(prepared, tmp_path / "whole")
    killed = copy_context(prepared, tmp_path / "killed")
    expected, epochs = train(whole, lambda _: None), list[int]()
    newest = kill_after_three(killed)

    damage(newest)
    if both:
        damage(newest.with_name("previous.pt"))
    resumed = train(killed, lambda epoch: epochs.append(epoch.epoch))

    assert resumed.content_hash == expected.content_hash
    assert (epochs[0] == 0) == both


def test_the_last_two_are_kept_and_the_newest_is_read(store: Store) -> None:
    with pytest.raises(ProcessKilledError), hold_checkpoints(store, "k") as checkpoints:  # noqa: PT012
        assert checkpoints.load() is None
        for data in (b"first", b"second", b"third"):
            checkpoints.save(data)
        assert checkpoints.load() == b"third"
        raise ProcessKilledError

    store.fs.pipe_file(f"{store.root}/checkpoints/k/state.pt", b"third")
    assert read_checkpoint(store, "k") == b"second"
    store.fs.rm(f"{store.root}/checkpoints/k/state.pt")
    assert read_checkpoint(store, "k") == b"second"


def test_nothing_is_left_of_a_finished_training(store: Store) -> None:
    with hold_checkpoints(store, "k") as checkpoints:
        checkpoints.save(b"first")

    assert read_checkpoint(store, "k") is None
