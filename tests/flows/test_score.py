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
from tests.support.sample_jobs import WAVES, build_environment, make_waves, run_ostinato, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")

JOB = WAVES | {"split": {"id": "id"}, "gate": {"bootstrap_samples": 200, "require_baseline": False}}


def write_wave_job(home: Path, **sections: object) -> Path:
    make_waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, JOB | sections)


def read_predictions(folder: str) -> pl.DataFrame:
    return pl.read_parquet(Path(folder) / "part-*.parquet")


def test_scoring_a_job_without_a_version_is_an_error(home: Path) -> None:
    job = write_wave_job(home)

    with pytest.raises(RegistryError, match="no version 'champion'"):
        score(str(job))

    assert not (home / ".ostinato" / "store" / "scores").exists()


def test_the_command_rejects_other_row_choices() -> None:
    done = CliRunner().invoke(main, ["score", "gone.yaml", "--rows", "some"])

    assert done.exit_code == 2
    assert "some" in done.output


@pytest.mark.slow
def test_the_champion_scores_the_source_of_the_job_and_another(home: Path) -> None:
    job = write_wave_job(home)
    retrain(str(job))
    new = make_waves(50, seed=7).with_columns(wave=pl.when(pl.col("id") != 3).then("wave"))
    new.drop("label").write_parquet("new.parquet")

    own, again = score(str(job)), score(str(job))
    other = score("waves", "new.parquet", "1", "elsewhere")

    assert (own.recomputed, again.recomputed) == (True, False)
    assert own.folder == again.folder
    assert Path(own.folder).parent == home / ".ostinato" / "store" / "scores" / "waves"
    predictions = read_predictions(own.folder)
    assert predictions["id"].to_list() == list(range(300))
    assert own.facts.quality.rows == (~predictions["in_training"]).sum() > 20
    assert Path(other.folder).parent == home / "elsewhere"
    assert (other.facts.rows, other.facts.failed) == (50, 1)
    assert other.facts.quality is None


@pytest.mark.slow
def test_the_score_section_sets_the_source_and_the_output(home: Path) -> None:
    section = {
        "source": "new.parquet",
        "output": "predictions",
        "passthrough_columns": ["id", "note"],
    }
    job = write_wave_job(home, score=section)
    retrain(str(job))
    make_waves(20, seed=7).with_columns(note=pl.lit("n")).write_parquet("new.parquet")

    done = run_ostinato(home, "score", str(job), "--json")

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"model", "version", "run_id", "folder", "facts", "recomputed"}
    assert Path(result["folder"]).parent == home / "predictions"
    assert set(read_predictions(result["folder"])["note"]) == {"n"}


SLOW_SCORING = """
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
def test_a_killed_scoring_resumes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = write_wave_job(home)
    retrain(str(job))
    monkeypatch.setattr(tasks.dataset.rowset, "FRAME_BYTES", 1)
    whole = read_predictions(score(str(job), output="whole").folder)
    mlflow = os.environ["MLFLOW_TRACKING_URI"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_SCORING],
        env=build_environment() | {"MLFLOW_TRACKING_URI": mlflow},
        start_new_session=True,
    )
    scores = home / ".ostinato" / "store" / "scores" / "waves"
    deadline = time.monotonic() + 240
    while len(list(scores.glob(".v1-*/part-*.parquet"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    visible = [path.name for path in scores.iterdir() if not path.name.startswith(".")]

    done = subprocess.run(
        [sys.executable, "-c", SLOW_SCORING.replace("time.sleep(0.3)", "pass")],
        env=build_environment() | {"MLFLOW_TRACKING_URI": mlflow},
        check=True,
    )

    assert done.returncode == 0
    assert visible == []
    [folder] = scores.glob("v1-*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["resumed_parts"] >= 3
    assert read_predictions(str(folder)).equals(whole)
