"""`ostinato tune` from end to end: a real server, real MLflow, and the job file that it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from flows.job.job import load_job
from flows.results.tuned_job import build_tuned_path
from flows.tune import tune
from tasks.errors import JobError
from tasks.tuning.study_report import PLOT_FILES
from tests.support.sample_jobs import environment, ostinato, waves, write_job
from tests.support.tuning_fixtures import SEARCHED


@pytest.fixture
def searched_job(home: Path) -> Path:
    waves(160).write_parquet(home / "waves.parquet")
    return write_job(home, SEARCHED)


@pytest.mark.usefixtures("prefect_server")
def test_a_search_leaves_nested_runs_plots_and_a_job_file(searched_job: Path) -> None:
    found = tune(str(searched_job))

    client = MlflowClient()
    experiment = client.get_experiment_by_name("waves").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    trials = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert len(trials) == sum(found.trials.values()) == 4
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= set(PLOT_FILES)
    assert parent.data.metrics["best_loss"] == found.value
    assert all(client.get_metric_history(run.info.run_id, "validation_loss") for run in trials)
    tuned = load_job(Path(found.file))
    assert tuned.settings == load_job(searched_job).settings.with_values(found.chosen)


@pytest.mark.usefixtures("prefect_server")
def test_a_search_that_is_run_again_adds_no_runs_and_says_the_same(searched_job: Path) -> None:
    first = tune(str(searched_job), trials=2)

    again = tune(str(searched_job), trials=2)

    experiment = MlflowClient().get_experiment_by_name("waves").experiment_id
    assert len(MlflowClient().search_runs([experiment])) == 3
    assert (again.value, again.chosen) == (first.value, first.chosen)


def test_a_job_file_that_somebody_changed_is_not_written_over(searched_job: Path) -> None:
    theirs = build_tuned_path(searched_job)
    theirs.write_text("name: mine\n", encoding="utf-8")

    with pytest.raises(JobError, match="was written or changed by a person"):
        tune.fn(str(searched_job))

    assert theirs.read_text(encoding="utf-8") == "name: mine\n"


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        ({"search_space": {"model.hiden_size": [8]}}, "did you mean 'model.hidden_size'?"),
        (
            {"search_space": {"model.hidden_size": [8, "many"]}},
            "tuning.search_space.model.hidden_size: 'many' is not",
        ),
        ({"search_space": {"model.hidden_size": 8}}, "neither a list of values nor a range"),
        (
            {"search_space": {"model.dropout": {"low": 0.5, "high": 0.1}}},
            "low 0.5 is not below high 0.1",
        ),
        (
            {"search_space": {"model.dropout": {"low": 0.0, "hi": 1}}},
            "'hi' is not a key of a range",
        ),
        ({"search_space": {"model.dropout": [0.2, 1.5]}}, "1.5 does not fit"),
        (
            {"search_space": {"model.cell": ["tree-lstm"]}},
            "tuning.search_space.model.cell: 'tree-lstm' does not",
        ),
        ({"search_space": {"training.seed": [1, 2]}}, "a lucky seed is no better setting"),
        ({"search_space": {"head.label_smoothing": [0.0, 0.1]}}, "losses would not compare"),
        ({"metric": "mae"}, "'mae' does not fit a target of kind category"),
        ({"n_trials": 0}, "tuning.n_trials: 0 is too small"),
        ({"budget": "soon"}, "tuning.budget"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_before_anything_runs(
    home: Path, tuning: dict[str, Any], words: str
) -> None:
    path = write_job(home, SEARCHED | {"tuning": tuning})

    with pytest.raises(JobError) as refused:
        load_job(path)

    assert words in str(refused.value)


@pytest.mark.slow
def test_a_killed_search_resumes_where_it_was(searched_job: Path) -> None:
    home = searched_job.parent
    settings = SEARCHED | {"training": SEARCHED["training"] | {"epochs": 30}}
    searched_job.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "flows.cli.main", "tune", searched_job.name, "--trials", "6"]
    process = subprocess.Popen(command, cwd=home, env=environment(), start_new_session=True)
    # Only where trials are published: around it folders come and go.
    while len(list((home / ".ostinato/store/trial").glob("*/manifest.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("trial.json")}
    done = ostinato(home, "tune", searched_job.name, "--trials", "6", "--json")

    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout.splitlines()[-1])["trials"].values()) == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert ostinato(home, "run", "waves.tuned.yaml").returncode == 0
