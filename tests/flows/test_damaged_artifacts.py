"""A damaged artifact is never trained on: the run that opens it makes it again, and says so."""

import logging
import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.retrain import retrain
from tasks.errors import StoreError

pytestmark = pytest.mark.usefixtures("prefect_server")

QUICK = {"training.epochs": 3, "training.folds": 1, "model.parallel_branch": "none"}


def list_files(stage: str) -> list[Path]:
    """Return the files of a stage's artifacts, and their manifests."""
    return sorted(path for path in Path(f".ostinato/store/{stage}").rglob("*") if path.is_file())


def flip_bit(path: Path) -> None:
    """Flip one bit in the middle of a file, whose size and time stay the same."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def read_weights() -> list[bytes]:
    return [path.read_bytes() for path in list_files("train") if path.suffix == ".safetensors"]


@pytest.mark.slow
def test_every_damaged_artifact_is_made_again_as_it_was(
    waves_job: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = retrain(str(waves_job), QUICK)
    weights = read_weights()
    for stage in ("part", "ingest", "validate", "featurize", "train", "evaluate"):
        damaged = [path for path in list_files(stage) if path.name != "manifest.json"]
        for path in damaged:
            flip_bit(path)
        caplog.clear()

        with caplog.at_level(logging.WARNING):
            again = retrain(str(waves_job), QUICK | {"gate.min_rows": len(stage)})

        assert again.metrics == first.metrics, stage
        assert read_weights() == weights, stage
        if stage not in {"ingest", "evaluate"}:
            # A snapshot's list and another gate's report are not opened by this run.
            assert "made again" in caplog.text, stage
            assert any(str(path) in caplog.text for path in damaged), stage


def test_damaged_features_are_made_again_before_they_are_trained_on(
    waves_job: Path, caplog: pytest.LogCaptureFixture
) -> None:
    retrain(str(waves_job), QUICK | {"training.epochs": 1})
    [features] = [path for path in list_files("featurize") if path.name == "steps.parquet"]
    content = features.read_bytes()
    flip_bit(features)

    with caplog.at_level(logging.WARNING):
        outcome = retrain(str(waves_job), QUICK)

    assert "steps.parquet is damaged" in caplog.text
    assert "made again" in caplog.text
    assert outcome.recomputed == ["featurize", "train", "evaluate", "register"]
    assert [p.read_bytes() for p in list_files("featurize") if p.name == features.name] == [content]
    assert len(MlflowClient().search_model_versions("name = 'waves'")) == 2


def test_rows_that_the_source_no_longer_has_are_not_made_again(waves_job: Path) -> None:
    retrain(str(waves_job), QUICK)
    [rows] = [path for path in list_files("part") if path.suffix == ".parquet"]
    flip_bit(rows)
    Path("waves.parquet").rename("away.parquet")

    with pytest.raises(StoreError, match=r"rows\.parquet is damaged|waves\.parquet"):
        retrain(str(waves_job), QUICK)

    assert rows.exists()
