"""Pretraining on the job's own rows: what it reads, how often it is done, and how it resumes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from flows.job.job import Job, load_job
from models.bundle import load_bundle
from models.features.featurizer import load_featurizer
from models.features.splitting.split import TRAINING
from models.learning.config import PRETRAINING_SHARE, TrainingConfig
from models.learning.loop import Callbacks, EpochResult
from tasks.dataset.feature_files import read_sequences
from tasks.errors import ContractError, JobError
from tasks.records import Candidate
from tasks.storage.artifacts import local_dir
from tasks.training.pretrain import build_pretraining_recipe
from tasks.training.pretraining import load_pretraining_rows, load_weights
from tasks.training.train import make_candidate
from tests.support.learning_fixtures import ProcessKilledError
from tests.support.pipeline import Prepared, prepare_features
from tests.support.sample_jobs import write_job

WORDS = {"good": "the a film was good and nice", "bad": "the a film was bad and dull"}

REVIEWS: dict[str, Any] = {
    "name": "reviews",
    "source": {"uri": "reviews.parquet"},
    "inputs": [{"column": "text", "kind": "text", "tokenizer": "word", "language": "xx"}],
    "target": {"column": "label", "kind": "category"},
    "model": {
        "hidden_size": 8, "embedding_dim": 8, "bidirectional": True, "parallel_branch": "none",
    },
    "training": {
        "epochs": 3, "folds": 1, "pretrain": "next_step", "checkpoint_every": 0, "batch_size": 16,
    },
    "gate": {"bootstrap_samples": 200},
}  # fmt: skip


def make_reviews(rows: int, seed: int = 0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    labels = draw.choice(list(WORDS), rows)
    texts = [
        " ".join(draw.choice(WORDS[label].split(), draw.integers(3, 9))) + f" {row}"
        for row, label in enumerate(labels)
    ]
    return pl.DataFrame({"text": texts, "label": labels})


def load_reviews(folder: Path, changes: dict[str, Any] | None = None) -> Job:
    folder.mkdir(exist_ok=True)
    make_reviews(160).write_parquet(folder / "reviews.parquet")
    own = {
        "source": {"uri": str(folder / "reviews.parquet")},
        "contract": str(folder / "reviews.contract.yaml"),
        "store": {"uri": str(folder / "store")},
    }
    return load_job(write_job(folder, REVIEWS | own), changes)


class Recorder:
    """Records the epochs of both trainings, and ends the process after so many of them."""

    def __init__(self, *, dies_after: int = 1_000) -> None:
        self.dies_after = dies_after
        self.pretraining: list[EpochResult] = []
        self.training: list[EpochResult] = []

    def record(self, results: list[EpochResult]) -> Callable[[EpochResult], None]:
        def on_epoch(epoch: EpochResult) -> None:
            results.append(epoch)
            if len(self.pretraining) + len(self.training) == self.dies_after:
                raise ProcessKilledError

        return on_epoch

    @property
    def callbacks(self) -> Callbacks:
        before = Callbacks(self.record(self.pretraining))
        return Callbacks(self.record(self.training), pretraining=before)


def train(
    prepared: Prepared, job: Job, recorder: Recorder | None = None, **sections: object
) -> Candidate:
    settings = job.settings._asdict() | sections
    return make_candidate(
        prepared.features,
        prepared.store,
        **settings,
        callbacks=(recorder or Recorder()).callbacks,
    )


def read_weights(prepared: Prepared, candidate: Candidate) -> dict[str, torch.Tensor]:
    return load_bundle(local_dir(prepared.store, candidate) / "bundle").network.state_dict()


def read_pretrained_weights(prepared: Prepared, job: Job) -> dict[str, torch.Tensor]:
    recipe = build_pretraining_recipe(prepared.features, job.model, job.head, job.training)
    [folder] = Path(prepared.store.root).glob(f"pretrain/{recipe.key}/*/weights.safetensors")
    return load_weights(folder.parent)


def test_a_classifier_starts_from_weights_that_predict_the_next_token(tmp_path: Path) -> None:
    # The second training hardly moves what it starts from.
    job, recorder = load_reviews(tmp_path, {"training.learning_rate": 1e-6}), Recorder()
    prepared = prepare_features(job)

    candidate = train(prepared, job, recorder)

    facts = candidate.facts.pretraining
    assert facts is not None
    assert (facts.metric, facts.start, facts.epochs) == ("perplexity", "random weights", 3)
    assert facts.value == min(facts.values)
    assert facts.values[-1] < facts.values[0]
    assert facts.values == [epoch.metric for epoch in recorder.pretraining]
    assert facts.rows + facts.held_out_rows == prepared.features.facts.training
    start = read_pretrained_weights(prepared, job)
    trained = read_weights(prepared, candidate)
    assert {name.partition(".")[0] for name in start} == {"front", "encoder"}
    assert all(float((trained[name] - weight).abs().max()) < 1e-3 for name, weight in start.items())


def test_only_training_rows_are_read_and_some_of_them_decide_when_to_stop(tmp_path: Path) -> None:
    job = load_reviews(tmp_path)
    prepared = prepare_features(job)
    folder = local_dir(prepared.store, prepared.features)

    rows, held_out = load_pretraining_rows(
        folder, load_featurizer(folder), seed=7, device=torch.device("cpu"), streaming=False
    )

    starts = [*rows.spans.starts_S.tolist(), *held_out.spans.starts_S.tolist()]
    assert sorted(starts) == sorted(read_sequences(folder, TRAINING)["start"].to_list())
    assert 0 < len(held_out) <= len(rows) / 8


def test_another_head_or_pooling_does_not_pretrain_again(tmp_path: Path) -> None:
    job = load_reviews(tmp_path)
    prepared, again = prepare_features(job), Recorder()
    first = train(prepared, job)

    smoothed = train(prepared, job, again, head=replace(job.head, label_smoothing=0.3))
    pooled = train(prepared, job, again, model=replace(job.model, pooling="mean", dropout=0.2))

    assert len({first.key, smoothed.key, pooled.key}) == 3
    assert (len(again.pretraining), len(again.training)) == (0, 6)
    assert first.facts.pretraining == smoothed.facts.pretraining == pooled.facts.pretraining
    larger = train(prepared, job, again, model=replace(job.model, hidden_size=12))
    assert len(again.pretraining) == 3
    assert larger.facts.pretraining != first.facts.pretraining


def test_rows_on_disk_are_pretrained_on_too(tmp_path: Path) -> None:
    job = load_reviews(tmp_path)
    training = replace(job.training, data_loading="streaming")

    facts = train(prepare_features(job), job, training=training).facts.pretraining

    assert facts is not None
    assert facts.plan["is_streaming"]
    assert facts.values[-1] < facts.values[0]


@pytest.mark.parametrize("dies_after", [2, 5], ids=["pretraining", "training"])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path, dies_after: int) -> None:
    whole, interrupted = load_reviews(tmp_path / "whole"), load_reviews(tmp_path / "interrupted")
    prepared = prepare_features(interrupted)
    of_whole = prepare_features(whole)
    expected = train(of_whole, whole)

    killed, resumed = Recorder(dies_after=dies_after), Recorder()
    with pytest.raises(ProcessKilledError):
        train(prepared, interrupted, killed)
    candidate = train(prepared, interrupted, resumed)

    # The epoch after which it was killed was not in a checkpoint as ended.
    assert len(resumed.pretraining) + len(resumed.training) == 6 - dies_after + 1
    assert bool(resumed.pretraining) == (dies_after == 2)
    weights, expected_weights = (
        read_weights(prepared, candidate),
        read_weights(of_whole, expected),
    )
    assert weights.keys() == expected_weights.keys()
    assert all(torch.equal(weights[name], expected_weights[name]) for name in weights)


@pytest.mark.parametrize(
    "settings", [{"folds": 3}, {"ensemble": 3}, {"ensemble": 2, "distill": True}], ids=str
)
def test_all_networks_of_a_model_start_from_one_pretraining(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    job, recorder = load_reviews(tmp_path), Recorder()
    prepared = prepare_features(job)

    candidate = train(prepared, job, recorder, training=replace(job.training, **settings))

    assert len(recorder.pretraining) == 3
    assert len(recorder.training) == 9
    assert candidate.facts.pretraining is not None
    assert len(list(Path(prepared.store.root).glob("pretrain/*/manifest.json"))) == 1


def test_a_model_with_a_branch_is_pretrained_too(tmp_path: Path) -> None:
    job = load_reviews(tmp_path, {"model.parallel_branch": "ngrams"})
    prepared = prepare_features(job)

    candidate = train(prepared, job)

    assert list(candidate.facts.branches) == ["ngrams"]
    assert candidate.facts.pretraining is not None


def test_pretraining_takes_a_share_of_the_budget() -> None:
    before, after = TrainingConfig(budget=100.0, pretrain="next_step").split_pretraining()

    assert (before.budget, after.budget) == (100 * PRETRAINING_SHARE, 100 * (1 - PRETRAINING_SHARE))
    assert (before.pretrain, after.pretrain) == ("none", "next_step")
    assert TrainingConfig(pretrain="next_step").split_pretraining()[0].budget is None


def test_a_budget_cuts_the_epochs_of_pretraining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = load_reviews(tmp_path)
    monkeypatch.setattr("models.learning.plan.measure_step_seconds", lambda *_, **__: 0.1)
    monkeypatch.setattr("models.learning.plan._measure_validation_seconds", lambda *_, **__: 0.0)
    prepared = prepare_features(job)
    steps = -(-round(prepared.features.facts.training * 0.9) // 16)
    seconds = 2.5 * 0.1 * steps / PRETRAINING_SHARE

    training = replace(job.training, epochs=20, budget=seconds)
    candidate = train(prepared, job, training=training)

    assert candidate.facts.pretraining is not None
    assert candidate.facts.pretraining.plan["epochs"] == 2
    assert candidate.facts.plans[0]["epochs"] == pytest.approx(5, abs=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "auto"}, "model: auto would pretrain each network"),
        ({"model.cell": "cnn", "model.bidirectional": False}, "a cnn does not read step by step"),
        ({"model.downsample": 2}, "set model.downsample: 1"),
    ],
    ids=["auto", "cnn", "downsample"],
)
def test_jobs_that_cannot_be_pretrained_are_refused_with_a_hint(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(JobError, match=f"training.pretrain: .*{reason}"):
        load_reviews(tmp_path, changes)


def test_series_are_pretrained_by_the_error_of_the_next_values(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    waves = [
        np.sin(np.arange(12) * step + draw.uniform(0, 6)).tolist()
        for step in draw.choice([0.5, 1.0], 120)
    ]
    labels = ["slow" if abs(wave[1] - wave[0]) < 0.5 else "fast" for wave in waves]
    pl.DataFrame({"wave": waves, "label": labels}).write_parquet(tmp_path / "waves.parquet")
    job = load_job(
        write_job(
            tmp_path,
            REVIEWS
            | {
                "source": {"uri": str(tmp_path / "waves.parquet")},
                "inputs": [{"column": "wave", "kind": "series"}],
                "contract": str(tmp_path / "waves.contract.yaml"),
                "store": {"uri": str(tmp_path / "store")},
            },
        )
    )

    facts = train(prepare_features(job), job).facts.pretraining

    assert facts is not None
    assert facts.metric == "mse"
    assert facts.values[-1] < facts.values[0]


def load_unlabelled(
    folder: Path, table: pl.DataFrame, changes: dict[str, Any] | None = None
) -> tuple[Prepared, Job]:
    folder.mkdir(exist_ok=True)
    load_reviews(folder)
    table.write_parquet(folder / "reviews.parquet")
    job = load_job(folder / "reviews.yaml", changes)
    return prepare_features(job), job


def drop_labels(table: pl.DataFrame, *, every: int) -> pl.DataFrame:
    is_kept = pl.int_range(pl.len()) % every == 0
    return table.with_columns(label=pl.when(is_kept).then("label"))


def test_rows_without_a_target_are_read_by_pretraining_alone(tmp_path: Path) -> None:
    whole, _ = load_unlabelled(tmp_path / "whole", make_reviews(400))
    prepared, job = load_unlabelled(tmp_path / "some", drop_labels(make_reviews(400), every=4))

    candidate = train(prepared, job)

    facts, pretraining = prepared.features.facts, candidate.facts.pretraining
    assert pretraining is not None
    # A row has the same split with and without a target, so that none is read that is tested.
    assert facts.training + facts.unlabelled == whole.features.facts.training
    assert facts.unlabelled > 2 * facts.training
    assert pretraining.rows + pretraining.held_out_rows == facts.training + facts.unlabelled
    assert facts.unseen_classes == 0
    assert prepared.accepted.facts.quarantined == 0
    assert candidate.facts.plans[0]["steps"] == -(-facts.training // 16)


def test_words_of_rows_without_a_target_are_in_the_vocabulary(tmp_path: Path) -> None:
    texts = [f"the film was {'good' if row % 2 else 'bad'} {row}" for row in range(200)]
    rare = [f"magnificent {row}" for row in range(100)]
    table = pl.DataFrame(
        {
            "text": texts + rare,
            "label": [["bad", "good"][row % 2] for row in range(200)] + [None] * 100,
        }
    )
    prepared, _ = load_unlabelled(tmp_path, table)

    state = load_featurizer(local_dir(prepared.store, prepared.features)).state

    assert "magnificent" in state.tokens


def test_new_rows_without_a_target_take_no_place_in_a_test_by_time(tmp_path: Path) -> None:
    table = make_reviews(300).with_row_index("day").cast({"day": pl.Int64})
    labels = pl.when(pl.col("day") < 200).then("label")
    changes = {"source.time": "day", "split.by": "time"}
    labelled, _ = load_unlabelled(tmp_path / "labelled", table.head(200), changes)
    prepared, _ = load_unlabelled(tmp_path / "all", table.with_columns(label=labels), changes)

    facts, expected = prepared.features.facts, labelled.features.facts
    assert (facts.training, facts.validation, facts.test) == (
        expected.training,
        expected.validation,
        expected.test,
    )
    # All of them are newer than the training rows.
    assert facts.unlabelled == 0


def test_without_pretraining_a_row_without_a_target_breaks_the_contract(tmp_path: Path) -> None:
    table = drop_labels(make_reviews(160), every=4)

    with pytest.raises(ContractError, match=r"label .* expect_column_values_to_not_be_null"):
        load_unlabelled(tmp_path, table, {"training.pretrain": "none"})
