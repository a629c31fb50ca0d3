"""The progress of a training: a bar on the terminal, and Prefect's progress artifact."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from models.learning.loop import Callbacks, EpochResult, StepResult

UPDATE_SECONDS = 5.0
"""Shortest time between two updates of the artifact: each one is a request to the server."""
DRAW_SECONDS = 0.25
"""Shortest time between two lines on the terminal: a loss waits for the device."""

_DrawBar = Callable[[StepResult, str], None]


class TrainingProgress:
    """The progress of a running training, as one line of text."""

    def __init__(self, title: str = "") -> None:
        """Begin before the first step; the title is written before the line."""
        self.title = title
        self.start_time, self.first_step, self.sequences_read = 0.0, 0, 0
        self.name = ""
        self.step: StepResult | None = None
        self.epoch: EpochResult | None = None
        self.is_new = True

    def on_begin(self, name: str) -> None:
        """Begin with another network."""
        self.name, self.epoch, self.sequences_read, self.is_new = name, None, 0, True

    def on_step(self, step: StepResult) -> None:
        """Record a step; the first one only starts the clock."""
        if self.is_new:
            self.start_time, self.first_step = time.monotonic(), step.done
            self.is_new = False
        else:
            self.sequences_read += step.sequences
        self.step = step

    def on_epoch(self, epoch: EpochResult) -> None:
        """Record an epoch."""
        self.epoch = epoch

    def format_line(self) -> str:
        """Format step, loss, results of the last epoch, speed and remaining time."""
        if self.step is None:
            return ""
        done, total, _, loss = self.step
        name = f"{self.name}: " if self.name else ""
        parts = [f"{self.title}{name}step {done}/{total}", f"loss {float(loss):.4f}"]
        if self.epoch is not None:
            parts.append(f"validation {self.epoch.validation_loss:.4f}")
            if self.epoch.metric is not None:
                parts.append(f"{self.epoch.metric_name} {self.epoch.metric:.4f}")
        elapsed = time.monotonic() - self.start_time
        if done > self.first_step and elapsed > 0:
            left = timedelta(seconds=round((total - done) * elapsed / (done - self.first_step)))
            parts += [f"{self.sequences_read / elapsed:,.0f} sequences/s", f"{left} left"]
        return ", ".join(parts)


@contextmanager
def report_progress() -> Iterator[Callbacks]:
    """Return callbacks that report steps and epochs on the terminal and to Prefect.

    The artifact is created at the first step: none is needed where the model is in the store.
    """
    artifact: UUID | None = None
    updated_at, drawn_at = 0.0, time.monotonic()
    before, progress = TrainingProgress("pretraining: "), TrainingProgress()

    with _open_terminal_bar() as draw:

        def show_step(progress: TrainingProgress, step: StepResult) -> None:
            nonlocal artifact, updated_at, drawn_at
            if artifact is None and progress.step is None:
                artifact, updated_at = create_artifact(), time.monotonic()
            progress.on_step(step)
            now = time.monotonic()
            if draw is not None and now - drawn_at >= DRAW_SECONDS:
                draw(step, progress.format_line())
                drawn_at = now
            if artifact is not None and now - updated_at >= UPDATE_SECONDS:
                _update_artifact(artifact, 100.0 * step.done / step.total, progress.format_line())
                updated_at = now

        yield Callbacks(
            progress.on_epoch,
            partial(show_step, progress),
            Callbacks(before.on_epoch, partial(show_step, before)),
            progress.on_begin,
        )
    if artifact is not None:
        _update_artifact(artifact, 100.0, progress.format_line())


def combine_callbacks(first: Callbacks, second: Callbacks) -> Callbacks:
    """Return callbacks that call both."""

    def epoch(epoch: EpochResult) -> None:
        first.on_epoch(epoch)
        second.on_epoch(epoch)

    def step(step: StepResult) -> None:
        first.on_step(step)
        second.on_step(step)

    def begin(name: str) -> None:
        first.on_begin(name)
        second.on_begin(name)

    pretraining = first.pretraining or second.pretraining
    if first.pretraining and second.pretraining:
        pretraining = combine_callbacks(first.pretraining, second.pretraining)
    return Callbacks(epoch, step, pretraining, begin)


def create_artifact() -> UUID | None:
    """Create the progress artifact of this task run; None outside a run."""
    if TaskRunContext.get() is None:
        return None
    return cast("UUID", create_progress_artifact(0.0, key="training", description="begins"))


def _update_artifact(artifact: UUID, percent: float, line: str) -> None:
    """Update the artifact; an unreachable server does not stop a training."""
    with contextlib.suppress(httpx.HTTPError):
        update_progress_artifact(artifact, percent, description=line)


@contextmanager
def _open_terminal_bar() -> Iterator[_DrawBar | None]:
    """Draw a bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[line]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task("training", total=None, line="")

        def draw(step: StepResult, line: str) -> None:
            bar.update(job, completed=step.done, total=step.total, line=line)

        yield draw
