"""Every kind of answer, from raw rows to a score: fitted on training alone, in raw units."""

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
from tests.support.input_tables import by_day, shops, table, waves, whole
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

FORECAST = TargetConfig(column="sales", kind="forecast")


def scored(folder: Path, rows: RowSet, bundle: Bundle) -> tuple[pl.DataFrame, object, dict]:
    """What the model said, how it is judged, and the baselines."""
    featurizer = load_featurizer(folder)
    test = load_test_rows(rows, folder, featurizer)
    scale_R = compute_naive_scale(rows, read_sequences(folder, TEST), featurizer, season=7)
    said = predict_test_rows(bundle, rows, test)
    naive = Baselines(rows, folder, featurizer, season=7).predict(said, test, scale_R)
    return said, pair_with_targets(said, test, featurizer, scale_R), naive


# --- forecasts


@pytest.mark.parametrize("scale_per", ["all", "entity"])
@pytest.mark.parametrize("column", ["sales", "price"])
def test_a_forecast_s_answers_are_the_next_rows_of_its_series(tmp_path, scale_per, column) -> None:
    read = SeriesInput(column=column, scale_per=scale_per)
    frame, layout = shops(), by_day(read, length=5, horizon=3)
    folder = tmp_path / "features"
    rows = features(folder, frame, layout, FORECAST, BY_TIME)
    featurizer = load_featurizer(folder)

    for split in (TRAINING, TEST):
        sequences = read_sequences(folder, split)
        truth = load_targets(sequences, folder, rows, featurizer)
        assert len(sequences)
        for window, ahead_T in zip(sequences["row"].to_list(), truth, strict=True):
            assert frame["shop"][window] == frame["shop"][window + 3]
            expected = frame["sales"][window + 1 : window + 4].to_numpy()
            np.testing.assert_allclose(ahead_T, expected.astype(float), rtol=1e-5, atol=1e-3)


def test_no_forecast_looks_over_the_edge_of_its_split(tmp_path) -> None:
    frame, layout = shops(), by_day(SeriesInput(column="sales"), length=5, horizon=4)
    folder = tmp_path / "features"
    features(folder, frame, layout, FORECAST, BY_TIME)

    days = {}
    for split in (TRAINING, 1, TEST):
        ends = read_sequences(folder, split)["row"].to_numpy()
        days[split] = {frame["day"][int(end + step)] for end in ends for step in range(1, 5)}

    assert max(days[TRAINING]) < min(days[1]) <= max(days[1]) < min(days[TEST])


def test_a_forecast_is_fitted_on_training_alone(tmp_path) -> None:
    frame, layout = shops(), by_day(SeriesInput(column="sales", scale_per="entity"))
    late = pl.col("day") >= pl.date(2024, 1, 20)
    other = frame.with_columns(sales=pl.when(late).then(pl.col("sales") * 50).otherwise("sales"))

    fitted = []
    for name, rows in (("one", frame), ("two", other)):
        features(tmp_path / name, rows, layout, FORECAST, SplitConfig(test=0.4, validation=0.2))
        fitted.append((tmp_path / name / "featurizer.json").read_bytes())

    assert fitted[0] == fitted[1]


def test_windows_of_a_shuffled_table_have_the_same_answers(tmp_path) -> None:
    frame, layout = shops(), by_day(SeriesInput(column="sales"))
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)

    features(tmp_path / "one", frame, layout, FORECAST, BY_TIME)
    features(tmp_path / "two", mixed, layout, FORECAST, BY_TIME)

    np.testing.assert_array_equal(map_targets(tmp_path / "one"), map_targets(tmp_path / "two"))


def test_windows_share_their_answers_instead_of_copying_them(tmp_path) -> None:
    named = pl.col("shop").replace({"s0": "train", "s1": "train", "s2": "dev", "s3": "test"})
    frame = shops().with_columns(of=named)
    layout = by_day(SeriesInput(column="sales"), length=5, horizon=20)
    split = SplitConfig(by="column", column="of")

    features(tmp_path / "features", frame, layout, FORECAST, split)

    assert len(map_targets(tmp_path / "features")) == len(frame)


