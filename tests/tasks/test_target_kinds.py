"""Every kind of target, from raw rows to a score: fitted on training rows, in raw units."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.bundle import Bundle
from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import TEST, TRAINING, SplitConfig
from models.networks.heads.config import HeadConfig
from tasks.dataset.feature_files import map_steps, map_targets, read_sequences
from tasks.dataset.labels import load_targets, load_test_rows, read_scaled_targets
from tasks.dataset.rowset import RowSet
from tasks.evaluation.baselines import Baselines
from tasks.prediction.test_predictions import (
    compute_naive_scale,
    pair_with_targets,
    predict_test_rows,
)
from tests.support.input_tables import (
    build_daily_layout,
    build_row_layout,
    build_shop_sales,
    build_table,
    draw_waves,
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

FORECAST = TargetConfig(column="sales", kind="forecast")


def score_test_rows(
    folder: Path, rows: RowSet, bundle: Bundle
) -> tuple[pl.DataFrame, object, dict]:
    """Return the table of predictions, predictions with targets, and those of the baselines."""
    featurizer = load_featurizer(folder)
    test = load_test_rows(rows, folder, featurizer)
    scale_R = compute_naive_scale(rows, read_sequences(folder, TEST), featurizer, season=7)
    prediction_table = predict_test_rows(bundle, rows, test)
    baselines = Baselines(rows, folder, featurizer, season=7).predict(
        prediction_table, test, scale_R
    )
    return (
        prediction_table,
        pair_with_targets(prediction_table, test, featurizer, scale_R),
        baselines,
    )


# --- forecasts


@pytest.mark.parametrize("scale_per", ["all", "entity"])
@pytest.mark.parametrize("column", ["sales", "price"])
def test_the_targets_of_a_forecast_are_the_next_rows_of_its_series(
    tmp_path, scale_per, column
) -> None:
    series = SeriesInput(column=column, scale_per=scale_per)
    frame, layout = build_shop_sales(), build_daily_layout(series, lookback=5, horizon=3)
    folder = tmp_path / "features"
    rows = write_features(folder, frame, layout, FORECAST, BY_TIME)
    featurizer = load_featurizer(folder)

    for split in (TRAINING, TEST):
        sequences = read_sequences(folder, split)
        targets = load_targets(sequences, folder, rows, featurizer)
        assert len(sequences)
        for window, target_T in zip(sequences["row"].to_list(), targets, strict=True):
            assert frame["shop"][window] == frame["shop"][window + 3]
            expected = frame["sales"][window + 1 : window + 4].to_numpy()
            np.testing.assert_allclose(target_T, expected.astype(float), rtol=1e-5, atol=1e-3)


def test_no_forecast_has_a_target_in_another_split(tmp_path) -> None:
    frame, layout = (
        build_shop_sales(),
        build_daily_layout(SeriesInput(column="sales"), lookback=5, horizon=4),
    )
    folder = tmp_path / "features"
    write_features(folder, frame, layout, FORECAST, BY_TIME)

    days = {}
    for split in (TRAINING, 1, TEST):
        ends = read_sequences(folder, split)["row"].to_numpy()
        days[split] = {frame["day"][int(end + step)] for end in ends for step in range(1, 5)}

    assert max(days[TRAINING]) < min(days[1]) <= max(days[1]) < min(days[TEST])


def test_a_forecast_is_fitted_on_training_rows_only(tmp_path) -> None:
    frame, layout = (
        build_shop_sales(),
        build_daily_layout(SeriesInput(column="sales", scale_per="entity")),
    )
    is_late = pl.col("day") >= pl.date(2024, 1, 20)
    changed = frame.with_columns(
        sales=pl.when(is_late).then(pl.col("sales") * 50).otherwise("sales")
    )

    fitted = []
    for name, rows in (("one", frame), ("two", changed)):
        write_features(
            tmp_path / name, rows, layout, FORECAST, SplitConfig(test=0.4, validation=0.2)
        )
        fitted.append((tmp_path / name / "featurizer.json").read_bytes())

    assert fitted[0] == fitted[1]


def test_windows_of_a_shuffled_table_have_the_same_targets(tmp_path) -> None:
    frame, layout = build_shop_sales(), build_daily_layout(SeriesInput(column="sales"))
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)

    write_features(tmp_path / "one", frame, layout, FORECAST, BY_TIME)
    write_features(tmp_path / "two", shuffled, layout, FORECAST, BY_TIME)

    np.testing.assert_array_equal(map_targets(tmp_path / "one"), map_targets(tmp_path / "two"))


def test_windows_share_their_targets_instead_of_copying_them(tmp_path) -> None:
    split_names = pl.col("shop").replace({"s0": "train", "s1": "train", "s2": "dev", "s3": "test"})
    frame = build_shop_sales().with_columns(subset=split_names)
    layout = build_daily_layout(SeriesInput(column="sales"), lookback=5, horizon=20)
    split = SplitConfig(by="column", column="subset")

    write_features(tmp_path / "features", frame, layout, FORECAST, split)

    assert len(map_targets(tmp_path / "features")) == len(frame)


def test_gaps_of_a_resampled_series_are_neither_trained_on_nor_scored(tmp_path) -> None:
    frame = make_weekly_sales().filter(pl.int_range(pl.len()) % 9 != 4)
    series = SeriesInput(column="sales", frequency="1d", impute="last")
    layout = build_weekly_layout(series, horizon=3)
    folder = tmp_path / "features"
    rows = write_features(folder, frame, layout, FORECAST, BY_TIME)

    _, predictions, baselines = score_test_rows(folder, rows, train_bundle(folder))
    targets = load_targets(read_sequences(folder, TEST), folder, rows, load_featurizer(folder))

    assert np.isnan(targets).any(axis=1).any()
    assert not np.isnan(targets).all(axis=1).any()
    assert predictions.count_R.sum() == np.isfinite(targets).sum()
    assert all(np.isfinite(baseline.absolute_error_R).all() for baseline in baselines.values())


@pytest.mark.parametrize(
    "head",
    [
        HeadConfig(),
        HeadConfig(decoder="patches", patch_length=7, normalization="revin", loss="mae"),
        HeadConfig(decoder="recursive", normalization="nlinear", loss="student_t"),
        HeadConfig(loss="quantile", normalization="revin"),
        HeadConfig(loss="gaussian_nll"),
    ],
    ids=lambda head: f"{head.decoder}-{head.loss}-{head.normalization}",
)
def test_a_weekly_season_is_forecast(tmp_path, head: HeadConfig) -> None:
    series = SeriesInput(column="sales", scale_per="entity")
    layout, folder = build_weekly_layout(series, horizon=7), tmp_path / "features"
    rows = write_features(folder, make_weekly_sales(), layout, FORECAST, BY_TIME)

    prediction_table, predictions, baselines = score_test_rows(
        folder, rows, train_bundle(folder, epochs=25, head=head)
    )

    errors = {name: baseline.absolute_error_R.sum() for name, baseline in baselines.items()}
    assert set(errors) == {
        "last value", "seasonal naive", "ridge regression", "ridge from the last value"
    }  # fmt: skip
    assert predictions.absolute_error_R.sum() < 0.4 * errors["last value"]
    assert prediction_table["prediction"].list.len().unique().to_list() == [7]
    # MASE divides by the error of the seasonal naive forecast, here the 2 % noise twice.
    assert predictions.scaled_error_R.sum() / predictions.count_R.sum() < 3
    if head.loss not in {"mse", "mae"}:
        inside = predictions.covered_R.sum() / predictions.count_R.sum()
        assert 0.4 < inside <= 1.0


def test_counts_are_predicted_as_counts(tmp_path) -> None:
    draw = np.random.default_rng(0)
    frame = make_weekly_sales().with_columns(
        sales=pl.Series(draw.poisson(3 + 2 * (np.arange(320) % 7 == 0)))
    )
    layout, folder = build_weekly_layout(SeriesInput(column="sales"), horizon=7), tmp_path / "f"
    rows = write_features(folder, frame, layout, FORECAST, BY_TIME)

    prediction_table, predictions, _ = score_test_rows(
        folder, rows, train_bundle(folder, epochs=5, head=HeadConfig(loss="negative_binomial"))
    )

    low, high = (prediction_table[f"quantile_{level}"].explode() for level in (0.1, 0.9))
    for column in (low, high):
        np.testing.assert_allclose(column, column.round(), atol=1e-3)
    assert 0.6 < predictions.covered_R.sum() / predictions.count_R.sum() <= 1.0
    assert low.min() >= -1e-3


# --- tags


TAGS = TargetConfig(column="tags", kind="tags")


def test_tags_are_predicted_as_lists(tmp_path) -> None:
    folder = tmp_path / "features"
    rows = write_features(folder, make_tagged_texts(), TEXT_LAYOUT, TAGS)

    prediction_table, predictions, baselines = score_test_rows(
        folder, rows, train_bundle(folder, epochs=30, hidden_size=24, pooling="max")
    )

    accuracy = (predictions.target_RK == predictions.prediction_RK).mean()
    assert accuracy > 0.9
    assert set(baselines) == {"shares", "logistic regression"}
    assert prediction_table.schema["prediction"] == pl.List(pl.String)
    assert prediction_table["probabilities"].list.len().unique().to_list() == [3]


def test_a_tag_that_is_not_in_training_counts_as_missed(tmp_path) -> None:
    frame = make_tagged_texts(40)
    new = pl.when(pl.col("split") == "test").then(pl.col("tags").list.concat(pl.lit(["hail"])))
    frame = frame.with_columns(tags=new.otherwise("tags"))
    folder = tmp_path / "features"
    rows = write_features(folder, frame, TEXT_LAYOUT, TAGS)

    _, predictions, baselines = score_test_rows(folder, rows, train_bundle(folder))

    for each in (predictions, *baselines.values()):
        assert predictions.target_RK[:, -1].all()
        assert not each.prediction_RK[:, -1].any()


def test_a_row_without_a_list_of_tags_is_refused_and_an_empty_list_is_not(tmp_path) -> None:
    frame = make_tagged_texts(40)
    empty = frame.with_columns(tags=pl.when(pl.int_range(40) == 5).then([]).otherwise("tags"))
    null = frame.with_columns(tags=pl.when(pl.int_range(40) != 5).then("tags"))

    write_features(tmp_path / "one", empty, TEXT_LAYOUT, TAGS)
    with pytest.raises(UnlearnableError, match=r"target 'tags' is missing .* in 1 of 40 rows"):
        write_features(tmp_path / "two", null, TEXT_LAYOUT, TAGS)


# --- texts


@pytest.mark.parametrize(
    ("head", "tokenizer"),
    [
        (HeadConfig(decoder="attention", beam_size=2), "character"),
        (HeadConfig(decoder="attention", beam_size=1), "bpe"),
    ],
    ids=["characters", "byte pairs"],
)
def test_texts_are_predicted_from_texts(tmp_path, head: HeadConfig, tokenizer: str) -> None:
    folder = tmp_path / "features"
    size = {"vocab_size": 300} if tokenizer == "bpe" else {}
    target = TargetConfig(column="y", kind="text", tokenizer=tokenizer, **size)
    rows = write_features(
        folder,
        make_upper_case_texts(),
        TEXT_LAYOUT,
        target,
        SplitConfig(by="column", column="split", duplicates="keep"),
    )

    bundle = train_bundle(
        folder, epochs=60, head=head, hidden_size=32, bidirectional=True, embedding_dim=16
    )
    prediction_table, predictions, baselines = score_test_rows(folder, rows, bundle)

    errors = predictions.character_edits_R.sum() / predictions.target_characters_R.sum()
    assert errors < 0.9 * min(
        each.character_edits_R.sum() / each.target_characters_R.sum() for each in baselines.values()
    )
    assert prediction_table.schema["prediction"] == pl.String
    assert prediction_table["probability"].is_between(0, 1).all()


def test_texts_are_predicted_by_ctc_from_series(tmp_path) -> None:
    draw = np.random.default_rng(2)
    frame = make_upper_case_texts(200)
    heights = {letter: index * 2.0 for index, letter in enumerate("ABCD")}
    cells = [
        [
            height + draw.normal(0, 0.2)
            for letter in text
            for height in (heights[letter], heights[letter], -3.0)
        ]
        for text in frame["y"]
    ]
    frame = frame.with_columns(x=pl.Series(cells))
    layout = Layout(input=SeriesInput(column="x"), window=None, time=None, entity=None)
    folder = tmp_path / "features"
    rows = write_features(folder, frame, layout, TargetConfig(column="y", kind="text"))

    bundle = train_bundle(folder, epochs=30, head=HeadConfig(decoder="ctc"), hidden_size=24)
    _, predictions, _ = score_test_rows(folder, rows, bundle)

    assert predictions.character_edits_R.sum() / predictions.target_characters_R.sum() < 0.1


def test_texts_that_are_longer_than_their_input_are_refused(tmp_path) -> None:
    frame = make_upper_case_texts(60).with_columns(x=pl.lit("a") + pl.int_range(60).cast(pl.String))
    folder = tmp_path / "features"
    write_features(folder, frame, TEXT_LAYOUT, TargetConfig(column="y", kind="text"))

    with pytest.raises(UnlearnableError, match=r"head.decoder ctc: .* set head.decoder: attention"):
        train_bundle(folder, head=HeadConfig(decoder="ctc"))


# --- self-supervised targets


@pytest.mark.parametrize("kind", ["next_step", "reconstruction"])
def test_sequences_unlike_those_of_training_have_the_largest_errors(tmp_path, kind: str) -> None:
    frame = make_weekly_sales()
    is_anomaly = (pl.col("day") >= pl.date(2024, 5, 20)) & (pl.col("day") < pl.date(2024, 5, 24))
    frame = frame.with_columns(
        sales=pl.when(is_anomaly).then(pl.col("sales") * 2.5).otherwise("sales")
    )
    layout = build_weekly_layout(SeriesInput(column="sales", scale_per="entity"), horizon=1)
    folder = tmp_path / "features"
    rows = write_features(folder, frame, layout, TargetConfig(kind=kind), BY_TIME)

    prediction_table, predictions, baselines = score_test_rows(
        folder, rows, train_bundle(folder, epochs=20, hidden_size=24)
    )

    ends = frame["day"].gather(read_sequences(folder, TEST)["row"])
    has_anomaly = ends.is_between(pl.date(2024, 5, 20), pl.date(2024, 6, 5)).to_numpy()
    error = prediction_table["prediction"].to_numpy()
    assert set(has_anomaly) == {True, False}
    assert error[has_anomaly].min() > error[~has_anomaly].max()
    assert (
        predictions.error_R[~has_anomaly].sum() < 0.6 * predictions.baseline_R[~has_anomaly].sum()
    )
    assert ("last step" in baselines) == (kind == "next_step")
    assert prediction_table["vector"].list.len().unique().to_list() == [24]


def test_reconstruction_needs_no_target_column(tmp_path) -> None:
    layout, folder = build_row_layout(SeriesInput(column="x")), tmp_path / "features"
    frame = build_table(draw_waves).drop("label")
    rows = write_features(folder, frame, layout, TargetConfig(kind="reconstruction"))

    prediction_table, predictions, _ = score_test_rows(folder, rows, train_bundle(folder))

    assert len(predictions) == len(prediction_table) == (frame["split"] == "test").sum()
    assert len(map_targets(folder)) == 0
    assert len(map_steps(folder))


def test_scaled_targets_are_on_the_scale_of_the_steps(tmp_path) -> None:
    layout = build_daily_layout(SeriesInput(column="sales"), lookback=5, horizon=2)
    folder = tmp_path / "features"
    write_features(folder, build_shop_sales(), layout, FORECAST, BY_TIME)

    sequences = read_sequences(folder, TRAINING)
    targets = read_scaled_targets(sequences, folder, load_featurizer(folder))
    steps = map_steps(folder)[sequences["target_start"].to_numpy(), 0]

    known = np.isfinite(targets[:, 0])
    # A scaled target equals the value that a later window reads at that step.
    np.testing.assert_allclose(targets[known, 0], steps[known], rtol=1e-5, atol=1e-6)
    assert layout.window == WindowConfig(lookback=5, horizon=2)


def test_a_count_loss_refuses_fractions(tmp_path) -> None:
    layout, folder = (
        build_weekly_layout(SeriesInput(column="sales"), horizon=7),
        tmp_path / "features",
    )
    write_features(folder, make_weekly_sales(), layout, FORECAST, BY_TIME)

    with pytest.raises(UnlearnableError, match=r"must be counts, and \d+ of \d+ .* are not"):
        train_bundle(folder, head=HeadConfig(loss="negative_binomial"))
