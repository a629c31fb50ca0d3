"""The gate between a real store and a real registry, stage by stage, without a server."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from flows.job.job import load_job
from models.features.splitting.training_rows import FILE
from tasks.errors import RegistryDownError
from tasks.storage.artifacts import local_dir
from tasks.storage.store import open_store
from tests.support.pipeline import run
from tests.support.sample_jobs import WAVES, waves, write_job


def champion_of(name: str) -> str:
    return str(MlflowClient().get_model_version_by_alias(name, "champion").version)


@pytest.mark.slow
def test_the_gate_decides_and_the_registry_keeps_the_evidence(home: Path, monkeypatch) -> None:
    waves(300).write_parquet("waves.parquet")
    path = write_job(home, WAVES)

    first, one = run(load_job(path))
    second, two = run(load_job(path, {"training.seed": 8}))

    assert (one.decision, two.decision) == ("promote", "keep")
    assert "no champion yet" in one.reason
    gate = second.facts.gate
    assert gate.comparisons[0].name == "champion waves v1"
    assert gate.excluded_rows == 0
    assert gate.holdout.hash == first.facts.gate.holdout.hash
    assert (first.facts.gate.holdout.uses, gate.holdout.uses) == (1, 2)
    bundle = Path(download_artifacts(artifact_uri="models:/waves/1")) / "artifacts" / "bundle"
    assert (bundle / FILE).exists()
    files = {file.path for file in MlflowClient().list_artifacts(two.run_id)}
    assert {"gate.json", "gate.png", "report.json"} <= files
    folder = local_dir(open_store(load_job(path).store), second)
    assert json.loads((folder / "gate.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(asdict(gate))
    )

    # Every row of another split's test that the champion has seen is left out of it.
    third, three = run(load_job(path, {"split.by": "stratified", "split.test": 0.5}))
    left = third.facts.gate
    assert left.excluded_rows > 0
    assert left.rows + left.excluded_rows == third.facts.rows
    assert three.decision != "promote"

    _, four = run(load_job(path, {"training.seed": 9, "gate.min_rows": 1000}))
    tags = MlflowClient().get_model_version("waves", four.version).tags
    assert four.decision == tags["ostinato.decision"] == "needs-approval"
    assert champion_of("waves") == "1"

    frame = pl.read_parquet("waves.parquet")
    frame.with_columns(pl.col("label").str.replace("kind", "type")).write_parquet("waves.parquet")
    Path(load_job(path).contract_path).unlink()
    _, five = run(load_job(path))
    assert five.decision == "not-comparable"
    assert champion_of("waves") == "1"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(RegistryDownError):
        run(load_job(path, {"training.seed": 10}))