def test_gaps_of_a_resampled_series_are_neither_taught_nor_judged(tmp_path) -> None:
    frame = tides().filter(pl.int_range(pl.len()) % 9 != 4)
    read = SeriesInput(column="sales", frequency="1d", impute="last")
    layout = weekly(read, horizon=3)
    folder = tmp_path / "features"
    rows = features(folder, frame, layout, FORECAST, BY_TIME)

    _, found, naive = scored(folder, rows, trained(folder))
    truth = load_targets(read_sequences(folder, TEST), folder, rows, load_featurizer(folder))

    assert np.isnan(truth).any(axis=1).any()
    assert not np.isnan(truth).all(axis=1).any()
    assert found.count_R.sum() == np.isfinite(truth).sum()
    assert all(np.isfinite(answers.absolute_R).all() for answers in naive.values())


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
def test_a_week_that_repeats_itself_is_foretold(tmp_path, head: HeadConfig) -> None:
    read = SeriesInput(column="sales", scale_per="entity")
    layout, folder = weekly(read, horizon=7), tmp_path / "features"
    rows = features(folder, tides(), layout, FORECAST, BY_TIME)

    said, found, naive = scored(folder, rows, trained(folder, epochs=25, head=head))

    errors = {name: answers.absolute_R.sum() for name, answers in naive.items()}
    assert set(errors) == {
        "last value", "seasonal naive", "ridge regression", "ridge from the last value"
    }  # fmt: skip
    assert found.absolute_R.sum() < 0.4 * errors["last value"]
    assert said["prediction"].list.len().unique().to_list() == [7]
    # A mistake of one seasonal step is 2 % noise twice: the measure of MASE.
    assert found.scaled_R.sum() / found.count_R.sum() < 3
    if head.loss not in {"mse", "mae"}:
        inside = found.inside_R.sum() / found.count_R.sum()
        assert 0.4 < inside <= 1.0


def test_counts_are_told_as_counts(tmp_path) -> None:
    draw = np.random.default_rng(0)
    frame = tides().with_columns(sales=pl.Series(draw.poisson(3 + 2 * (np.arange(320) % 7 == 0))))
    layout, folder = weekly(SeriesInput(column="sales"), horizon=7), tmp_path / "f"
    rows = features(folder, frame, layout, FORECAST, BY_TIME)

    said, found, _ = scored(
        folder, rows, trained(folder, epochs=5, head=HeadConfig(loss="negative_binomial"))
    )

    low, high = (said[f"quantile_{level}"].explode() for level in (0.1, 0.9))
    for column in (low, high):
        np.testing.assert_allclose(column, column.round(), atol=1e-3)
    assert 0.6 < found.inside_R.sum() / found.count_R.sum() <= 1.0
    assert low.min() >= -1e-3


# --- tags


TAGS = TargetConfig(column="tags", kind="tags")


def test_tags_are_found_and_told_as_lists(tmp_path) -> None:
    folder = tmp_path / "features"
    rows = features(folder, tagged(), ALONE, TAGS)

    said, found, naive = scored(
        folder, rows, trained(folder, epochs=30, hidden_size=24, pooling="max")
    )

    right = (found.target_RK == found.prediction_RK).mean()
    assert right > 0.9
    assert set(naive) == {"shares", "logistic regression"}
    assert said.schema["prediction"] == pl.List(pl.String)
    assert said["probabilities"].list.len().unique().to_list() == [3]


def test_a_tag_that_training_never_showed_counts_as_missed(tmp_path) -> None:
    frame = tagged(40)
    new = pl.when(pl.col("split") == "test").then(pl.col("tags").list.concat(pl.lit(["hail"])))
    frame = frame.with_columns(tags=new.otherwise("tags"))
    folder = tmp_path / "features"
    rows = features(folder, frame, ALONE, TAGS)

    _, found, naive = scored(folder, rows, trained(folder))

    for answers in (found, *naive.values()):
        assert found.target_RK[:, -1].all()
        assert not answers.prediction_RK[:, -1].any()


def test_a_row_without_a_list_of_tags_is_refused_and_an_empty_list_is_not(tmp_path) -> None:
    frame = tagged(40)
    empty = frame.with_columns(tags=pl.when(pl.int_range(40) == 5).then([]).otherwise("tags"))
    null = frame.with_columns(tags=pl.when(pl.int_range(40) != 5).then("tags"))

    features(tmp_path / "one", empty, ALONE, TAGS)
    with pytest.raises(UnlearnableError, match=r"target 'tags' is missing .* in 1 of 40 rows"):
        features(tmp_path / "two", null, ALONE, TAGS)


# --- texts


@pytest.mark.parametrize(
    ("head", "unit"),
    [
        (HeadConfig(decoder="attention", beam_size=2), "character"),
        (HeadConfig(decoder="attention", beam_size=1), "bpe"),
    ],
    ids=["characters", "byte pairs"],
)
def test_a_text_is_written_for_a_text(tmp_path, head: HeadConfig, unit: str) -> None:
    folder = tmp_path / "features"
    size = {"vocab_size": 300} if unit == "bpe" else {}
    target = TargetConfig(column="y", kind="text", tokenizer=unit, **size)
    rows = features(
        folder, turned(), ALONE, target, SplitConfig(by="column", column="split", duplicates="keep")
    )

    bundle = trained(
        folder, epochs=60, head=head, hidden_size=32, bidirectional=True, embedding_dim=16
    )
    said, found, naive = scored(folder, rows, bundle)

    errors = found.edits_R.sum() / found.characters_R.sum()
    assert errors < 0.9 * min(a.edits_R.sum() / a.characters_R.sum() for a in naive.values())
    assert said.schema["prediction"] == pl.String
    assert said["probability"].is_between(0, 1).all()


