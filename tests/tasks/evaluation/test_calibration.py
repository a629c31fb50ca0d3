"""Calibration and conformal prediction of trained models, measured on the test rows."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.features.config import Layout, TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.networks.heads.config import HeadConfig
from tasks.dataset.labels import load_test_rows
from tasks.evaluation.calibration import measure_calibration, measure_conformal
from tasks.prediction.test_predictions import predict_test_rows
from tasks.training import calibration
from tests.support.trained_models import (
    BY_COLUMN,
    BY_TIME,
    build_weekly_layout,
    make_weekly_sales,
    train_bundle,
    write_features,
)


def make_levels(rows: int = 900, *, new_class: str | None = None) -> pl.DataFrame:
    """Return short noisy series at one of three levels, which are often confused."""
    draw = np.random.default_rng(2)
    level = draw.integers(0, 3, rows)
    cells = [(each + draw.normal(0, 1.0, 4)).tolist() for each in level]
    split = np.where(np.arange(rows) % 3 == 0, "test", "train")
    split[np.arange(rows) % 3 == 1] = "dev"
    label = np.array(["low", "middle", "high"])[level]
    if new_class:
        label[(split != "train") & (draw.random(rows) < 0.15)] = new_class
    return pl.DataFrame({"x": cells, "label": label, "split": split})


def train_and_measure(
    folder: Path, frame: pl.DataFrame, layout, target, split, head=None, epochs=4
):
    """Return the bundle, its predictions, and their calibration and conformal coverage."""
    rows = write_features(folder, frame, layout, target, split)
    bundle = train_bundle(folder, epochs=epochs, head=head)
    featurizer = load_featurizer(folder)
    test = load_test_rows(rows, folder, featurizer)
    predictions = predict_test_rows(bundle, rows, test)
    calibration_report = measure_calibration(predictions, test, featurizer, bundle.calibration)
    conformal = measure_conformal(
        predictions, test, featurizer, bundle.calibration, confidence=0.95
    )
    return bundle, predictions, calibration_report, conformal


LEVELS = Layout(input=SeriesInput(column="x"), window=None, time=None, entity=None)
LABEL = TargetConfig(column="label", kind="category")
KEEP_DUPLICATES = SplitConfig(by="column", column="split", duplicates="keep")


def test_a_classifier_has_prediction_sets_and_calibrated_probabilities(tmp_path: Path) -> None:
    bundle, predictions, calibration_report, conformal = train_and_measure(
        tmp_path / "f", make_levels(), LEVELS, LABEL, KEEP_DUPLICATES
    )

    assert bundle.calibration.rows == 300
    assert not bundle.calibration.is_independent
    assert "also used for early stopping" in calibration_report.fitted_on
    assert calibration_report.after.ece < 0.1
    assert conformal.kind == "sets"
    assert conformal.coverage_high > 0.9
    assert 1 < conformal.size < 3
    assert predictions["prediction_set"].list.contains(predictions["prediction"]).all()


def test_coverage_includes_rows_of_classes_outside_training(tmp_path: Path) -> None:
    frame = make_levels(new_class="new")

    bundle, _, _, conformal = train_and_measure(
        tmp_path / "f", frame, LEVELS, LABEL, KEEP_DUPLICATES
    )

    assert bundle.calibration.rows == 300
    assert bundle.calibration.probability_threshold == 0.0
    assert 0.7 < conformal.coverage < 0.95


def test_many_validation_rows_are_split_and_equal_rows_stay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MIN_SPLIT_ROWS", 100)

    bundle, _, calibration_report, _ = train_and_measure(
        tmp_path / "f", make_levels(), LEVELS, LABEL, KEEP_DUPLICATES
    )

    assert bundle.calibration.is_independent
    assert 100 < bundle.calibration.rows < 200
    assert "not used for early stopping" in calibration_report.fitted_on


@pytest.mark.parametrize("loss", ["mse", "student_t", "quantile"])
def test_a_forecast_has_an_interval_for_each_step(tmp_path: Path, loss: str) -> None:
    layout = build_weekly_layout(SeriesInput(column="sales", scale_per="entity"), horizon=3)
    target = TargetConfig(column="sales", kind="forecast")

    bundle, predictions, calibration_report, conformal = train_and_measure(
        tmp_path / "f",
        make_weekly_sales(),
        layout,
        target,
        BY_TIME,
        HeadConfig(loss=loss, interval_coverage=0.8),
    )

    assert calibration_report is None
    assert len(bundle.calibration.conformal_quantiles) == 3
    assert not bundle.calibration.exchangeable
    assert "follow each other in time" in conformal.note
    assert [each.step for each in conformal.by_step] == [1, 2, 3]
    assert conformal.coverage > 0.6
    for row in predictions.iter_rows(named=True):
        ends = zip(row["interval_low"], row["prediction"], row["interval_high"], strict=True)
        assert all(low <= prediction <= high for low, prediction, high in ends)


def test_numbers_have_intervals_and_self_supervised_kinds_have_none(tmp_path: Path) -> None:
    frame = make_levels().with_columns(size=pl.col("x").list.sum() + 3)
    number = TargetConfig(column="size", kind="number")
    self_supervised = TargetConfig(kind="reconstruction")

    bundle, _, calibration_report, conformal = train_and_measure(
        tmp_path / "n", frame, LEVELS, number, BY_COLUMN, epochs=2
    )
    other, *nothing = train_and_measure(
        tmp_path / "m", frame, LEVELS, self_supervised, BY_COLUMN, epochs=1
    )

    assert calibration_report is None
    assert bundle.calibration.exchangeable
    assert conformal.kind == "intervals"
    assert conformal.by_step is None
    assert conformal.coverage_low < 0.9 < conformal.coverage_high + 0.05
    assert other.calibration is None
    assert nothing[1:] == [None, None]
