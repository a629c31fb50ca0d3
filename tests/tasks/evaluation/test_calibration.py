"""What trained models say of how sure they are, and whether the test rows agree."""

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
from tests.support.trained_models import BY_TIME, TOLD, features, tides, trained, weekly


def levels(rows: int = 900, *, more: str | None = None) -> pl.DataFrame:
    """Short noisy series at one of three levels, which are often mistaken for each other."""
    draw = np.random.default_rng(2)
    level = draw.integers(0, 3, rows)
    cells = [(place + draw.normal(0, 1.0, 4)).tolist() for place in level]
    split = np.where(np.arange(rows) % 3 == 0, "test", "train")
    split[np.arange(rows) % 3 == 1] = "dev"
    label = np.array(["low", "middle", "high"])[level]
    if more:
        label[(split != "train") & (draw.random(rows) < 0.15)] = more
    return pl.DataFrame({"x": cells, "label": label, "split": split})


def told(folder: Path, frame: pl.DataFrame, layout, target, split, head=None, epochs=4):
    """Train, and measure on the test rows."""
    rows = features(folder, frame, layout, target, split)
    bundle = trained(folder, epochs=epochs, head=head)
    featurizer = load_featurizer(folder)
    test = load_test_rows(rows, folder, featurizer)
    answered = predict_test_rows(bundle, rows, test)
    found = measure_calibration(answered, test, featurizer, bundle.calibration)
    held = measure_conformal(answered, test, featurizer, bundle.calibration, confidence=0.95)
    return bundle, answered, found, held


LEVELS = Layout(input=SeriesInput(column="x"), window=None, time=None, entity=None)
LABEL = TargetConfig(column="label", kind="category")
KEPT = SplitConfig(by="column", column="split", duplicates="keep")


def test_a_classifier_tells_sets_and_how_sure_it_was(tmp_path: Path) -> None:
    bundle, answered, found, held = told(tmp_path / "f", levels(), LEVELS, LABEL, KEPT)

    assert bundle.calibration.rows == 300
    assert not bundle.calibration.is_independent
    assert "also used for early stopping" in found.fitted_on
    assert found.after.ece < 0.1
    assert held.kind == "sets"
    assert held.coverage_high > 0.9
    assert 1 < held.size < 3
    assert answered["prediction_set"].list.contains(answered["prediction"]).all()


def test_classes_that_training_never_showed_are_reckoned_with(tmp_path: Path) -> None:
    frame = levels(more="new")

    bundle, _, _, held = told(tmp_path / "f", frame, LEVELS, LABEL, KEPT)

    assert bundle.calibration.rows == 300
    assert bundle.calibration.probability_threshold == 0.0
    assert 0.7 < held.coverage < 0.95


def test_many_validation_rows_are_divided_and_equal_ones_stay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MIN_SPLIT_ROWS", 100)

    bundle, _, found, _ = told(tmp_path / "f", levels(), LEVELS, LABEL, KEPT)

    assert bundle.calibration.is_independent
    assert 100 < bundle.calibration.rows < 200
    assert "not used for early stopping" in found.fitted_on


@pytest.mark.parametrize("error", ["mse", "student_t", "quantile"])
def test_a_forecast_tells_an_interval_of_each_step(tmp_path: Path, error: str) -> None:
    layout = weekly(SeriesInput(column="sales", scale_per="entity"), horizon=3)
    target = TargetConfig(column="sales", kind="forecast")

    bundle, answered, found, held = told(
        tmp_path / "f",
        tides(),
        layout,
        target,
        BY_TIME,
        HeadConfig(loss=error, interval_coverage=0.8),
    )

    assert found is None
    assert len(bundle.calibration.conformal_quantiles) == 3
    assert not bundle.calibration.exchangeable
    assert "follow each other in time" in held.note
    assert [each.step for each in held.by_step] == [1, 2, 3]
    assert held.coverage > 0.6
    for row in answered.iter_rows(named=True):
        ends = zip(row["interval_low"], row["prediction"], row["interval_high"], strict=True)
        assert all(low <= said <= high for low, said, high in ends)


def test_numbers_have_an_interval_and_other_kinds_say_nothing(tmp_path: Path) -> None:
    frame = levels().with_columns(size=pl.col("x").list.sum() + 3)
    number = TargetConfig(column="size", kind="number")
    mined = TargetConfig(kind="reconstruction")

    bundle, _, found, held = told(tmp_path / "n", frame, LEVELS, number, TOLD, epochs=2)
    other, *nothing = told(tmp_path / "m", frame, LEVELS, mined, TOLD, epochs=1)

    assert found is None
    assert bundle.calibration.exchangeable
    assert held.kind == "intervals"
    assert held.by_step is None
    assert held.coverage_low < 0.9 < held.coverage_high + 0.05
    assert other.calibration is None
    assert nothing[1:] == [None, None]
