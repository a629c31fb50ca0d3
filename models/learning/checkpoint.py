"""All that the loop needs to go on from where it was, exactly; written while it goes on."""

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
"""Largest share of the time that checkpoints may take from the loop."""


class Checkpoints(NamedTuple):
    """Where the loop leaves its state, and finds it."""

    load: Callable[[], bytes | None]
    save: Callable[[bytes], None]


@dataclass(slots=True)
class Saver:
    """Leaves a checkpoint when it is time for one: copied at once, written beside the loop.

    Used as a context, at whose end the last one is written, and what went wrong is raised.
    """

    save: Callable[[bytes], None]
    every: float
    """Seconds between two of them; 0 leaves one after every step."""
    at: float = field(default_factory=time.monotonic)
    taken: float = 0.0
    """Seconds that the last one took from the loop."""
    writing: Future[None] | None = None
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))

    def due(self) -> bool:
        """Tell whether it is time."""
        rest = max(self.every, self.taken / COST) if self.every else 0.0
        return time.monotonic() - self.at >= rest

    def keep(self, state: dict[str, Any]) -> None:
        """Leave this state, once the one before it is written.

        Raises:
            OSError: the one before it could not be written.
        """
        began = time.monotonic()
        self.wait()
        self.writing = self.thread.submit(self.write, copied(state))
        self.at = time.monotonic()
        self.taken = self.at - began

    def write(self, state: dict[str, Any]) -> None:
        """Turn a state into bytes and hand them on."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.save(buffer.getvalue())

    def wait(self) -> None:
        """Wait for the one that is being written."""
        if self.writing is not None:
            writing, self.writing = self.writing, None
            writing.result()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what is being written."""
        try:
            self.wait()
        finally:
            self.thread.shutdown()


def copied(state: dict[str, Any]) -> dict[str, Any]:
    """Copy a state, so that the loop may change its tensors."""
    return {
        name: value if name == "best_state" else copy.deepcopy(value)
        for name, value in state.items()
    }


def loaded(data: bytes) -> dict[str, Any]:
    """Read a state. Only tensors and plain values are read, never code."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def random_state() -> dict[str, Any]:
    """Tell where the streams of random numbers are."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Put the streams of random numbers back."""
    torch.set_rng_state(state["random"])
    if state["random_cuda"]:
        torch.cuda.set_rng_state_all(state["random_cuda"])


def on(device: torch.device, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring tensors to a device."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}
