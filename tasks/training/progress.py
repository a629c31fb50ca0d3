"""How far training is: a bar on the terminal, and Prefect's progress artifact."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from models.learning.loop import Epoch, Step, Watch

UPDATE_SECONDS = 5.0
"""Shortest time between two updates of the artifact: each one is a request to the server."""
DRAW_SECONDS = 0.25
"""Shortest time between two lines on the terminal: a loss waits for the device."""

Draw = Callable[[Step, str], None]


class Course:
    """The numbers of a training at hand, as one line."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.began, self.first, self.read = 0.0, 0, 0
        self.step: Step | None = None
        self.epoch: Epoch | None = None

    def on_step(self, step: Step) -> None:
        """Take in a step; the first one only starts the clock."""
        if self.step is None:
            self.began, self.first = time.monotonic(), step.done
        else:
            self.read += step.sequences
        self.step = step

    def on_epoch(self, epoch: Epoch) -> None:
        """Take in an epoch."""
        self.epoch = epoch

    def line(self) -> str:
        """Tell the step, its loss, what the last epoch came to, the speed and the time left."""
        if self.step is None:
            return ""
        done, total, _, loss = self.step
        parts = [f"step {done}/{total}", f"loss {float(loss):.4f}"]
        if self.epoch is not None:
            parts.append(f"validation {self.epoch.validation_loss:.4f}")
            if self.epoch.metric is not None:
                parts.append(f"{self.epoch.metric_name} {self.epoch.metric:.4f}")
        passed = time.monotonic() - self.began
        if done > self.first and passed > 0:
            left = timedelta(seconds=round((total - done) * passed / (done - self.first)))
            parts += [f"{self.read / passed:,.0f} sequences/s", f"{left} left"]
        return ", ".join(parts)


@contextmanager
def shown() -> Iterator[Watch]:
    """Give those who show each step and each epoch's end everywhere.

    The artifact is opened by the first step: where nothing has to be learned, none is needed.
    """
    artifact: UUID | None = None
    course, updated, drawn = Course(), 0.0, time.monotonic()

    with terminal_bar() as draw:

        def step(step: Step) -> None:
            nonlocal artifact, updated, drawn
            if course.step is None:
                artifact, updated = open_artifact(), time.monotonic()
            course.on_step(step)
            now = time.monotonic()
            if draw is not None and now - drawn >= DRAW_SECONDS:
                draw(step, course.line())
                drawn = now
            if artifact is not None and now - updated >= UPDATE_SECONDS:
                update(artifact, 100.0 * step.done / step.total, course.line())
                updated = now

        yield Watch(course.on_epoch, step)
    if artifact is not None:
        update(artifact, 100.0, course.line())


def both(one: Watch, other: Watch) -> Watch:
    """Tell two at once."""

    def epoch(epoch: Epoch) -> None:
        one.on_epoch(epoch)
        other.on_epoch(epoch)

    def step(step: Step) -> None:
        one.on_step(step)
        other.on_step(step)

    return Watch(epoch, step)


def open_artifact() -> UUID | None:
    """Open the progress artifact of this task run; none outside a run."""
    if TaskRunContext.get() is None:
        return None
    return cast("UUID", create_progress_artifact(0.0, key="training", description="begins"))


def update(artifact: UUID, percent: float, line: str) -> None:
    """Write how far it is; a server that does not answer stops no training."""
    with contextlib.suppress(httpx.HTTPError):
        update_progress_artifact(artifact, percent, description=line)


@contextmanager
def terminal_bar() -> Iterator[Draw | None]:
    """Draw a bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[line]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task("training", total=None, line="")

        def draw(step: Step, line: str) -> None:
            bar.update(job, completed=step.done, total=step.total, line=line)

        yield draw
