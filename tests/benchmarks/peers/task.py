"""The task that every contender of `training_peers.py` reads, and the report that it prints.

A contender is a script of its own in an environment of its own, which may lack our packages, so
only NumPy is imported here. It reads the task from the file in its first argument, trains once on
a few batches, which is not counted (kernels are built, graphs are traced), and then on the whole
task. Each epoch ends with the loss on the validation rows; the last line of output is the report.

Shapes: S sequences, N steps of all, C channels (none for ids), T steps of the longest.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

WARMUP_BATCHES = 3
WARMUP_SHARE = 0.05
FINAL_RATE = 0.05
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
LOOKBACK, HORIZON = 52, 13


@dataclass(frozen=True, kw_only=True)
class Task:
    """A data set and the settings of its training; training sequences come first."""

    values: np.ndarray
    """float32 [N, C], int64 ids [N] that begin at 1, or float32 [N] of series to forecast."""
    lengths_S: np.ndarray
    labels_S: np.ndarray
    """Classes; empty if the series are to be forecast."""
    training_rows: int
    """Number of training sequences; the others are validation sequences."""
    cell: str
    hidden_size: int
    pooling: str
    classes: int
    vocab_size: int
    """Number of ids, with 0 for padding; 0 if the steps are numbers."""
    embedding_dim: int
    batch_size: int
    epochs: int
    learning_rate: float
    seed: int
    threads: int
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of this contender only; `max_steps` limits the batches of an epoch."""

    @property
    def has_equal_lengths(self) -> bool:
        """Whether all sequences are equally long."""
        return bool((self.lengths_S == self.lengths_S[0]).all())

    @property
    def stops_S(self) -> np.ndarray:
        """Index in the values after the last step of each sequence."""
        return np.cumsum(self.lengths_S)

    @property
    def starts_S(self) -> np.ndarray:
        """Index in the values of the first step of each sequence."""
        return self.stops_S - self.lengths_S

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-self.window_count // self.batch_size)

    @property
    def window_count(self) -> int:
        """Training sequences; for series, windows whose targets end before the last horizon."""
        if len(self.labels_S):
            return self.training_rows
        return int((self.lengths_S - LOOKBACK - 2 * HORIZON + 1).sum())

    def list_sequences(self, *, training: bool) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the sequences of one split as a list, and their classes."""
        split = slice(self.training_rows) if training else slice(self.training_rows, None)
        parts = np.split(self.values, self.stops_S[:-1])
        return parts[split], self.labels_S[split]

    def pad_sequences(self, *, training: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the sequences of a split as [S, T, ...], padded with zeros, and their classes."""
        parts, labels_S = self.list_sequences(training=training)
        padded = np.zeros(
            (len(parts), self.lengths_S.max(), *self.values.shape[1:]), self.values.dtype
        )
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        return padded, labels_S

    def take_warmup_task(self) -> "Task":
        """Return a task of a few batches, for an epoch that is not counted; series stay whole."""
        if not len(self.labels_S):
            return replace(self, epochs=1, options=self.options | {"max_steps": WARMUP_BATCHES})
        count = min(self.training_rows, WARMUP_BATCHES * self.batch_size)
        stop = min(len(self.labels_S), self.training_rows + self.batch_size)
        rows = np.r_[:count, self.training_rows : stop]
        index_N = np.concatenate([np.arange(self.starts_S[r], self.stops_S[r]) for r in rows])
        return replace(
            self,
            values=self.values[index_N],
            lengths_S=self.lengths_S[rows],
            labels_S=self.labels_S[rows],
            training_rows=count,
            epochs=1,
        )

    def compute_rate_factor(self, step: int) -> float:
        """Return the learning rate of a step as a share of the highest: warm-up, then a cosine."""
        total = self.epochs * self.steps_per_epoch
        warmup = max(1, round(total * WARMUP_SHARE))
        if step < warmup:
            return (step + 1) / warmup
        cosine = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
        return FINAL_RATE + (1 - FINAL_RATE) * cosine


@dataclass
class EpochTimer:
    """Record the seconds and the validation loss of each epoch."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    start_time: float = 0.0
    epoch_start: float = 0.0

    def start(self) -> None:
        """Start the first epoch: the data are in memory, the network is built."""
        self.start_time, self.epoch_start = time.time(), time.perf_counter()

    def end_epoch(self, loss: float) -> None:
        """End an epoch with its loss on the validation rows, and start the next."""
        now = time.perf_counter()
        self.seconds.append(now - self.epoch_start)
        self.losses.append(float(loss))
        self.epoch_start = now


Train = Callable[[Task, EpochTimer], dict[str, Any]]


def run(train: Train) -> None:
    """Train on the warm-up task and on the whole task, and print the report."""
    task = read_task()
    train(task.take_warmup_task(), EpochTimer())
    timer = EpochTimer()
    print_report(timer, train(task, timer))


def read_task() -> Task:
    """Read the task from the file in the first argument."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(settings.pop("arrays")) as arrays:
        return Task(**{name: arrays[name] for name in arrays}, **settings)


def print_report(timer: EpochTimer, facts: dict[str, Any]) -> None:
    """Print the seconds, losses and set-up time as JSON, with the contender's facts."""
    report = {
        "seconds": timer.seconds,
        "losses": timer.losses,
        "setup_seconds": timer.start_time - float(os.environ["TASK_STARTED"]),
    }
    print(json.dumps(report | facts), flush=True)


def build_lightning_callback(base: type, timer: EpochTimer, *, metric: str) -> Any:
    """Build a Lightning callback, of class `base`, that ends epochs with a metric's value."""

    class TimerCallback(base):  # type: ignore[misc, valid-type]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            del trainer, module
            timer.start()

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            del module
            if not trainer.sanity_checking:
                timer.end_epoch(trainer.callback_metrics[metric])

    return TimerCallback()
