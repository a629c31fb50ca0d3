"""Early stopping by a metric of the gate: it survives a kill and selects the best weights."""

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
    CheckpointDisk,
    ProcessKilledError,
    assert_equal_weights,
    build_small_network,
    draw_sequences,
    train,
)
from tests.support.trained_models import (
    BY_TIME,
    TEXT_LAYOUT,
    build_weekly_layout,
    make_tagged_texts,
    make_upper_case_texts,
    make_weekly_sales,
    train_bundle,
    write_features,
)

TEXTS = TargetConfig(column="y", kind="text")


def case(kind: str, folder: Path):
    """Build features of a kind, train on them, and return all that the metric needs."""
    if kind == "tags":
        rows = write_features(
            folder, make_tagged_texts(), TEXT_LAYOUT, TargetConfig(column="tags", kind="tags")
        )
    elif kind == "text":
        rows = write_features(folder, make_upper_case_texts(120), TEXT_LAYOUT, TEXTS)
    elif kind == "next_step":
        rows = write_features(
            folder, make_tagged_texts(120), TEXT_LAYOUT, TargetConfig(kind="next_step")
        )
    elif kind == "category":
        frame = make_tagged_texts().with_columns(
            rainy=pl.col("tags").list.contains("rain").cast(pl.String)
        )
        rows = write_features(
            folder, frame, TEXT_LAYOUT, TargetConfig(column="rainy", kind="category")
        )
    else:
        layout = build_weekly_layout(
            SeriesInput(column="sales"), horizon=3 if kind == "forecast" else 1
        )
        target = TargetConfig(column="sales", kind=kind)
        rows = write_features(folder, make_weekly_sales(80), layout, target, BY_TIME)
    head = HeadConfig(loss="quantile") if kind == "forecast" else HeadConfig()
    return rows, train_bundle(folder, head=head)


@pytest.mark.parametrize("kind", ["category", "number", "tags", "forecast", "text", "next_step"])
def test_the_metric_of_an_epoch_is_that_of_the_evaluation(kind: str, tmp_path: Path) -> None:
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

    validation = load_split(folder, VALIDATION, device=torch.device("cpu"))
    outputs = predict(bundle.network, validation, TrainingConfig(precision="fp32"))
    targets = ValidationTargets(
        load_validation_targets(folder, featurizer, featurizer.target, table.filter("known")),
        featurizer.target,
        bundle.head,
    )
    result = compute_metrics(build_predictions(outputs.numpy(), targets))

    assert result.keys() == expected.keys()
    assert result == pytest.approx(expected, rel=1e-4, abs=1e-6)


def build_mean_metric(mean_target: float) -> ValidationMetric:
    """A metric that has nothing to do with the loss, so that the two disagree."""
    return ValidationMetric(
        "wanted",
        False,
        lambda outputs_SO: abs(float(outputs_SO[0, 0]) - mean_target),
        stops_training=True,
    )


def test_the_final_weights_are_the_best_by_the_metric() -> None:
    config, network = replace(CONFIG, epochs=8, patience=8), build_small_network()
    metric = build_mean_metric(0.05)

    history = train(network, config=config, metric=metric)

    best = min(history, key=lambda epoch: epoch.metric)
    lowest = min(history, key=lambda epoch: epoch.validation_loss)
    assert best.epoch != lowest.epoch, "the two have to disagree for this test to tell anything"

    outputs = predict(network, draw_sequences(16, "category", seed=1), config).numpy()
    assert metric.compute(outputs) == pytest.approx(best.metric, rel=1e-5)


@pytest.mark.parametrize("lives", [3, 11, 14])
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_run_that_stops_by_a_metric_resumes_bit_for_bit(lives: int, schedule: str) -> None:
    config = replace(CONFIG, epochs=6, patience=2, schedule=schedule)
    uninterrupted, resumed, disk, metric = (
        build_small_network(),
        build_small_network(),
        CheckpointDisk(),
        build_mean_metric(0.2),
    )
    whole = train(uninterrupted, config=config, metric=metric)

    with pytest.raises(ProcessKilledError):
        train(build_small_network(), disk.open_store(max_saves=lives), config=config, metric=metric)
    history = train(resumed, disk.open_store(), config=config, metric=metric)

    assert history == whole
    assert_equal_weights(resumed, uninterrupted)


def test_an_undefined_metric_leaves_the_first_weights_and_ends_by_patience() -> None:
    undefined = ValidationMetric("nothing", True, lambda _: float("nan"), stops_training=True)

    history = train(
        build_small_network(), config=replace(CONFIG, epochs=9, patience=2), metric=undefined
    )

    assert [epoch.metric for epoch in history] == [None] * 3


def test_every_early_stopping_metric_is_a_metric_of_the_gate() -> None:
    assert set(EARLY_STOPPING_METRICS) == set(METRICS)
    assert all(names <= set(METRICS[kind]) for kind, names in EARLY_STOPPING_METRICS.items())


def test_a_metric_of_another_kind_is_rejected_with_the_available_ones() -> None:
    target = TargetConfig(column="label", kind="category")

    with pytest.raises(ValueError, match=r"'mae' does not fit .* loss, accuracy, balanced"):
        check_early_stopping_metric(TrainingConfig(early_stopping_metric="mae"), target)
