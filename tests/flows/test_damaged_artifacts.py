"""A damaged artifact is never trained on: the run that opens it makes it again, and says so."""

import logging
import os
from pathlib import Path

import pytest

from flows.job.job import Job, load_job
from flows.retrain import retrain
from flows.runtime.damaged_artifacts import remake_damaged
from tasks.dataset.rowset import open_rows
from tasks.errors import DamagedArtifactError, OstinatoError
from tasks.storage.artifacts import local_dir
from tasks.storage.store import StoreConfig
from tests.support.pipeline import prepare_features, train_job
from tests.support.sample_jobs import WAVES, make_waves, write_job

QUICK = {"training.epochs": 1, "training.folds": 1, "model.parallel_branch": "none"}


@pytest.fixture
def small_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_waves(120).write_parquet("waves.parquet")
    return write_job(tmp_path, WAVES)


def run(path: Path) -> str:
    """Make all artifacts up to the model, open each, and return the hash of the features."""
    job = load_job(path, QUICK)
    return remake_damaged(job.store, lambda: run_stages(job))


def run_stages(job: Job) -> str:
    store, snapshot, accepted, features = prepare_features(job)
    candidate = train_job(job, features, store)
    open_rows(store, accepted)
    for artifact in (snapshot, accepted, features, candidate):
        local_dir(store, artifact)
    return features.content_hash


def list_files(stage: str) -> list[Path]:
    """Return the files of a stage's artifacts, without their manifests."""
    paths = sorted(Path(f".ostinato/store/{stage}").rglob("*"))
    return [path for path in paths if path.is_file() and path.name != "manifest.json"]


def flip_bit(path: Path) -> None:
    """Flip one bit in the middle of a file, whose size and time stay the same."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def read_weights() -> list[bytes]:
    return [path.read_bytes() for path in list_files("train") if path.suffix == ".safetensors"]


def test_every_damaged_artifact_is_made_again_as_it_was(
    small_job: Path, caplog: pytest.LogCaptureFixture
) -> None:
    features_hash = run(small_job)
    weights = read_weights()
    for stage in ("part", "ingest", "validate", "featurize", "train"):
        damaged = list_files(stage)
        for path in damaged:
            flip_bit(path)
        caplog.clear()

        with caplog.at_level(logging.WARNING):
            assert run(small_job) == features_hash, stage

        assert read_weights() == weights, stage
        assert f"{stage}/{damaged[0].parts[3]} is made again" in caplog.text
        assert any(str(path) in caplog.text for path in damaged), stage


def test_rows_that_the_source_no_longer_has_are_kept(small_job: Path) -> None:
    run(small_job)
    [rows] = list_files("part")
    flip_bit(rows)
    Path("waves.parquet").unlink()

    with pytest.raises(OstinatoError, match=r"waves\.parquet"):
        run(small_job)

    assert rows.exists()


def test_what_is_damaged_again_after_it_was_made_again_is_an_error(tmp_path: Path) -> None:
    tried = []

    def find_damage() -> None:
        error = DamagedArtifactError.of("rows.parquet is damaged")
        error.stage, error.key = "part", "key"
        tried.append(error)
        raise error

    with pytest.raises(DamagedArtifactError, match=r"rows\.parquet is damaged"):
        remake_damaged(StoreConfig(uri=str(tmp_path / "store")), find_damage)

    assert len(tried) == 2


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_makes_damaged_features_again_before_it_trains_on_them(
    waves_job: Path, caplog: pytest.LogCaptureFixture
) -> None:
    retrain(str(waves_job), QUICK)
    [features] = [path for path in list_files("featurize") if path.name == "steps.parquet"]
    content = features.read_bytes()
    flip_bit(features)

    with caplog.at_level(logging.WARNING):
        outcome = retrain(str(waves_job), QUICK | {"training.epochs": 3})

    assert "steps.parquet is damaged" in caplog.text
    assert "made again" in caplog.text
    assert outcome.recomputed == ["featurize", "train", "evaluate", "register"]
    [again] = [path for path in list_files("featurize") if path.name == features.name]
    assert again.read_bytes() == content
