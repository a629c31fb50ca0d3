"""How far training is: a bar on the terminal, and Prefect's progress artifact."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from models.learning.loop import Epoch, Step, Watch

UPDATE_SECONDS = 2.0
"""Shortest time between two updates of the artifact: each one is a request to the server."""


@contextmanager
def shown() -> Iterator[Watch]:
    """Give those who show each step and each epoch's end everywhere."""
    artifact = open_artifact()
    last = time.monotonic()

    with terminal_bar() as bar:

        def step(step: Step) -> None:
            nonlocal last
            bar.on_step(step)
            if artifact is not None and time.monotonic() - last >= UPDATE_SECONDS:
                update_progress_artifact(artifact, 100.0 * step.done / step.total)
                last = time.monotonic()

        yield Watch(bar.on_epoch, step)
    if artifact is not None:
        update_progress_artifact(artifact, 100.0)


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
    return cast(
        "UUID",
        create_progress_artifact(0.0, key="training", description="share of the steps done"),
    )


def speedometer() -> Callable[[int], float]:
    """Make a function that takes in sequences and tells how many there were a second."""
    began, read = time.monotonic(), 0

    def speed(sequences: int) -> float:
        nonlocal read
        read += sequences
        return read / max(1e-9, time.monotonic() - began)

    return speed


@contextmanager
def terminal_bar() -> Iterator[Watch]:
    """Draw a bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield Watch(lambda _: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.fields[place]}"),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job, speed = bar.add_task("training", total=None, place="", losses=""), speedometer()

        def on_step(step: Step) -> None:
            place = f"step {step.done}/{step.total}, {speed(step.sequences):,.0f} sequences/s"
            bar.update(job, completed=step.done, total=step.total, place=place)

        def on_epoch(epoch: Epoch) -> None:
            losses = f"loss {epoch.training_loss:.4f}, validation {epoch.validation_loss:.4f}"
            bar.update(job, losses=f"epoch {epoch.epoch + 1}: {losses}")

        yield Watch(on_epoch, on_step)
