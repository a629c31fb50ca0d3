"""How far training is: a bar on the terminal, and Prefect's progress artifact."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from models.learning.loop import Epoch

UPDATE_SECONDS = 2.0
"""Shortest time between two updates of the artifact: each one is a request to the server."""


@contextmanager
def shown(epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Give a function that shows an epoch's end everywhere."""
    artifact = open_artifact()
    last = time.monotonic()

    with terminal_bar(epochs) as advance:

        def show(epoch: Epoch) -> None:
            nonlocal last
            advance(epoch)
            if artifact is not None and time.monotonic() - last >= UPDATE_SECONDS:
                update_progress_artifact(artifact, 100.0 * (epoch.epoch + 1) / epochs)
                last = time.monotonic()

        yield show
    if artifact is not None:
        update_progress_artifact(artifact, 100.0)


def open_artifact() -> UUID | None:
    """Open the progress artifact of this task run; none outside a run."""
    if TaskRunContext.get() is None:
        return None
    return cast(
        "UUID",
        create_progress_artifact(0.0, key="training", description="share of the epochs done"),
    )


@contextmanager
def terminal_bar(epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Draw a bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}"),
        TextColumn("loss {task.fields[training]:.4f}, validation {task.fields[validation]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task("training", total=epochs, training=float("nan"), validation=float("nan"))

        def advance(epoch: Epoch) -> None:
            bar.update(
                job,
                completed=epoch.epoch + 1,
                training=epoch.training_loss,
                validation=epoch.validation_loss,
            )

        yield advance
