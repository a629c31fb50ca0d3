"""Epochs judged by a metric: the one of the gate, kept over a kill, and the best weights by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from flows.job.cross_checks import EARLY_STOPPING_METRICS, check_early_stopping_metric
from models.evaluation.epoch_scores import ValidationTargets, build_predictions
from models.evaluation.metrics.by_kind import METRICS, compute_metrics
from models.features.config import TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import VALIDATION
from models.learning.config import TrainingConfig
from models.learning.loop import ValidationMetric, predict
from models.networks.heads.config import HeadConfig
from tasks.dataset import labels as gate_truth
from tasks.dataset.feature_files import read_sequences
from tasks.prediction.test_predictions import pair_with_targets, predict_test_rows
from tasks.training.data import load_split
from tasks.training.validation_metric import load_validation_targets
from tests.support.learning_fixtures import (
    CONFIG,
    Disk,
    PulledPlugError,
    assert_equal_weights,
    new_network,
    sequences,
    train,
)
from tests.support.trained_models import (
    ALONE,
    BY_TIME,
    features,
    tagged,
    tides,
    trained,
    turned,
    weekly,
)

TEXTS = TargetConfig(column="y", kind="text")


def case(kind: str, folder: Path):
    """Build features of a kind, learn from them, and give all that judges."""
    if kind == "tags":
        rows = features(folder, tagged(), ALONE, TargetConfig(column="tags", kind="tags"))
    elif kind == "text":
        rows = features(folder, turned(120), ALONE, TEXTS)
    elif kind == "next_step":
        rows = features(folder, tagged(120), ALONE, TargetConfig(kind="next_step"))
    elif kind == "category":
        frame = tagged().with_columns(rainy=pl.col("tags").list.contains("rain").cast(pl.String))
        rows = features(folder, frame, ALONE, TargetConfig(column="rainy", kind="category"))
    else:
        layout = weekly(SeriesInput(column="sales"), horizon=3 if kind == "forecast" else 1)
        target = TargetConfig(column="sales", kind=kind)
        rows = features(folder, tides(80), layout, target, BY_TIME)
    head = HeadConfig(loss="quantile") if kind == "forecast" else HeadConfig()
    return rows, trained(folder, head=head)


@pytest.mark.parametrize("kind", ["category", "number", "tags", "forecast", "text", "next_step"])
def test_an_epoch_is_judged_as_the_gate_would_judge_the_same_rows(
    kind: str, tmp_path: Path
) -> None:
    rows, bundle = case(kind, tmp_path / "features")
    folder, featurizer = tmp_path / "features", load_featurizer(tmp_path / "features")
    table = read_sequences(folder, VALIDATION)
    test = gate_truth.TestRows(
        table["row"].to_numpy(),
        table["target_row"].to_numpy(),
        gate_truth.load_targets(table, folder, rows, featurizer),
        None,
    )
    expected = compute_metrics(
        pair_with_targets(
            predict_test_rows(bundle, rows, test), test, featurizer, np.full(len(table), np.nan)
        )
    )

    validation = load_split(folder, VALIDATION, torch.device("cpu"))
    outputs = predict(bundle.network, validation, TrainingConfig(precision="fp32"))
    truth = ValidationTargets(
        load_validation_targets(folder, featurizer, featurizer.target),
        featurizer.target,
        bundle.head,
    )
    found = compute_metrics(build_predictions(outputs.numpy(), truth))

    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def closest_to(wanted: float) -> ValidationMetric:
    """A metric that has nothing to do with the loss, so that the two disagree."""
    return ValidationMetric(
        "wanted",
        False,
        lambda outputs_SO: abs(float(outputs_SO[0, 0]) - wanted),
        stops_training=True,
    )


def test_the_weights_that_are_kept_are_the_best_by_the_metric() -> None:
    config, network = replace(CONFIG, epochs=8, patience=8), new_network()
    judge = closest_to(0.05)

    history = train(network, config=config, metric=judge)

    best = min(history, key=lambda epoch: epoch.metric)
    lowest = min(history, key=lambda epoch: epoch.validation_loss)
    assert best.epoch != lowest.epoch, "the two have to disagree for this test to tell anything"

    outputs = predict(network, sequences(16, "category", seed=1), config).numpy()
    assert judge.compute(outputs) == pytest.approx(best.metric, rel=1e-5)


@pytest.mark.parametrize("lives", [3, 11, 14])
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_run_that_stops_by_a_metric_resumes_to_the_bit(lives: int, schedule: str) -> None:
    config = replace(CONFIG, epochs=6, patience=2, schedule=schedule)
    unbroken, resumed, disk, judge = new_network(), new_network(), Disk(), closest_to(0.2)
    whole = train(unbroken, config=config, metric=judge)

    with pytest.raises(PulledPlugError):
        train(new_network(), disk.checkpoints(lives=lives), config=config, metric=judge)
    history = train(resumed, disk.checkpoints(), config=config, metric=judge)

    assert history == whole
    assert_equal_weights(resumed, unbroken)


def test_a_metric_that_cannot_be_told_leaves_the_first_weights_and_ends_by_patience() -> None:
    nothing = ValidationMetric("nothing", True, lambda _: float("nan"), stops_training=True)

    history = train(new_network(), config=replace(CONFIG, epochs=9, patience=2), metric=nothing)

    assert [epoch.metric for epoch in history] == [None] * 3


def test_every_metric_that_may_stop_training_is_one_of_the_gates() -> None:
    assert set(EARLY_STOPPING_METRICS) == set(METRICS)
    assert all(names <= set(METRICS[kind]) for kind, names in EARLY_STOPPING_METRICS.items())


def test_a_metric_of_another_kind_is_refused_with_those_there_are() -> None:
    target = TargetConfig(column="label", kind="category")

    with pytest.raises(ValueError, match=r"'mae' does not fit .* loss, accuracy, balanced"):
        check_early_stopping_metric(TrainingConfig(early_stopping_metric="mae"), target)
