"""Scoring as a flow and as a command: over a real run's version, killed, repeated."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import tasks.dataset.rowset
from flows.cli.main import main
from flows.retrain import retrain
from flows.score import score
from tasks.errors import RegistryError
from tests.support.sample_jobs import WAVES, environment, ostinato, waves, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")

JOB = WAVES | {"split": {"id": "id"}, "gate": {"bootstrap_samples": 200, "require_baseline": False}}


def job_of(home: Path, **more: object) -> Path:
    waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, JOB | more)


def answers(folder: str) -> pl.DataFrame:
    return pl.read_parquet(Path(folder) / "part-*.parquet")


def test_a_job_that_no_version_was_trained_for_says_so(home: Path) -> None:
    job = job_of(home)

    with pytest.raises(RegistryError, match="no version 'champion'"):
        score(str(job))

    assert not (home / ".ostinato" / "store" / "scores").exists()


def test_the_command_takes_no_other_choice_of_rows() -> None:
    done = CliRunner().invoke(main, ["score", "gone.yaml", "--rows", "some"])

    assert done.exit_code == 2
    assert "some" in done.output


@pytest.mark.slow
def test_the_champion_answers_the_jobs_own_source_and_another(home: Path) -> None:
    job = job_of(home)
    retrain(str(job))
    new = waves(50, seed=7).with_columns(wave=pl.when(pl.col("id") != 3).then("wave"))
    new.drop("label").write_parquet("new.parquet")

    own, again = score(str(job)), score(str(job))
    other = score("waves", "new.parquet", "1", "elsewhere")

    assert (own.recomputed, again.recomputed) == (True, False)
    assert own.folder == again.folder
    assert Path(own.folder).parent == home / ".ostinato" / "store" / "scores" / "waves"
    told = answers(own.folder)
    assert told["id"].to_list() == list(range(300))
    assert own.facts.quality.rows == (~told["in_training"]).sum() > 20
    assert Path(other.folder).parent == home / "elsewhere"
    assert (other.facts.rows, other.facts.failed) == (50, 1)
    assert other.facts.quality is None


@pytest.mark.slow
def test_the_jobs_own_section_says_what_is_scored_and_where(home: Path) -> None:
    wanted = {"source": "new.parquet", "output": "answers", "passthrough_columns": ["id", "note"]}
    job = job_of(home, score=wanted)
    retrain(str(job))
    waves(20, seed=7).with_columns(note=pl.lit("n")).write_parquet("new.parquet")

    done = ostinato(home, "score", str(job), "--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"model", "version", "run_id", "folder", "facts", "recomputed"}
    assert Path(found["folder"]).parent == home / "answers"
    assert set(answers(found["folder"])["note"]) == {"n"}


SLOWLY = """
import sys, time
import tasks.prediction.predict, tasks.dataset.rowset, tasks.scoring.output_dataset
from flows.environment import configure_environment
configure_environment()
tasks.dataset.rowset.FRAME_BYTES, tasks.scoring.output_dataset.PART_FRAMES = 1, 1
predict_frame = tasks.prediction.predict.predict_frame
def predict_slowly(request, frame):
    time.sleep(0.3)
    return predict_frame(request, frame)
tasks.prediction.predict.predict_frame = predict_slowly
from flows.score import score
score("waves.yaml")
"""


@pytest.mark.slow
def test_a_scoring_that_is_killed_goes_on_where_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(home)
    retrain(str(job))
    monkeypatch.setattr(tasks.dataset.rowset, "FRAME_BYTES", 1)
    whole = answers(score(str(job), output="whole").folder)
    mlflow = os.environ["MLFLOW_TRACKING_URI"]
    started = subprocess.Popen(
        [sys.executable, "-c", SLOWLY],
        env=environment() | {"MLFLOW_TRACKING_URI": mlflow},
        start_new_session=True,
    )
    scores = home / ".ostinato" / "store" / "scores" / "waves"
    deadline = time.monotonic() + 240
    while len(list(scores.glob(".v1-*/part-*.parquet"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    shown = [path.name for path in scores.iterdir() if not path.name.startswith(".")]

    done = subprocess.run(
        [sys.executable, "-c", SLOWLY.replace("time.sleep(0.3)", "pass")],
        env=environment() | {"MLFLOW_TRACKING_URI": mlflow},
        check=True,
    )

    assert done.returncode == 0
    assert shown == []
    [folder] = scores.glob("v1-*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["resumed_parts"] >= 3
    assert answers(str(folder)).equals(whole)
