"""The gate between a real store and a real registry, stage by stage, without a server."""

import json
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from samples import WAVES, waves, write_job

from flows.home import artifact_root
from flows.job import Job, job_text, load_job
from models.features.learned import FILE
from models.learning.loop import Watch
from tasks import versions
from tasks.artifacts import Accepted, Report, Version
from tasks.errors import RegistryDownError
from tasks.evaluate import make_report
from tasks.featurize import make_features
from tasks.ingest import take_snapshot
from tasks.publish import local_dir
from tasks.register import Origin, register_candidate
from tasks.store import open_store
from tasks.train import make_candidate
from tasks.validate import draft, hold


def run(job: Job) -> tuple[Report, Version]:
    """What the flow does, without Prefect."""
    store = open_store(job.store)
    snapshot = take_snapshot(job.source, store)
    contract = draft(
        snapshot,
        store,
        path=Path(job.contract_path),
        name=job.name,
        needed=job.needed,
        target=job.target.column,
    )
    accepted: Accepted = hold(snapshot, contract, store)
    features = make_features(accepted, store, layout=job.layout, target=job.target, split=job.split)
    candidate = make_candidate(
        features,
        store,
        model=job.model,
        head=job.head,
        training=job.training,
        watch=Watch(lambda _: None),
    )
    champion = versions.find_champion(job.name)
    report = make_report(
        candidate,
        features=features,
        accepted=accepted,
        champion=champion,
        champion_dir=versions.fetch_bundle(champion) if champion else None,
        gate=job.gate,
        evaluation=job.evaluation,
        store=store,
    )
    version = register_candidate(
        Origin(snapshot, accepted, features, candidate, report),
        store,
        name=job.name,
        params={},
        job_text=job_text(job),
        artifact_root=Path(artifact_root()),
    )
    return report, version


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
    gate = second.facts["gate"]
    assert gate["rivals"][0]["name"] == "champion waves v1"
    assert gate["excluded_rows"] == 0
    assert gate["window"]["hash"] == first.facts["gate"]["window"]["hash"]
    assert (first.facts["gate"]["window"]["uses"], gate["window"]["uses"]) == (1, 2)
    bundle = Path(download_artifacts(artifact_uri="models:/waves/1")) / "artifacts" / "bundle"
    assert (bundle / FILE).exists()
    files = {file.path for file in MlflowClient().list_artifacts(two.run_id)}
    assert {"gate.json", "gate.png", "report.json"} <= files
    folder = local_dir(open_store(load_job(path).store), second)
    assert json.loads((folder / "gate.json").read_text(encoding="utf-8")) == gate

    # Every row of another split's test that the champion has seen is left out of it.
    third, three = run(load_job(path, {"split.by": "stratified", "split.test": 0.5}))
    left = third.facts["gate"]
    assert left["excluded_rows"] > 0
    assert left["rows"] + left["excluded_rows"] == third.facts["rows"]
    assert three.decision != "promote"

    _, four = run(load_job(path, {"training.seed": 9, "gate.minimum_rows": 1000}))
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
