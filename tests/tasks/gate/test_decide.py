"""The gate with a real store and a real registry, stage by stage, without a server."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from flows.job.job import load_job
from models.features.splitting.training_rows import TRAINING_ROWS_FILE
from tasks.errors import RegistryDownError
from tasks.storage.artifacts import local_dir
from tasks.storage.store import open_store
from tests.support.pipeline import run_pipeline
from tests.support.sample_jobs import WAVES, make_waves, write_job


def read_champion_version(name: str) -> str:
    return str(MlflowClient().get_model_version_by_alias(name, "champion").version)


@pytest.mark.slow
def test_the_gate_decides_and_the_registry_stores_the_evidence(home: Path, monkeypatch) -> None:
    make_waves(300).write_parquet("waves.parquet")
    path = write_job(home, WAVES)

    first, one = run_pipeline(load_job(path))
    second, two = run_pipeline(load_job(path, {"training.seed": 8}))

    assert (one.decision, two.decision) == ("promote", "keep")
    assert "no champion yet" in one.reason
    gate = second.facts.gate
    assert gate.comparisons[0].name == "champion waves v1"
    assert gate.excluded_rows == 0
    assert gate.holdout.hash == first.facts.gate.holdout.hash
    assert (first.facts.gate.holdout.uses, gate.holdout.uses) == (1, 2)
    bundle = Path(download_artifacts(artifact_uri="models:/waves/1")) / "artifacts" / "bundle"
    assert (bundle / TRAINING_ROWS_FILE).exists()
    files = {file.path for file in MlflowClient().list_artifacts(two.run_id)}
    assert {"gate.json", "gate.svg", "report.json"} <= files
    folder = local_dir(open_store(load_job(path).store), second)
    assert json.loads((folder / "gate.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(asdict(gate))
    )

    # Test rows of another split that the champion was trained on are excluded.
    third, three = run_pipeline(load_job(path, {"split.by": "stratified", "split.test": 0.5}))
    other_gate = third.facts.gate
    assert other_gate.excluded_rows > 0
    assert other_gate.rows + other_gate.excluded_rows == third.facts.rows
    assert three.decision != "promote"

    _, four = run_pipeline(load_job(path, {"training.seed": 9, "gate.min_rows": 1000}))
    tags = MlflowClient().get_model_version("waves", four.version).tags
    assert four.decision == tags["ostinato.decision"] == "needs-approval"
    assert read_champion_version("waves") == "1"

    frame = pl.read_parquet("waves.parquet")
    frame.with_columns(pl.col("label").str.replace("kind", "type")).write_parquet("waves.parquet")
    Path(load_job(path).contract_path).unlink()
    _, five = run_pipeline(load_job(path))
    assert five.decision == "not-comparable"
    assert read_champion_version("waves") == "1"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(RegistryDownError):
        run_pipeline(load_job(path, {"training.seed": 10}))
