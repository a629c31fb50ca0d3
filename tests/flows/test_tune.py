"""`ostinato tune` from end to end: a real server, real MLflow, and the job file that it writes."""

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
from tests.support.sample_jobs import build_environment, make_waves, run_ostinato, write_job
from tests.support.tuning_fixtures import SEARCHED


@pytest.fixture
def searched_job(home: Path) -> Path:
    make_waves(160).write_parquet(home / "waves.parquet")
    return write_job(home, SEARCHED)


@pytest.mark.usefixtures("prefect_server")
def test_a_search_leaves_nested_runs_plots_and_a_job_file(searched_job: Path) -> None:
    result = tune(str(searched_job))

    client = MlflowClient()
    experiment = client.get_experiment_by_name("waves").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    trials = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert len(trials) == sum(result.trials.values()) == 4
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= set(PLOT_FILES)
    assert parent.data.metrics["best_loss"] == result.best_value
    assert all(client.get_metric_history(run.info.run_id, "validation_loss") for run in trials)
    tuned = load_job(Path(result.file))
    assert tuned.settings == load_job(searched_job).settings.with_values(result.best_params)


@pytest.mark.usefixtures("prefect_server")
def test_a_repeated_search_adds_no_runs_and_reports_the_same(searched_job: Path) -> None:
    first = tune(str(searched_job), trials=2)

    again = tune(str(searched_job), trials=2)

    experiment = MlflowClient().get_experiment_by_name("waves").experiment_id
    assert len(MlflowClient().search_runs([experiment])) == 3
    assert (again.best_value, again.best_params) == (first.best_value, first.best_params)


def test_a_job_file_that_was_edited_is_not_overwritten(searched_job: Path) -> None:
    edited = build_tuned_path(searched_job)
    edited.write_text("name: mine\n", encoding="utf-8")

    with pytest.raises(JobError, match="was written or changed by a person"):
        tune.fn(str(searched_job))

    assert edited.read_text(encoding="utf-8") == "name: mine\n"


@pytest.mark.parametrize(
    ("tuning", "message"),
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
        ({"search_space": {"training.seed": [1, 2]}}, "a seed that scores better by chance"),
        ({"search_space": {"head.label_smoothing": [0.0, 0.1]}}, "losses would not compare"),
        ({"metric": "mae"}, "'mae' does not fit a target of kind category"),
        ({"n_trials": 0}, "tuning.n_trials: 0 is too small"),
        ({"budget": "soon"}, "tuning.budget"),
    ],
)
def test_an_invalid_search_space_is_rejected_before_anything_runs(
    home: Path, tuning: dict[str, Any], message: str
) -> None:
    path = write_job(home, SEARCHED | {"tuning": tuning})

    with pytest.raises(JobError) as error:
        load_job(path)

    assert message in str(error.value)


@pytest.mark.slow
def test_a_killed_search_resumes(searched_job: Path) -> None:
    home = searched_job.parent
    settings = SEARCHED | {"training": SEARCHED["training"] | {"epochs": 30}}
    searched_job.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "flows.cli.main", "tune", searched_job.name, "--trials", "6"]
    process = subprocess.Popen(command, cwd=home, env=build_environment(), start_new_session=True)
    # Only finished trials have a manifest; other folders are temporary.
    while len(list((home / ".ostinato/store/trial").glob("*/manifest.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("trial.json")}
    done = run_ostinato(home, "tune", searched_job.name, "--trials", "6", "--json")

    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout.splitlines()[-1])["trials"].values()) == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert run_ostinato(home, "run", "waves.tuned.yaml").returncode == 0
