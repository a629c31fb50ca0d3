"""Curves in MLflow while a model trains: one run for a model, over kills and outages."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from models.errors import DivergedError
from models.learning.callbacks import EpochResult, StepResult
from tasks.tracking import live_metrics, mlflow_client, runs
from tasks.tracking.live_metrics import Experiment, LiveMetrics

JOB = Experiment("waves", None)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One for all tests here: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def hasty(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for run in the_runs():
        MlflowClient().delete_run(run.info.run_id)
    monkeypatch.setattr(live_metrics, "START_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(live_metrics, "SEND_SECONDS", 0.01)


def step(done: int) -> StepResult:
    return StepResult(done, 100, 64, torch.tensor(0.5))


def epoch(number: int) -> EpochResult:
    return EpochResult(number, 0.5 / (1 + number), 0.6 / (1 + number), 0.9, "macro_f1", 0.002, 0.1)


def the_runs() -> list[Run]:
    found = MlflowClient().get_experiment_by_name("waves")
    return MlflowClient().search_runs([found.experiment_id]) if found else []


def steps_of(run: Run, name: str) -> list[int]:
    return [metric.step for metric in MlflowClient().get_metric_history(run.info.run_id, name)]


def until_told(told: LiveMetrics) -> None:
    """Wait until the thread has handed on what it was left."""
    last = time.monotonic() + 60
    while told.run is None or told.waiting:
        assert time.monotonic() < last
        told.awake.set()
        time.sleep(0.01)


def train(told: LiveMetrics, epochs: range) -> None:
    for number in epochs:
        told.callbacks.on_step(step(number + 1))
        told.callbacks.on_epoch(epoch(number))
    until_told(told)


def test_a_training_is_told_while_it_goes_on_and_closed_at_its_end() -> None:
    with LiveMetrics(JOB, "key") as told:
        train(told, range(3))
        [during] = the_runs()
        train(told, range(3, 5))

    [after] = the_runs()
    assert (during.info.status, after.info.status) == ("RUNNING", "FINISHED")
    assert during.data.metrics["training_loss"] == pytest.approx(0.5 / 3)
    assert steps_of(after, "validation_macro_f1") == [0, 1, 2, 3, 4]
    assert steps_of(after, "learning_rate") == [0, 1, 2, 3, 4]
    assert {
        "padding_share",
        "sequences_per_second",
        "step_loss",
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/process_memory_usage_megabytes",
    } <= set(after.data.metrics)


@pytest.mark.parametrize("first", [2, 1], ids=["on", "a-little-back"])
def test_a_killed_training_goes_on_in_the_same_run(first: int) -> None:
    killed = LiveMetrics(JOB, "key")
    train(killed, range(2))

    with LiveMetrics(JOB, "key") as again:
        train(again, range(first, 4))

    killed.over.set()
    [run] = the_runs()
    assert run.info.status == "FINISHED"
    assert steps_of(run, "training_loss") == [0, 1, 2, 3]


def test_another_model_gets_a_run_of_its_own() -> None:
    for key in ("one", "other"):
        with LiveMetrics(JOB, key) as told:
            train(told, range(1))

    assert {run.data.tags["ostinato.model_key"] for run in the_runs()} == {"one", "other"}


def end_with(error: BaseException) -> None:
    with LiveMetrics(JOB, "key") as told:
        told.callbacks.on_step(step(1))
        raise error


@pytest.mark.parametrize(
    ("error", "status"), [(DivergedError("no number"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_does_not_end_well_says_so(
    error: BaseException, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_metrics, "START_DELAY_SECONDS", 60.0)

    with pytest.raises(type(error)):
        end_with(error)

    assert [run.info.status for run in the_runs()] == [status]


def test_a_training_that_is_over_at_once_is_left_to_registration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_metrics, "START_DELAY_SECONDS", 60.0)

    with LiveMetrics(JOB, "key") as told:
        told.callbacks.on_step(step(1))
        told.callbacks.on_epoch(epoch(0))
    with LiveMetrics(JOB, "never trained, for the store has it"):
        pass

    assert the_runs() == []


def test_an_outage_is_said_once_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    working = MlflowClient().tracking_uri
    monkeypatch.setattr(live_metrics, "RETRY_SECONDS", 0.01)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    with caplog.at_level(logging.WARNING), LiveMetrics(JOB, "key") as told:
        told.callbacks.on_step(step(1))
        told.callbacks.on_epoch(epoch(0))
        last = time.monotonic() + 60
        while not told.warned and time.monotonic() < last:
            time.sleep(0.01)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", working)
        train(told, range(1, 2))

    said = [record for record in caplog.records if "MLflow is not told" in record.getMessage()]
    assert len(said) == 1
    [run] = the_runs()
    assert steps_of(run, "training_loss") == [0, 1]


def test_the_first_report_takes_up_the_run_of_the_training_and_a_second_does_not() -> None:
    with LiveMetrics(JOB, "key") as told:
        train(told, range(2))
    [trained] = the_runs()

    first = runs.open_report(trained.info.experiment_id, "r1", model_key="key", run_name="waves")
    second = runs.open_report(trained.info.experiment_id, "r2", model_key="key", run_name="waves")
    again = runs.open_report(trained.info.experiment_id, "r1", model_key="key", run_name="waves")

    assert first == again == trained.info.run_id
    assert second != first
    with LiveMetrics(JOB, "key") as anew:
        train(anew, range(1))
    assert anew.run.run_id not in {first, second}


RECORD = mlflow_client.RunRecord(
    params={},
    metrics={},
    curves={},
    tags={},
    dataset_name="waves",
    dataset_hash="0" * 32,
    dataset_facts="{}",
    files=(),
)


def test_what_was_told_live_is_not_written_twice() -> None:
    with LiveMetrics(JOB, "key") as told:
        train(told, range(2))

    curves = {"training_loss": [0.5, 0.25, 0.2]}
    mlflow_client.write_run(told.run.run_id, replace(RECORD, curves=curves))

    [run] = the_runs()
    assert steps_of(run, "training_loss") == [0, 1, 2]


def test_a_killed_run_goes_on_after_its_job_was_edited() -> None:
    with LiveMetrics(JOB, "key") as told:
        train(told, range(1))
    mlflow_client.write_run(told.run.run_id, replace(RECORD, params={"tuning.n_trials": "5"}))

    edited = {"tuning.n_trials": "9", "gate.metric": "auto"}
    mlflow_client.write_run(told.run.run_id, replace(RECORD, params=edited, tags={"job": "new"}))

    [run] = the_runs()
    assert run.data.params == {"tuning.n_trials": "5", "gate.metric": "auto"}
    assert run.data.tags["job"] == "new"
