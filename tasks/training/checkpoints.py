"""Checkpoints of a training in the store, and the lease of the process that writes them.

The last two are kept, each with its SHA-256: where the newest is damaged or holds weights that are
not finite, the one before is resumed from, and without that the training begins again, which gives
the same weights.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from models.learning.checkpoint import STATE_KEYS, WEIGHT_KEYS, parse_state
from models.learning.loop import CheckpointStore, EpochResult
from models.learning.plan import TrainingPlan
from tasks.storage.lease import hold_lease
from tasks.storage.store import Store, read_bytes, write_bytes
from tasks.task_options import logger

_DIGEST_BYTES = hashlib.sha256().digest_size


@contextmanager
def hold_checkpoints(store: Store, key: str) -> Iterator[CheckpointStore]:
    """Hold the checkpoints of a training under a lease, and delete them when it has finished.

    Raises:
        LeaseHeldError: another process is running this training, or has taken it over.
    """
    folder = f"checkpoints/{key}"
    newest, previous = _list_paths(key)

    def save(data: bytes) -> None:
        lease.check()
        if store.fs.exists(f"{store.root}/{newest}"):
            store.fs.mv(f"{store.root}/{newest}", f"{store.root}/{previous}")
        write_bytes(store, newest, data + hashlib.sha256(data).digest())

    with hold_lease(store, folder) as lease:
        yield CheckpointStore(load=lambda: read_checkpoint(store, key), save=save)
        lease.check()
    store.fs.rm(f"{store.root}/{folder}", recursive=True)


def read_checkpoint(store: Store, key: str) -> bytes | None:
    """Read the newest checkpoint of a training that is whole; None where there is none."""
    for path in _list_paths(key):
        content = read_bytes(store, path)
        if content is None:
            continue
        data = content[:-_DIGEST_BYTES]
        damage = _find_damage(data) if is_whole(content) else "it is not what was written"
        if damage is None:
            return data
        logger().warning(
            "%s is damaged: %s; training goes on from the checkpoint before it, or begins again",
            f"{store.root}/{path}",
            damage,
        )
    return None


def is_whole(content: bytes) -> bool:
    """Return whether a checkpoint's file is what was written."""
    return hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]


def _find_damage(data: bytes) -> str | None:
    """Return why a training cannot be resumed from this state; None where it can."""
    try:
        state = parse_state(data)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        return f"it cannot be read ({type(error).__name__})"
    if not isinstance(state, dict) or state.keys() != STATE_KEYS:
        return "its keys are others"
    try:
        TypeAdapter(TrainingPlan).validate_python(state["plan"])
        TypeAdapter(list[EpochResult]).validate_python(state["history"])
    except ValidationError as error:
        return f"its plan or history is none ({error.errors(include_url=False)[0]['msg']})"
    bad = [key for key in WEIGHT_KEYS if not _are_finite(state[key])]
    return f"its {bad[0]} has weights that are not finite numbers" if bad else None


def _are_finite(weights: Any) -> bool:  # noqa: ANN401 - of a file that may be damaged
    """Return whether these are tensors by name, and all of their numbers are finite."""
    return isinstance(weights, dict) and all(
        isinstance(weight, torch.Tensor) and bool(torch.isfinite(weight).all())
        for weight in weights.values()
    )


def _list_paths(key: str) -> tuple[str, str]:
    """Return the paths of the newest checkpoint and of the one before."""
    return f"checkpoints/{key}/state.pt", f"checkpoints/{key}/previous.pt"