def test_a_text_is_written_while_its_input_is_read(tmp_path) -> None:
    draw = np.random.default_rng(2)
    frame = turned(200)
    heights = {letter: place * 2.0 for place, letter in enumerate("ABCD")}
    cells = [
        [
            h + draw.normal(0, 0.2)
            for letter in text
            for h in (heights[letter], heights[letter], -3.0)
        ]
        for text in frame["y"]
    ]
    frame = frame.with_columns(x=pl.Series(cells))
    layout = Layout(input=SeriesInput(column="x"), window=None, time=None, entity=None)
    folder = tmp_path / "features"
    rows = features(folder, frame, layout, TargetConfig(column="y", kind="text"))

    bundle = trained(folder, epochs=30, head=HeadConfig(decoder="ctc"), hidden_size=24)
    _, found, _ = scored(folder, rows, bundle)

    assert found.edits_R.sum() / found.characters_R.sum() < 0.1


def test_texts_that_are_longer_than_their_input_are_refused(tmp_path) -> None:
    frame = turned(60).with_columns(x=pl.lit("a") + pl.int_range(60).cast(pl.String))
    folder = tmp_path / "features"
    features(folder, frame, ALONE, TargetConfig(column="y", kind="text"))

    with pytest.raises(UnlearnableError, match=r"head.decoder ctc: .* set head.decoder: attention"):
        trained(folder, head=HeadConfig(decoder="ctc"))


# --- mining


@pytest.mark.parametrize("kind", ["next_step", "reconstruction"])
def test_what_is_unlike_training_stands_out(tmp_path, kind: str) -> None:
    frame = tides()
    odd = (pl.col("day") >= pl.date(2024, 5, 20)) & (pl.col("day") < pl.date(2024, 5, 24))
    frame = frame.with_columns(sales=pl.when(odd).then(pl.col("sales") * 2.5).otherwise("sales"))
    layout = weekly(SeriesInput(column="sales", scale_per="entity"), horizon=1)
    folder = tmp_path / "features"
    rows = features(folder, frame, layout, TargetConfig(kind=kind), BY_TIME)

    said, found, naive = scored(folder, rows, trained(folder, epochs=20, hidden_size=24))

    ends = frame["day"].gather(read_sequences(folder, TEST)["row"])
    touched = ends.is_between(pl.date(2024, 5, 20), pl.date(2024, 6, 5)).to_numpy()
    error = said["prediction"].to_numpy()
    assert set(touched) == {True, False}
    assert error[touched].min() > error[~touched].max()
    assert found.error_R[~touched].sum() < 0.6 * found.baseline_R[~touched].sum()
    assert ("the step before" in naive) == (kind == "next_step")
    assert said["vector"].list.len().unique().to_list() == [24]


def test_rows_can_be_mined_without_any_answer(tmp_path) -> None:
    layout, folder = whole(SeriesInput(column="x")), tmp_path / "features"
    frame = table(waves).drop("label")
    rows = features(folder, frame, layout, TargetConfig(kind="reconstruction"))

    said, found, _ = scored(folder, rows, trained(folder))

    assert len(found) == len(said) == (frame["split"] == "test").sum()
    assert len(map_targets(folder)) == 0
    assert len(map_steps(folder))


def test_scaled_answers_come_from_their_own_place(tmp_path) -> None:
    layout = by_day(SeriesInput(column="sales"), length=5, horizon=2)
    folder = tmp_path / "features"
    features(folder, shops(), layout, FORECAST, BY_TIME)

    sequences = read_sequences(folder, TRAINING)
    values = read_scaled_targets(sequences, folder, load_featurizer(folder))
    own = map_steps(folder)[sequences["target_start"].to_numpy(), 0]

    seen = np.isfinite(values[:, 0])
    # On the scale of its own past, an answer is what a later window reads there.
    np.testing.assert_allclose(values[seen, 0], own[seen], rtol=1e-5, atol=1e-6)
    assert layout.window == WindowConfig(lookback=5, horizon=2)


def test_fractions_are_no_counts(tmp_path) -> None:
    layout, folder = weekly(SeriesInput(column="sales"), horizon=7), tmp_path / "features"
    features(folder, tides(), layout, FORECAST, BY_TIME)

    with pytest.raises(UnlearnableError, match=r"must be counts, and \d+ of \d+ .* are not"):
        trained(folder, head=HeadConfig(loss="negative_binomial"))
