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

COST = 0.01
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
    every: float
    """Seconds between two checkpoints; 0 writes one after every step."""
    at: float = field(default_factory=time.monotonic)
    last_seconds: float = 0.0
    """Seconds for which the last one held up the loop."""
    writing: Future[None] | None = None
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))

    def is_due(self) -> bool:
        """Return whether the next checkpoint is due."""
        rest = max(self.every, self.last_seconds / COST) if self.every else 0.0
        return time.monotonic() - self.at >= rest

    def save_state(self, state: dict[str, Any]) -> None:
        """Copy the state and write it in the background, after the one before.

        Raises:
            OSError: the one before could not be written.
        """
        began = time.monotonic()
        self.wait()
        self.writing = self.thread.submit(self.write, copy_state(state))
        self.at = time.monotonic()
        self.last_seconds = self.at - began

    def write(self, state: dict[str, Any]) -> None:
        """Serialize and save a state."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.save(buffer.getvalue())

    def wait(self) -> None:
        """Wait until the current one is written."""
        if self.writing is not None:
            writing, self.writing = self.writing, None
            writing.result()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish writing."""
        try:
            self.wait()
        finally:
            self.thread.shutdown()


def copy_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that the loop does not change; `best_state` is never changed in place."""
    return {
        name: value if name == "best_state" else copy.deepcopy(value)
        for name, value in state.items()
    }


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
