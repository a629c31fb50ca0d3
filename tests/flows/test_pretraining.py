"""A job with pretraining: what `check` says, and what the version and its run show."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.commands.check import check_job, format_check
from flows.job.job import Job, load_job
from tests.support.pipeline import run_pipeline
from tests.support.sample_jobs import WAVES, make_waves, write_job


@pytest.fixture
def job(home: Path) -> Job:
    """A job of one network that is pretrained."""
    make_waves(120).write_parquet("waves.parquet")
    settings = {"epochs": 2, "folds": 1, "pretrain": "next_step", "budget": 100.0}
    overrides = {f"training.{name}": value for name, value in settings.items()}
    return load_job(write_job(home, WAVES), overrides | {"model.parallel_branch": "none"})


def test_check_states_the_time_of_pretraining(job: Job) -> None:
    result = check_job(job)

    assert 0 < result["pretraining_seconds_at_most"] <= 30.0
    assert result["pretraining_seconds_at_most"] < result["training_seconds_at_most"]
    assert "pretraining: " in format_check(result)


def test_a_version_says_what_it_started_from(job: Job) -> None:
    _, version = run_pipeline(job)

    tags = MlflowClient().get_model_version("waves", version.version).tags
    started = json.loads(tags["ostinato.pretraining"])
    assert (started["metric"], started["start"]) == ("mse", "random weights")
    assert started["plan"]["epochs"] == 2
    history = MlflowClient().get_metric_history(version.run_id, "pretrain_mse")
    assert [each.step for each in history] == [0, 1]
    assert min(each.value for each in history) == pytest.approx(started["value"])
    assert len(MlflowClient().get_metric_history(version.run_id, "pretrain_loss")) == 2
