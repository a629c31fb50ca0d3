"""What every contender of `training_peers.py` is given, and what it tells.

A contender is a script of its own in an environment of its own, which may lack all of ours, so
nothing but NumPy is imported here. It reads the lesson that its first argument names, trains once
on a few batches, which is not counted (kernels are made, graphs are traced), then in earnest; each
epoch ends with its score on the validation rows, and the last line that it prints is its report.

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

WARM_BATCHES = 3
WARMUP_SHARE = 0.05
FINAL_RATE = 0.05
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
LOOKBACK, HORIZON = 52, 13


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A data set and how it is to be learned; the first `training` sequences are to learn from."""

    values: np.ndarray
    """float32 [N, C], int64 ids [N] that begin at 1, or float32 [N] of series to foretell."""
    lengths_S: np.ndarray
    labels_S: np.ndarray
    """Classes; empty where the series themselves are foretold."""
    training: int
    cell: str
    hidden: int
    pooling: str
    classes: int
    ids: int
    """How many there are, 0 among them; 0 where steps are numbers."""
    embedding: int
    batch: int
    epochs: int
    rate: float
    seed: int
    threads: int
    options: dict[str, Any] = field(default_factory=dict)
    """Of this contender."""

    @property
    def equal(self) -> bool:
        """Whether all sequences are equally long."""
        return bool((self.lengths_S == self.lengths_S[0]).all())

    @property
    def stops_S(self) -> np.ndarray:
        """Where each sequence ends in the values."""
        return np.cumsum(self.lengths_S)

    @property
    def starts_S(self) -> np.ndarray:
        """Where each sequence begins in the values."""
        return self.stops_S - self.lengths_S

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.training_windows // self.batch)

    @property
    def training_windows(self) -> int:
        """Sequences to learn from; of series, the windows whose answers end before the last."""
        if len(self.labels_S):
            return self.training
        return int((self.lengths_S - LOOKBACK - 2 * HORIZON + 1).sum())

    def sequences(self, *, training: bool) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the sequences of one split, each by itself, and their classes."""
        cut = slice(self.training) if training else slice(self.training, None)
        parts = np.split(self.values, self.stops_S[:-1])
        return parts[cut], self.labels_S[cut]

    def padded(self, *, training: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return [S, T, ...] with zeros behind each sequence's end, and their classes."""
        parts, labels_S = self.sequences(training=training)
        room = np.zeros(
            (len(parts), self.lengths_S.max(), *self.values.shape[1:]), self.values.dtype
        )
        for row, part in zip(room, parts, strict=True):
            row[: len(part)] = part
        return room, labels_S

    def few(self) -> "Lesson":
        """Take some batches of it, for an epoch that isn't counted; series stay as they are."""
        if not len(self.labels_S):
            return replace(self, epochs=1, options=self.options | {"steps": WARM_BATCHES})
        count = min(self.training, WARM_BATCHES * self.batch)
        rows = np.r_[:count, self.training : min(len(self.labels_S), self.training + self.batch)]
        index_N = np.concatenate([np.arange(self.starts_S[r], self.stops_S[r]) for r in rows])
        return replace(
            self,
            values=self.values[index_N],
            lengths_S=self.lengths_S[rows],
            labels_S=self.labels_S[rows],
            training=count,
            epochs=1,
        )

    def share(self, done: int) -> float:
        """Tell which share of the highest rate a step takes: a warm-up, then a cosine."""
        total = self.epochs * self.steps
        warmup = max(1, round(total * WARMUP_SHARE))
        if done < warmup:
            return (done + 1) / warmup
        cosine = 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1, total - warmup)))
        return FINAL_RATE + (1 - FINAL_RATE) * cosine


@dataclass
class Clock:
    """Times epochs."""

    seconds: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    began: float = 0.0
    last: float = 0.0

    def start(self) -> None:
        """Begin: the data lie ready in memory, the network is made."""
        self.began, self.last = time.time(), time.perf_counter()

    def epoch(self, score: float) -> None:
        """End an epoch, whose loss on the validation rows is known by now."""
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.scores.append(float(score))
        self.last = now


Learn = Callable[[Lesson, Clock], dict[str, Any]]


def read_lesson() -> Lesson:
    """Read what the orchestrator wrote."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(told.pop("arrays")) as arrays:
        return Lesson(**{name: arrays[name] for name in arrays}, **told)


def run(learn: Learn) -> None:
    """Learn a little, then in earnest, and report."""
    lesson = read_lesson()
    learn(lesson.few(), Clock())
    clock = Clock()
    report(clock, learn(lesson, clock))


def report(clock: Clock, facts: dict[str, Any]) -> None:
    """Print what was measured.

    Args:
        clock: that ran.
        facts: parameters, and what else is worth telling.
    """
    told = {
        "seconds": clock.seconds,
        "scores": clock.scores,
        "set_up": clock.began - float(os.environ["LESSON_BEGAN"]),
    }
    print(json.dumps(told | facts), flush=True)


def watcher(base: type, clock: Clock, *, score: str) -> Any:
    """Make a callback for Lightning, whose class is `base`, that lets the clock run."""

    class Watcher(base):  # type: ignore[misc, valid-type]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            del trainer, module
            clock.start()

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            del module
            if not trainer.sanity_checking:
                clock.epoch(trainer.callback_metrics[score])

    return Watcher()
