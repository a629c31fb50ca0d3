"""A baseline serves as a network does, and answers what the evaluation scored."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from models.bundle import Bundle, load_bundle, save_bundle
from models.errors import BundleError
from models.evaluation.baselines.served import Baseline, describe_rows
from models.evaluation.predictions import Predictions
from models.features.audio import AudioInput
from models.features.config import Layout, TargetConfig
from models.features.featurizer import load_featurizer
from models.features.image import ImageInput
from models.features.series import SeriesInput
from models.features.splitting.split import TEST, SplitConfig
from models.features.static_covariates import CategoryInput, NumberInput
from models.features.text import TextInput
from models.features.tree import TreeInput
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import load_test_rows
from tasks.dataset.rowset import RowSet
from tasks.evaluation.baselines import Baselines
from tasks.evaluation.fallback import FallbackSource, build_fallback
from tasks.gate.comparison import GateConfig
from tasks.prediction.test_predictions import (
    compute_naive_scale,
    pair_with_targets,
    predict_test_rows,
)
from tests.support.input_tables import (
    CATEGORY,
    NUMBER,
    build_daily_layout,
    build_row_layout,
    build_shop_sales,
    build_table,
    draw_images,
    draw_sentences,
    draw_sounds,
    draw_trees,
    draw_waves,
)
from tests.support.trained_models import (
    BY_COLUMN,
    BY_TIME,
    TEXT_LAYOUT,
    build_weekly_layout,
    make_tagged_texts,
    make_upper_case_texts,
    make_weekly_sales,
    write_features,
)

SEASON = 7

FORECAST = TargetConfig(column="sales", kind="forecast")

KEEP_DUPLICATES = SplitConfig(by="column", column="split", duplicates="keep")


class Case(NamedTuple):
    make_rows: Callable[[], pl.DataFrame]
    layout: Layout
    target: TargetConfig
    split: SplitConfig
    baselines: set[str]


def add_statics(layout: Layout) -> Layout:
    statics = (CategoryInput(column="town"), NumberInput(column="size"))
    return Layout(input=layout.input, window=None, time=None, entity=None, static_inputs=statics)


def make_rows_of(cells: Callable[[np.random.Generator], pl.Series]) -> Callable[[], pl.DataFrame]:
    return lambda: build_table(cells)


OWN_SALES = SeriesInput(column="sales", scale_per="entity")

CASES = {
    "series": Case(
        make_rows_of(draw_waves),
        add_statics(build_row_layout(SeriesInput(column="x"))),
        CATEGORY,
        BY_COLUMN,
        {"majority", "logistic regression"},
    ),
    "text": Case(
        make_rows_of(draw_sentences),
        add_statics(build_row_layout(TextInput(column="x"))),
        CATEGORY,
        KEEP_DUPLICATES,
        {"majority", "logistic regression"},
    ),
    "image": Case(
        make_rows_of(draw_images),
        build_row_layout(ImageInput(column="x")),
        CATEGORY,
        BY_COLUMN,
        {"majority", "logistic regression"},
    ),
    "audio": Case(
        make_rows_of(draw_sounds),
        build_row_layout(AudioInput(column="x")),
        CATEGORY,
        BY_COLUMN,
        {"majority", "logistic regression", "random convolutions"},
    ),
    "tree": Case(
        make_rows_of(draw_trees),
        build_row_layout(TreeInput(column="x")),
        CATEGORY,
        KEEP_DUPLICATES,
        {"majority", "logistic regression"},
    ),
    "number": Case(
        lambda: build_table(draw_waves),
        build_row_layout(SeriesInput(column="x")),
        TargetConfig(column="size", kind="number"),
        BY_COLUMN,
        {"mean", "ridge regression"},
    ),
    "number of text": Case(
        lambda: build_table(draw_sentences),
        build_row_layout(TextInput(column="x")),
        TargetConfig(column="size", kind="number"),
        KEEP_DUPLICATES,
        {"mean", "ridge regression"},
    ),
    "number of windows": Case(
        build_shop_sales,
        build_daily_layout(SeriesInput(column="sales")),
        NUMBER,
        BY_TIME,
        {"mean", "ridge regression"},
    ),
    "number with its own past": Case(
        make_weekly_sales,
        build_weekly_layout(SeriesInput(column="sales"), horizon=2),
        TargetConfig(column="sales", kind="number"),
        BY_TIME,
        {"mean", "ridge regression", "last value", "seasonal naive"},
    ),
    "forecast": Case(
        make_weekly_sales,
        build_weekly_layout(OWN_SALES, horizon=9),
        FORECAST,
        BY_TIME,
        {"ridge regression", "ridge from the last value", "last value", "seasonal naive"},
    ),
    "forecast of several columns": Case(
        lambda: make_weekly_sales().with_columns(price=pl.col("sales").sqrt()),
        build_weekly_layout(SeriesInput(column=["sales", "price"], scale_per="entity"), horizon=3),
        TargetConfig(column=["sales", "price"], kind="forecast"),
        BY_TIME,
        {"ridge regression", "ridge from the last value", "last value", "seasonal naive"},
    ),
    "tags": Case(
        make_tagged_texts,
        TEXT_LAYOUT,
        TargetConfig(column="tags", kind="tags"),
        BY_COLUMN,
        {"shares", "logistic regression"},
    ),
    "text target": Case(
        make_upper_case_texts,
        TEXT_LAYOUT,
        TargetConfig(column="y", kind="text"),
        KEEP_DUPLICATES,
        {"most frequent", "nearest row"},
    ),
    "next step": Case(
        make_weekly_sales,
        build_weekly_layout(OWN_SALES, horizon=1),
        TargetConfig(kind="next_step"),
        BY_TIME,
        {"mean", "last step"},
    ),
    "reconstruction of images": Case(
        make_rows_of(draw_images),
        build_row_layout(ImageInput(column="x")),
        TargetConfig(kind="reconstruction"),
        BY_COLUMN,
        {"mean"},
    ),
    "reconstruction of texts": Case(
        make_rows_of(draw_sentences),
        build_row_layout(TextInput(column="x")),
        TargetConfig(kind="reconstruction"),
        KEEP_DUPLICATES,
        {"mean"},
    ),
}


def predict(bundle: Bundle, rows: RowSet, folder: Path) -> tuple[pl.DataFrame, Predictions]:
    test = load_test_rows(rows, folder, bundle.featurizer)
    scale_R = compute_naive_scale(
        rows, read_sequences(folder, TEST), bundle.featurizer, season=SEASON
    )
    table = predict_test_rows(bundle, rows, test)
    return table, pair_with_targets(table, test, bundle.featurizer, scale_R)


def assert_same_predictions(served: Predictions, scored: Predictions) -> None:
    assert type(served) is type(scored)
    for field in fields(served):
        ours, theirs = (getattr(each, field.name) for each in (served, scored))
        if not isinstance(ours, np.ndarray):
            continue
        if ours.dtype == bool or field.name == "target_R":
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=field.name)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_baseline_serves_what_the_evaluation_scored(tmp_path, case: Case) -> None:
    folder = tmp_path / "features"
    rows = write_features(folder, case.make_rows(), case.layout, case.target, case.split)
    featurizer = load_featurizer(folder)
    baselines = Baselines(rows, folder, featurizer, season=SEASON)
    test = load_test_rows(rows, folder, featurizer)
    scale_R = compute_naive_scale(rows, read_sequences(folder, TEST), featurizer, season=SEASON)
    fitted = baselines.fit()
    scored = baselines.predict_fitted(fitted, test, scale_R) | baselines.predict_past(test, scale_R)

    assert set(fitted) == case.baselines
    for name, model in fitted.items():
        network = Baseline(name, model, describe_rows(featurizer))
        save_bundle(Bundle(featurizer, network, ModelConfig()), tmp_path / name)
        table, served = predict(load_bundle(tmp_path / name), rows, folder)

        assert_same_predictions(served, scored[name])
        assert set(table["status"]) == {"ok"}
        assert not [path.name for path in (tmp_path / name).iterdir() if "pkl" in path.suffix]


@pytest.mark.parametrize(
    ("name", "rows", "folds"), [("series", 48, 5), ("forecast", None, 1), ("tags", None, 5)]
)
def test_the_best_baseline_on_rows_that_it_has_not_learned_from_is_chosen(
    tmp_path, name: str, rows: int | None, folds: int
) -> None:
    case, folder = CASES[name], tmp_path / "features"
    source = FallbackSource(
        write_features(folder, case.make_rows(), case.layout, case.target, case.split),
        folder,
        GateConfig(season_length=SEASON),
    )

    facts = build_fallback(tmp_path / "model", source, HeadConfig())
    bundle = load_bundle(tmp_path / "model" / "bundle")

    assert facts.baseline.folds == folds
    assert rows is None or facts.baseline.rows == rows
    assert set(facts.baseline.scores) == case.baselines
    sign = -1 if facts.baseline.metric == "mae" else 1
    assert facts.baseline.name == max(
        facts.baseline.scores, key=lambda each: sign * facts.baseline.scores[each]
    )
    assert isinstance(bundle.network, Baseline)
    assert bundle.network.name == facts.baseline.name


def test_test_rows_choose_nothing(tmp_path) -> None:
    case = CASES["series"]
    frame = case.make_rows()
    other = frame.with_columns(
        label=pl.when(pl.col("split") == "test").then(pl.lit("a")).otherwise("label")
    )

    chosen = []
    for name, rows in (("one", frame), ("two", other)):
        folder = tmp_path / name
        source = FallbackSource(
            write_features(folder, rows, case.layout, case.target, case.split), folder, GateConfig()
        )
        facts = build_fallback(folder / "model", source, HeadConfig())
        chosen.append((facts.baseline, (folder / "model/bundle/baseline.safetensors").read_bytes()))

    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("loss", ["mse", "quantile", "gaussian_nll", "student_t"])
def test_a_baseline_has_the_quantiles_and_intervals_of_the_head(tmp_path, loss: str) -> None:
    case, folder, head = CASES["forecast"], tmp_path / "features", HeadConfig(loss=loss)
    rows = write_features(folder, case.make_rows(), case.layout, case.target, case.split)
    source = FallbackSource(rows, folder, GateConfig(season_length=SEASON))

    facts = build_fallback(tmp_path / "model", source, head)
    table, served = predict(load_bundle(tmp_path / "model" / "bundle"), rows, folder)
    baselines = Baselines(rows, folder, load_featurizer(folder), season=SEASON)
    test = load_test_rows(rows, folder, baselines.featurizer)
    scored = baselines.predict_fitted(baselines.fit(), test, np.ones(len(test.rows_R)))

    np.testing.assert_allclose(
        served.absolute_error_R, scored[facts.baseline.name].absolute_error_R, rtol=1e-4, atol=1e-4
    )
    assert table["interval_low"].list.len().unique().to_list() == [9]
    inside = (
        table.select(pl.col("interval_low", "prediction", "interval_high").explode())
        .select(
            (pl.col("interval_low") <= pl.col("prediction"))
            & (pl.col("prediction") <= pl.col("interval_high"))
        )
        .to_series()
    )
    assert inside.all()
    if loss != "mse":
        low, high = (table[f"quantile_{level}"].explode() for level in (0.1, 0.9))
        assert (low < high).all()
        assert 0.5 < served.covered_R.sum() / served.count_R.sum() <= 1.0


def test_counts_of_a_baseline_are_counts(tmp_path) -> None:
    draw = np.random.default_rng(0)
    frame = make_weekly_sales().with_columns(
        sales=pl.Series(draw.poisson(3 + 2 * (np.arange(320) % 7 == 0)))
    )
    layout, folder = build_weekly_layout(SeriesInput(column="sales"), horizon=7), tmp_path / "f"
    source = FallbackSource(
        write_features(folder, frame, layout, FORECAST, BY_TIME), folder, GateConfig()
    )

    build_fallback(tmp_path / "model", source, HeadConfig(loss="negative_binomial"))
    table, served = predict(load_bundle(tmp_path / "model" / "bundle"), source.rows, folder)

    low, high = (table[f"quantile_{level}"].explode() for level in (0.1, 0.9))
    np.testing.assert_allclose(low, low.round(), atol=1e-3)
    assert low.min() >= -1e-3
    assert 0.6 < served.covered_R.sum() / served.count_R.sum() <= 1.0
    assert (high >= low).all()


def test_a_better_baseline_that_cannot_serve_is_named(tmp_path) -> None:
    # The next demand is the last one, which is no input: it cannot serve.
    frame = build_shop_sales().with_columns(
        demand=pl.col("day").dt.ordinal_day().cast(pl.Float64) * 3
    )
    layout, folder = build_daily_layout(SeriesInput(column="price")), tmp_path / "features"
    source = FallbackSource(
        write_features(folder, frame, layout, NUMBER, BY_TIME), folder, GateConfig()
    )

    facts = build_fallback(tmp_path / "model", source, HeadConfig())

    assert facts.baseline.better == "last value"
    assert facts.baseline.name in {"mean", "ridge regression"}
    assert facts.baseline.scores["last value"] < facts.baseline.scores[facts.baseline.name]


def test_rows_that_a_baseline_cannot_read_get_a_status(tmp_path) -> None:
    case, folder = CASES["series"], tmp_path / "features"
    frame = case.make_rows()
    source = FallbackSource(
        write_features(folder, frame, case.layout, case.target, case.split), folder, GateConfig()
    )
    build_fallback(tmp_path / "model", source, HeadConfig())
    damaged = frame.head(3).with_columns(
        x=pl.when(pl.int_range(3) == 1).then(pl.lit([], pl.List(pl.Float64))).otherwise("x")
    )

    table = load_bundle(tmp_path / "model" / "bundle").predict(damaged)

    assert table["status"].to_list() == ["ok", "column 'x' is empty", "ok"]
    assert table["prediction"].null_count() == 1
    assert table["probabilities"].list.sum().drop_nulls().to_list() == pytest.approx([1.0, 1.0])


def test_a_damaged_baseline_is_refused(tmp_path) -> None:
    case, folder = CASES["number"], tmp_path / "features"
    source = FallbackSource(
        write_features(folder, case.make_rows(), case.layout, case.target, case.split),
        folder,
        GateConfig(),
    )
    build_fallback(tmp_path / "model", source, HeadConfig())
    path = tmp_path / "model" / "bundle" / "baseline.safetensors"
    path.write_bytes(path.read_bytes()[:40])

    with pytest.raises(BundleError, match="holds a damaged baseline"):
        load_bundle(path.parent)
