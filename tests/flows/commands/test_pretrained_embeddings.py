"""A job with pretrained vectors: they are shown, part of the key, and needed in training alone."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from flows.commands.check import check_job, format_check
from flows.commands.reproduce import reproduce
from flows.job.job import Job, load_job
from models.bundle import load_bundle
from models.learning.loop import Callbacks
from tasks.errors import JobError
from tasks.registry import versions
from tasks.storage.artifacts import local_dir
from tasks.storage.store import StoreConfig, open_store
from tasks.training.train import make_candidate
from tests.support.embedding_tables import draw_vectors, write_text, write_token_table
from tests.support.pipeline import prepare_features, run_pipeline
from tests.support.sample_jobs import write_job

WORDS = ["good", "fine", "bad", "poor", "film", "play"]


def make_reviews(rows: int) -> pl.DataFrame:
    generator = np.random.default_rng(5)
    positive = generator.integers(0, 2, rows).astype(bool)
    first = [WORDS[generator.integers(2) + 2 * (not good)] for good in positive]
    second = [WORDS[generator.integers(4, 6)] for _ in range(rows)]
    texts = [f"{a} {b} {index}" for index, (a, b) in enumerate(zip(first, second, strict=True))]
    return pl.DataFrame({"text": texts, "label": np.where(positive, "yes", "no")})


def load_review_job(folder: Path, table: str, **options: object) -> Job:
    make_reviews(160).write_parquet("reviews.parquet")
    job = {
        "name": "reviews",
        "source": {"uri": "reviews.parquet"},
        "inputs": [{"column": "text", "kind": "text", "pretrained_embeddings": table, **options}],
        "target": {"column": "label", "kind": "category"},
        "contract": "contract.yaml",
        "model": {"hidden_size": 8, "parallel_branch": "none"},
        "training": {"epochs": 1, "folds": 1},
    }
    return load_job(write_job(folder, job))


def test_a_replaced_table_makes_the_features_again(home: Path) -> None:
    path = write_text(home / "glove.txt", draw_vectors(WORDS))
    job = load_review_job(home, "glove.txt")

    first, again = prepare_features(job).features, prepare_features(job).features
    write_text(path, draw_vectors(WORDS, seed=2))
    changed = prepare_features(job).features

    assert first.key == again.key
    assert first.recomputed
    assert not again.recomputed
    assert changed.key != first.key
    assert changed.recomputed
    assert changed.facts.files_hash != first.facts.files_hash


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_each_file_of_a_folder_counts(name: str, home: Path) -> None:
    write_token_table(home / "table", WORDS)
    job = load_review_job(home, "table")
    first = prepare_features(job).features
    (home / "table" / "README.md").write_text("read by nobody")
    assert prepare_features(job).features.key == first.key

    write_token_table(home / "other", [*WORDS[1:], WORDS[0]], dim=5)
    (home / "other" / name).rename(home / "table" / name)

    assert prepare_features(job).features.key != first.key


def test_check_tells_of_the_table(home: Path) -> None:
    write_text(home / "glove.txt", draw_vectors(WORDS[:5]))

    text = format_check(check_job(load_review_job(home, "glove.txt")))

    line = next(line for line in text.splitlines() if line.startswith("pretrained embeddings"))
    assert "glove.txt (text, 4 dimensions, 5 rows kept): vectors for 5 of" in line
    assert "none for play" in line


def test_a_missing_table_is_an_error_of_the_job(home: Path) -> None:
    with pytest.raises(JobError, match=r"inputs\.pretrained_embeddings: 'none\.txt' is neither"):
        prepare_features(load_review_job(home, "none.txt"))


def test_a_version_serves_without_its_table_and_is_reproduced_with_it(home: Path) -> None:
    path = write_text(home / "glove.txt", draw_vectors(WORDS))
    report, version = run_pipeline(load_review_job(home, "glove.txt"))
    store = open_store(StoreConfig())

    tags = MlflowClient().get_model_version("reviews", version.version).tags
    assert tags["ostinato.embeddings"] == "glove.txt"
    assert len(tags["ostinato.input_files_hash"]) == 64
    assert "glove.txt (text, 4 dimensions" in (local_dir(store, report) / "report.html").read_text()
    assert reproduce(store, "reviews", version.version).identical

    content = path.read_text()
    path.write_text(content.replace("0.", "1."))
    with pytest.raises(JobError, match="are other files now"):
        reproduce(store, "reviews", version.version)
    path.unlink()
    with pytest.raises(JobError, match=r"without its pretrained embeddings 'glove\.txt'"):
        reproduce(store, "reviews", version.version)
    folder = versions.fetch_files("reviews", version.version)
    golden = pl.read_parquet(folder / "golden_inputs.parquet")
    wanted = pl.read_parquet(folder / "golden_predictions.parquet")
    bundle = load_bundle(folder / "artifacts" / "bundle")
    assert bundle.predict(golden)["prediction"].to_list() == wanted["prediction"].to_list()
    # The table is saved once, with the featurizer.
    assert "front.table_VD" not in bundle.network.state_dict()


def test_networks_are_pretrained_on_the_tokens_that_they_learn(home: Path) -> None:
    write_text(home / "glove.txt", draw_vectors([*WORDS, *map(str, range(200))]))
    job = load_review_job(home, "glove.txt")
    job = replace(job, training=replace(job.training, pretrain="next_step"))
    store, _, _, features = prepare_features(job)

    candidate = make_candidate(
        features, store, **job.settings._asdict(), callbacks=Callbacks(lambda _: None)
    )

    # Each number occurs once: it has a frozen vector, and none that could be predicted.
    front = load_bundle(local_dir(store, candidate) / "bundle").network.front
    assert front.num_learned < len(front.table_VD) - 100
    assert candidate.facts.pretraining is not None
    assert math.isfinite(candidate.facts.validation_loss)
