"""The progress line, artifact and bar of a running training."""

import sys
from uuid import uuid4

import httpx
import pytest
import torch

from models.learning.callbacks import EpochResult, StepResult
from tasks.training import progress
from tasks.training.progress import TrainingProgress, report_progress


def build_step(done: int) -> StepResult:
    return StepResult(done, 100, 64, torch.tensor(0.25))


def test_the_progress_line_shows_loss_metric_speed_and_remaining_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    training_progress = TrainingProgress()
    training_progress.on_epoch(EpochResult(0, 0.5, 0.6, 0.875, "macro_f1"))

    for done in (50, 51, 52):
        training_progress.on_step(build_step(done))

    assert training_progress.format_line() == (
        "step 52/100, loss 0.2500, validation 0.6000, macro_f1 0.8750, 64 sequences/s, 0:00:48 left"
    )


def test_nothing_is_shown_before_a_step_and_no_speed_after_the_first() -> None:
    training_progress = TrainingProgress()

    assert training_progress.format_line() == ""
    training_progress.on_step(build_step(1))
    assert training_progress.format_line() == "step 1/100, loss 0.2500"


def test_the_artifact_shows_the_progress_line_and_tolerates_a_missing_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    updates: list[tuple[float, str]] = []

    def update(_: object, percent: float, description: str) -> None:
        updates.append((percent, description))
        raise httpx.ConnectError("no server")

    monkeypatch.setattr(progress, "create_artifact", uuid4)
    monkeypatch.setattr(progress, "update_progress_artifact", update)
    monkeypatch.setattr(progress, "UPDATE_SECONDS", 0.0)

    with report_progress() as callbacks:
        callbacks.on_step(build_step(7))

    assert [percent for percent, _ in updates] == [7.0, 100.0]
    assert "loss 0.2500" in updates[0][1]


def test_the_bar_is_drawn_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(progress, "DRAW_SECONDS", 0.0)

    with report_progress() as callbacks:
        callbacks.on_step(build_step(7))

    assert "step 7/100, loss 0.2500" in capsys.readouterr().err
