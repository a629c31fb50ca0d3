"""Checkpoints: everything that the loop needs to resume exactly, written in the background."""

import copy
import io
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

WEIGHT_KEYS = ("network", "average", "best_state")
"""Those of a state that hold tensors by name."""

STATE_KEYS = {
    "plan", "epoch", "step", "losses", "history", "best_epoch", "best_score", "optimizer",
    "random", "random_cuda", *WEIGHT_KEYS,
}  # fmt: skip
"""What a state holds."""

MAX_TIME_SHARE = 0.01
"""Largest share of the training time that checkpoints may take."""


class CheckpointStore(NamedTuple):
    """Functions that load and save the state as bytes."""

    load: Callable[[], bytes | None]
    save: Callable[[bytes], None]


@dataclass(slots=True)
class CheckpointWriter:
    """Writes checkpoints at an interval: the state is copied at once, and written in a thread.

    Used as a context manager; at its end the last one is written, and an error of it is raised.
    """

    save: Callable[[bytes], None]
    interval_seconds: float
    """Seconds between two checkpoints; 0 writes one after every step."""
    last_at: float = field(default_factory=time.monotonic)
    last_seconds: float = 0.0
    """Seconds for which the last one delayed the loop."""
    pending: Future[None] | None = None
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))

    def is_due(self) -> bool:
        """Return whether the next checkpoint is due."""
        interval = (
            max(self.interval_seconds, self.last_seconds / MAX_TIME_SHARE)
            if self.interval_seconds
            else 0.0
        )
        return time.monotonic() - self.last_at >= interval

    def save_state(self, state: dict[str, Any]) -> None:
        """Copy the state and write it in the background, after the one before.

        Raises:
            OSError: the one before could not be written.
        """
        began = time.monotonic()
        self.wait()
        self.pending = self.thread.submit(self.write, _copy_state(state))
        self.last_at = time.monotonic()
        self.last_seconds = self.last_at - began

    def write(self, state: dict[str, Any]) -> None:
        """Serialize and save a state."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.save(buffer.getvalue())

    def wait(self) -> None:
        """Wait until the current one is written."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            pending.result()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish writing; an error of it is raised."""
        try:
            self.wait()
        finally:
            self.thread.shutdown()


def parse_state(data: bytes) -> dict[str, Any]:
    """Deserialize a state: tensors and plain values, never code."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def get_random_state() -> dict[str, Any]:
    """Return the states of torch's random number generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Restore the states of torch's random number generators."""
    torch.set_rng_state(state["random"])
    if state["random_cuda"]:
        torch.cuda.set_rng_state_all(state["random_cuda"])


def move_to_device(device: torch.device, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on a device."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _copy_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that the loop does not change; `best_state` is never changed in place."""
    return {
        name: value if name == "best_state" else copy.deepcopy(value)
        for name, value in state.items()
    }
