"""A missing package or file is an error of the job, not of the data."""

import sys
from pathlib import Path

import polars as pl
import pytest

from flows.job.job import Job, load_job
from models.features.text.words import build_word_tokenizer
from models.learning.loop import Callbacks
from tasks.errors import JobError
from tasks.training.train import estimate_epoch_seconds, make_candidate
from tests.support.pipeline import prepare_features
from tests.support.sample_jobs import write_job


def load_small_job(folder: Path, kind: str, column: list, **settings: dict[str, object]) -> Job:
    pl.DataFrame({"x": column, "label": ["a", "b"] * 30}).write_parquet(folder / "w.parquet")
    job = {
        "name": "small",
        "source": {"uri": str(folder / "w.parquet")},
        "inputs": [{"column": "x", "kind": kind} | settings.get("input", {})],
        "target": {"column": "label", "kind": "category"},
        "model": {"hidden_size": 8, "parallel_branch": "none"} | settings.get("model", {}),
        "training": {"epochs": 1, "folds": 1},
        "contract": str(folder / "contract.yaml"),
        "store": {"uri": str(folder / "store")},
    }
    return load_job(write_job(folder, job))


def test_weights_that_cannot_be_read_are_an_error_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [[float(row), 1.0, 2.0] for row in range(60)]
    model = {"cell": "lstm", "pretrained_weights": str(tmp_path / "w.keras")}
    (tmp_path / "w.keras").write_bytes(b"no model")
    monkeypatch.setitem(sys.modules, "keras", None)
    job = load_small_job(tmp_path, "series", waves, model=model)
    store, _, _, features = prepare_features(job)
    message = "Keras is not installed: "

    with pytest.raises(JobError, match=message):
        make_candidate(
            features, store, **job.settings._asdict(), callbacks=Callbacks(lambda _: None)
        )
    with pytest.raises(JobError, match=message):
        estimate_epoch_seconds(
            features, store, model=job.model, head=job.head, training=job.training
        )


def test_a_missing_package_is_an_error_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"a text of {row} words" for row in range(60)]
    job = load_small_job(tmp_path, "text", texts, input={"tokenizer": "word"})
    monkeypatch.setitem(sys.modules, "spacy", None)
    build_word_tokenizer.cache_clear()

    with pytest.raises(JobError, match=r"needs spaCy, which is missing; .* -m pip install"):
        prepare_features(job)
