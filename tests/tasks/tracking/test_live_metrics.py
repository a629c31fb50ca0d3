"""Live metrics in MLflow during training: one run for a model, despite kills and outages."""

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
    """Return the URI of one database for all tests here: creating its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def shorten_delays(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for run in list_runs():
        MlflowClient().delete_run(run.info.run_id)
    monkeypatch.setattr(live_metrics, "START_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(live_metrics, "SEND_SECONDS", 0.01)


def build_step(done: int) -> StepResult:
    return StepResult(done, 100, 64, torch.tensor(0.5))


def build_epoch(number: int) -> EpochResult:
    return EpochResult(number, 0.5 / (1 + number), 0.6 / (1 + number), 0.9, "macro_f1", 0.002, 0.1)


def list_runs() -> list[Run]:
    experiment = MlflowClient().get_experiment_by_name("waves")
    return MlflowClient().search_runs([experiment.experiment_id]) if experiment else []


def list_steps(run: Run, name: str) -> list[int]:
    return [metric.step for metric in MlflowClient().get_metric_history(run.info.run_id, name)]


def wait_until_sent(metrics: LiveMetrics) -> None:
    """Wait until the thread has sent all waiting metrics."""
    deadline = time.monotonic() + 60
    while metrics.run is None or metrics.pending:
        assert time.monotonic() < deadline
        metrics.wake.set()
        time.sleep(0.01)


def train(metrics: LiveMetrics, epochs: range) -> None:
    for number in epochs:
        metrics.callbacks.on_step(build_step(number + 1))
        metrics.callbacks.on_epoch(build_epoch(number))
    wait_until_sent(metrics)


def test_metrics_are_sent_during_training_and_the_run_is_closed_at_its_end() -> None:
    with LiveMetrics(JOB, "key") as metrics:
        train(metrics, range(3))
        [during] = list_runs()
        train(metrics, range(3, 5))

    [after] = list_runs()
    assert (during.info.status, after.info.status) == ("RUNNING", "FINISHED")
    assert during.data.metrics["training_loss"] == pytest.approx(0.5 / 3)
    assert list_steps(after, "validation_macro_f1") == [0, 1, 2, 3, 4]
    assert list_steps(after, "learning_rate") == [0, 1, 2, 3, 4]
    assert {
        "padding_share",
        "sequences_per_second",
        "step_loss",
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/process_memory_usage_megabytes",
    } <= set(after.data.metrics)


def test_pretraining_has_curves_of_its_own_in_the_run_of_the_training() -> None:
    with LiveMetrics(JOB, "key") as metrics:
        before = metrics.callbacks.pretraining
        assert before is not None
        for number in range(2):
            before.on_step(build_step(number + 1))
            before.on_epoch(build_epoch(number)._replace(metric=90.0, metric_name="perplexity"))
        train(metrics, range(3))

    [run] = list_runs()
    assert list_steps(run, "pretrain_loss") == list_steps(run, "pretrain_perplexity") == [0, 1]
    assert run.data.metrics["pretrain_perplexity"] == 90.0
    assert list_steps(run, "training_loss") == [0, 1, 2]


@pytest.mark.parametrize("first", [2, 1], ids=["at the checkpoint", "before the checkpoint"])
def test_a_killed_training_is_resumed_in_the_same_run(first: int) -> None:
    killed_metrics = LiveMetrics(JOB, "key")
    train(killed_metrics, range(2))

    with LiveMetrics(JOB, "key") as resumed_metrics:
        train(resumed_metrics, range(first, 4))

    killed_metrics.finished.set()
    [run] = list_runs()
    assert run.info.status == "FINISHED"
    assert list_steps(run, "training_loss") == [0, 1, 2, 3]


def test_another_model_has_its_own_run() -> None:
    for key in ("one", "other"):
        with LiveMetrics(JOB, key) as metrics:
            train(metrics, range(1))

    assert {run.data.tags["ostinato.model_key"] for run in list_runs()} == {"one", "other"}


def fail_with(error: BaseException) -> None:
    with LiveMetrics(JOB, "key") as metrics:
        metrics.callbacks.on_step(build_step(1))
        raise error


@pytest.mark.parametrize(
    ("error", "status"), [(DivergedError("no number"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_the_status_of_a_failed_or_interrupted_training_is_recorded(
    error: BaseException, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_metrics, "START_DELAY_SECONDS", 60.0)

    with pytest.raises(type(error)):
        fail_with(error)

    assert [run.info.status for run in list_runs()] == [status]


def test_a_training_shorter_than_the_start_delay_has_no_live_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_metrics, "START_DELAY_SECONDS", 60.0)

    with LiveMetrics(JOB, "key") as metrics:
        metrics.callbacks.on_step(build_step(1))
        metrics.callbacks.on_epoch(build_epoch(0))
    with LiveMetrics(JOB, "not trained, because it is in the store"):
        pass

    assert list_runs() == []


def test_an_outage_is_logged_once_and_training_continues(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    working = MlflowClient().tracking_uri
    monkeypatch.setattr(live_metrics, "RETRY_SECONDS", 0.01)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    with caplog.at_level(logging.WARNING), LiveMetrics(JOB, "key") as metrics:
        metrics.callbacks.on_step(build_step(1))
        metrics.callbacks.on_epoch(build_epoch(0))
        deadline = time.monotonic() + 60
        while not metrics.has_warned and time.monotonic() < deadline:
            time.sleep(0.01)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", working)
        train(metrics, range(1, 2))

    warnings = [
        record for record in caplog.records if "does not receive its metrics" in record.getMessage()
    ]
    assert len(warnings) == 1
    [run] = list_runs()
    assert list_steps(run, "training_loss") == [0, 1]


def test_the_first_report_continues_the_run_of_the_training_and_a_second_does_not() -> None:
    with LiveMetrics(JOB, "key") as metrics:
        train(metrics, range(2))
    [training_run] = list_runs()

    first = runs.open_report_run(
        training_run.info.experiment_id, "r1", model_key="key", run_name="waves"
    )
    second = runs.open_report_run(
        training_run.info.experiment_id, "r2", model_key="key", run_name="waves"
    )
    again = runs.open_report_run(
        training_run.info.experiment_id, "r1", model_key="key", run_name="waves"
    )

    assert first == again == training_run.info.run_id
    assert second != first
    with LiveMetrics(JOB, "key") as new_metrics:
        train(new_metrics, range(1))
    assert new_metrics.run.run_id not in {first, second}


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


def test_metrics_that_were_sent_live_are_not_written_twice() -> None:
    with LiveMetrics(JOB, "key") as metrics:
        train(metrics, range(2))

    curves = {"training_loss": [0.5, 0.25, 0.2]}
    mlflow_client.write_run(metrics.run.run_id, replace(RECORD, curves=curves))

    [run] = list_runs()
    assert list_steps(run, "training_loss") == [0, 1, 2]


def test_a_killed_run_is_continued_after_its_job_was_edited() -> None:
    with LiveMetrics(JOB, "key") as metrics:
        train(metrics, range(1))
    mlflow_client.write_run(metrics.run.run_id, replace(RECORD, params={"tuning.n_trials": "5"}))

    edited = {"tuning.n_trials": "9", "gate.metric": "auto"}
    mlflow_client.write_run(metrics.run.run_id, replace(RECORD, params=edited, tags={"job": "new"}))

    [run] = list_runs()
    assert run.data.params == {"tuning.n_trials": "5", "gate.metric": "auto"}
    assert run.data.tags["job"] == "new"


def test_each_network_of_an_ensemble_has_its_own_curves() -> None:
    with LiveMetrics(JOB, "key") as metrics:
        for name, epochs in (("1_gru/network_1", 3), ("1_gru/network_2", 2)):
            metrics.callbacks.on_begin(name)
            train(metrics, range(epochs))

    [run] = list_runs()
    assert list_steps(run, "1_gru/network_1/validation_loss") == [0, 1, 2]
    assert list_steps(run, "1_gru/network_2/validation_loss") == [0, 1]
    assert "validation_loss" not in run.data.metrics
