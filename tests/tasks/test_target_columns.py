"""Several columns that are forecast together, from raw rows to scores, in raw units."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.bundle import Bundle
from models.evaluation.predictions import ColumnScales
from models.features.config import TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import TEST, TRAINING
from models.networks.heads.config import HeadConfig
from tasks.dataset.feature_files import map_targets, read_sequences
from tasks.dataset.labels import load_targets, load_test_rows
from tasks.dataset.rowset import RowSet
from tasks.evaluation.baselines import Baselines
from tasks.evaluation.calibration import measure_conformal
from tasks.evaluation.columns import score_columns
from tasks.prediction.test_predictions import (
    compute_naive_scale,
    pair_with_targets,
    predict_test_rows,
)
from tests.support.input_tables import build_daily_layout, build_shop_sales
from tests.support.trained_models import (
    BY_TIME,
    build_weekly_layout,
    make_weekly_sales,
    train_bundle,
    write_features,
)

COLUMNS = ("sales", "visits")

TARGET = TargetConfig(column=COLUMNS, kind="forecast")


def make_two_columns(days: int = 160) -> pl.DataFrame:
    """Return daily sales and visits of two shops; visits are a thousand times as large."""
    frame = make_weekly_sales(days)
    noise = np.random.default_rng(1).normal(1, 0.02, len(frame))
    return frame.with_columns(visits=1000 * pl.col("sales").shift(1, fill_value=10.0) * noise)


def build_layout(*, horizon: int = 7, scale_per: str = "entity"):
    return build_weekly_layout(SeriesInput(column=COLUMNS, scale_per=scale_per), horizon=horizon)


def score(folder: Path, rows: RowSet, bundle: Bundle) -> tuple:
    """Return table, predictions, baselines and scales of the test rows."""
    featurizer = load_featurizer(folder)
    test = load_test_rows(rows, folder, featurizer)
    scale = compute_naive_scale(rows, read_sequences(folder, TEST), featurizer, season=7)
    table = predict_test_rows(bundle, rows, test)
    baselines = Baselines(rows, folder, featurizer, season=7).predict(table, test, scale)
    return table, pair_with_targets(table, test, featurizer, scale), baselines, test


@pytest.mark.parametrize("scale_per", ["all", "entity"])
def test_the_targets_are_the_next_rows_of_each_column(tmp_path: Path, scale_per: str) -> None:
    frame, folder = build_shop_sales(), tmp_path / "features"
    layout = build_daily_layout(SeriesInput(column=("sales", "price"), scale_per=scale_per))
    target = TargetConfig(column=("price", "sales"), kind="forecast")

    rows = write_features(folder, frame, layout, target, BY_TIME)

    featurizer = load_featurizer(folder)
    for split in (TRAINING, TEST):
        sequences = read_sequences(folder, split)
        targets = load_targets(sequences, folder, rows, featurizer)
        assert len(sequences)
        for window, target_T in zip(sequences["row"].to_list(), targets, strict=True):
            following = frame.select("price", "sales")[window + 1 : window + 3]
            expected = following.to_numpy().astype(float).reshape(-1)
            np.testing.assert_allclose(target_T, expected, rtol=1e-5, atol=1e-3)
    assert len(map_targets(folder)) == 2 * len(frame)


def test_a_value_that_is_missing_in_one_column_is_masked_in_that_column(tmp_path: Path) -> None:
    frame = make_two_columns().with_columns(
        visits=pl.when(pl.int_range(pl.len()) % 5 != 3).then("visits")
    )
    folder, whole = tmp_path / "features", tmp_path / "whole"
    write_features(whole, make_two_columns(), build_layout(), TARGET, BY_TIME)

    rows = write_features(folder, frame, build_layout(), TARGET, BY_TIME)

    # No window is lost, and the sales of every window are known.
    assert len(read_sequences(folder, TEST)) == len(read_sequences(whole, TEST))
    _, predictions, baselines, test = score(folder, rows, train_bundle(folder))
    assert np.isfinite(test.targets[:, 0::2]).all()
    assert np.isnan(test.targets[:, 1::2]).any()
    assert predictions.count_R.sum() == np.isfinite(test.targets).sum()
    assert all(np.isfinite(each.absolute_error_R).all() for each in baselines.values())


@pytest.mark.parametrize(
    "head",
    [
        HeadConfig(normalization="nlinear"),
        HeadConfig(decoder="patches", patch_length=7, normalization="revin", loss="mae"),
        HeadConfig(decoder="recursive", normalization="nlinear", loss="student_t"),
        HeadConfig(loss="quantile", normalization="revin"),
    ],
    ids=lambda head: f"{head.decoder}-{head.loss}-{head.normalization}",
)
def test_every_column_is_forecast_in_its_unit(tmp_path: Path, head: HeadConfig) -> None:
    folder = tmp_path / "features"
    rows = write_features(folder, make_two_columns(), build_layout(), TARGET, BY_TIME)

    bundle = train_bundle(folder, epochs=25, head=head)
    table, predictions, baselines, test = score(folder, rows, bundle)

    assert "prediction" not in table.columns
    errors = {
        each.column: each.standardized_mae
        for each in score_columns(predictions, table, test, bundle.featurizer.target) or []
    }
    naive = {
        each.column: each.standardized_mae
        for each in score_columns(
            baselines["last value"], table, test, bundle.featurizer.target
        ) or []
    }  # fmt: skip
    for name in COLUMNS:
        assert table[f"prediction_{name}"].list.len().unique().to_list() == [7]
        assert errors[name] < 0.5 * naive[name]
    assert set(baselines) == {
        "last value", "seasonal naive", "ridge regression", "ridge from the last value"
    }  # fmt: skip
    if head.loss in {"student_t", "quantile"}:
        assert {"quantile_0.1_sales", "quantile_0.9_visits"} <= set(table.columns)
        assert 0.4 < predictions.covered_R.sum() / predictions.count_R.sum() <= 1.0


def test_scores_are_means_of_the_columns_scores(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    rows = write_features(folder, make_two_columns(), build_layout(), TARGET, BY_TIME)
    bundle = train_bundle(folder)

    table, predictions, _, test = score(folder, rows, bundle)

    columns = score_columns(predictions, table, test, bundle.featurizer.target) or []
    count, squares = predictions.count_R.sum(), predictions.squared_error_R.sum()
    mean_error = predictions.absolute_error_R.sum() / count
    assert mean_error == pytest.approx(np.mean([each.standardized_mae for each in columns]))
    assert squares / count == pytest.approx(np.mean([each.standardized_mse for each in columns]))
    scaled = predictions.scaled_error_R.sum() / count
    assert scaled == pytest.approx(np.mean([each.mase for each in columns]))
    sales = np.array(table["prediction_sales"].to_list()) - test.targets[:, 0::2]
    assert columns[0].mae == pytest.approx(np.abs(sales).mean())


def test_no_column_outweighs_the_others(tmp_path: Path) -> None:
    """A column in another unit leaves the scores, on which the gate decides, as they are."""
    scores = []
    for name, factor in (("one", 1.0), ("two", 1e6)):
        frame = make_two_columns().with_columns(pl.col("visits") * factor)
        folder = tmp_path / name
        rows = write_features(folder, frame, build_layout(), TARGET, BY_TIME)
        _, predictions, *_ = score(folder, rows, train_bundle(folder))
        scores.append(predictions.absolute_error_R)

    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3)


def test_intervals_of_every_column_cover_their_targets(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    rows = write_features(folder, make_two_columns(), build_layout(), TARGET, BY_TIME)
    bundle = train_bundle(folder, epochs=10)

    table, predictions, _, test = score(folder, rows, bundle)
    columns = predictions.steps.columns
    assert isinstance(columns, ColumnScales)
    measured = measure_conformal(
        table, test, bundle.featurizer, bundle.calibration, confidence=0.95, columns=columns
    )

    assert measured is not None
    assert measured.by_step is not None
    assert measured.coverage is not None
    assert [each.step for each in measured.by_step] == list(range(1, 8))
    assert 0.6 < measured.coverage <= 1.0
    for name in COLUMNS:
        low, point, high = (
            np.array(table[f"{each}_{name}"].to_list())
            for each in ("interval_low", "prediction", "interval_high")
        )
        assert (low <= point).all()
        assert (point <= high).all()
    covered = [
        each.coverage
        for each in score_columns(predictions, table, test, bundle.featurizer.target) or []
    ]
    assert np.mean(covered) == pytest.approx(measured.coverage)


def test_a_forecast_of_one_column_in_a_list_is_that_of_the_column(tmp_path: Path) -> None:
    layout = build_weekly_layout(SeriesInput(column="sales"), horizon=3)
    for name, column in (("one", "sales"), ("two", ("sales",))):
        target = TargetConfig(column=column, kind="forecast")
        write_features(tmp_path / name, make_weekly_sales(), layout, target, BY_TIME)

    for file in ("featurizer.json", "targets.npy", "sequences.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
