"""Every file and package that an input is read with is part of the key of its features."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import spacy

from flows.job.job import Job, load_job
from tasks.errors import JobError
from tasks.features import input_files
from tasks.records import Features
from tests.support.pipeline import prepare_features
from tests.support.sample_jobs import write_job

IMAGES = {
    "kind": "image",
    "column": "cell",
    "sequence": "backbone",
    "backbone": "test_resnet",
    "pretrained_weights": "weights.safetensors",
}

TEXTS = {"kind": "text", "column": "cell"}


def make_features(home: Path, entry: dict[str, Any]) -> Features:
    draw = np.random.default_rng(0)
    if entry["kind"] == "image":
        cells: list[Any] = draw.random((60, 4, 4)).tolist()
    else:
        cells = [f"good film {number}" for number in range(60)]
    labels = ["a", "b"] * 30
    pl.DataFrame({"cell": cells, "label": labels}).write_parquet(home / "rows.parquet")
    return prepare_features(load_entry(home, entry)).features


def load_entry(home: Path, entry: dict[str, Any]) -> Job:
    job = {
        "name": "rows",
        "source": {"uri": "rows.parquet"},
        "inputs": [entry],
        "target": {"column": "label", "kind": "category"},
        "contract": "contract.yaml",
    }
    return load_job(write_job(home, job))


def save_pipeline(folder: Path, vector: float) -> None:
    pipeline = spacy.blank("en")
    for word in ("good", "film"):
        pipeline.vocab.set_vector(word, np.full(4, vector, np.float32))
    pipeline.to_disk(folder)


def test_replaced_weights_of_a_backbone_make_the_features_again(home: Path) -> None:
    weights = home / "weights.safetensors"
    weights.write_bytes(b"first")
    first, again = (make_features(home, IMAGES) for _ in range(2))

    weights.write_bytes(b"other")
    changed = make_features(home, IMAGES)

    assert again.key == first.key
    assert changed.key != first.key
    assert changed.facts.files_hash != first.facts.files_hash


def test_missing_weights_of_a_backbone_are_an_error_of_the_job(home: Path) -> None:
    with pytest.raises(JobError, match=r"inputs\.pretrained_weights: .*weights\.safetensors"):
        make_features(home, IMAGES)


def test_a_pipeline_of_spacy_that_is_replaced_makes_the_features_again(home: Path) -> None:
    entry = TEXTS | {"pretrained_embeddings": "pipeline"}
    save_pipeline(home / "pipeline", 1.0)
    first = make_features(home, entry)
    save_pipeline(home / "pipeline", 1.0)
    copy = make_features(home, entry)

    save_pipeline(home / "pipeline", 2.0)
    changed = make_features(home, entry)

    assert copy.key == first.key
    assert changed.key != first.key


@pytest.mark.parametrize(
    ("entry", "packages"),
    [
        (TEXTS, ["tokenizers"]),
        (TEXTS | {"tokenizer": "byte"}, []),
        (TEXTS | {"tokenizer": "word"}, ["spacy"]),
        (TEXTS | {"tokenizer": "word", "language": "zh"}, ["jieba", "spacy"]),
        (TEXTS | {"pretrained_embeddings": "t.txt"}, ["spacy", "tokenizers"]),
        ({"kind": "image", "column": "cell"}, ["pillow"]),
        ({"kind": "audio", "column": "cell"}, ["scipy", "soundfile", "soxr"]),
        ({"kind": "series", "column": "cell"}, []),
    ],
)
def test_packages_are_those_that_read_the_cells(
    home: Path, entry: dict[str, Any], packages: list[str]
) -> None:
    job = load_entry(home, entry)

    assert list(input_files.list_reading_packages(job.layout, job.target)) == packages


def test_another_version_of_a_package_makes_the_features_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = TEXTS | {"tokenizer": "word"}
    first = make_features(home, entry)

    monkeypatch.setattr(input_files, "find_installed_version", lambda _: "99.0")

    assert make_features(home, entry).key != first.key
