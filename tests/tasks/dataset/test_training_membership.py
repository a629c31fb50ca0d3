"""A model is evaluated only on rows that were not in its training, however rows were split."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import BundleError, UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import TEST, TRAINING, VALIDATION, SplitConfig
from models.features.splitting.training_rows import FILE, load_training_rows
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.rowset import RowSet
from tasks.dataset.training_membership import (
    hash_rows,
    list_target_rows,
    mark_training_rows,
    mark_training_sequences,
)
from tests.support.input_tables import NUMBER, by_day, shops
from tests.support.trained_models import ALONE, features, rows_of, tides, trained, weekly

LABEL = TargetConfig(column="label", kind="category")

SPLITS = {
    "hash": SplitConfig(),
    "id": SplitConfig(id="id"),
    "id, equal rows kept": SplitConfig(id="id", duplicates="keep"),
    "group": SplitConfig(group="group"),
    "stratified": SplitConfig(by="stratified"),
    "column": SplitConfig(by="column", column="split"),
    "time": SplitConfig(by="time"),
    "time, equal rows kept": SplitConfig(by="time", duplicates="keep"),
    "near": SplitConfig(near_duplicate_threshold=0.8),
}


def letters(rows: int = 300, seed: int = 0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    texts = ["".join(draw.choice(list("abcdefgh "), 40)) for _ in range(rows)]
    splits = [
        "test" if index % 4 == 0 else "dev" if index % 4 == 1 else "train" for index in range(rows)
    ]
    return pl.DataFrame(
        {
            "x": texts,
            "id": range(rows),
            "group": [f"g{index // 5}" for index in range(rows)],
            "split": splits,
            "t": range(rows),
            "label": [str(index % 2) for index in range(rows)],
        }
    )


TIMED = Layout(input=ALONE.input, window=None, time="t", entity=None)


def make_features(folder: Path, frame: pl.DataFrame, split: SplitConfig) -> tuple[RowSet, Path]:
    return features(folder, frame, TIMED, LABEL, split), folder


def split_rows(folder: Path, *splits: int) -> np.ndarray:
    return np.concatenate(
        [read_sequences(folder, split)["target_row"].to_numpy() for split in splits]
    )


@pytest.mark.parametrize("kind", SPLITS)
def test_training_and_validation_rows_are_marked_and_test_rows_are_not(kind, tmp_path) -> None:
    rows, folder = make_features(tmp_path / "f", letters(), SPLITS[kind])
    learned = load_training_rows(folder)

    seen = mark_training_rows(rows, learned, split_rows(folder, TRAINING, VALIDATION))
    kept = mark_training_rows(rows, learned, split_rows(folder, TEST))

    assert seen.all()
    assert not kept.any()


@pytest.mark.parametrize("kind", SPLITS)
def test_rows_of_a_grown_source_are_marked_one_by_one(kind, tmp_path) -> None:
    then, folder = make_features(tmp_path / "then", letters(), SPLITS[kind])
    newer = letters(100, seed=9).with_columns(
        pl.col("id") + 1000, pl.col("t") + 1000, group=pl.format("new {}", "group")
    )
    grown = pl.concat([letters(), newer])
    now = rows_of(grown, tmp_path / "now.parquet")

    found = mark_training_rows(now, load_training_rows(folder), np.arange(len(grown)))

    expected = np.isin(np.arange(len(grown)), split_rows(folder, TRAINING, VALIDATION))
    if kind == "group":
        # A new row of a group in training counts as a training row.
        expected = np.isin(grown["group"], grown["group"].gather(np.flatnonzero(expected)))
    np.testing.assert_array_equal(found, expected)
    assert len(then.scan().collect()) == 300


def test_a_training_text_that_reappears_with_another_id_is_marked(tmp_path) -> None:
    _, folder = make_features(tmp_path / "f", letters(), SPLITS["id"])
    old = letters()["x"][int(split_rows(folder, TRAINING)[0])]
    again = letters(3, seed=5).with_columns(id=pl.lit(9_999, pl.Int64), x=pl.lit(old))

    found = mark_training_rows(
        rows_of(again, tmp_path / "n.parquet"), load_training_rows(folder), np.arange(3)
    )

    assert found.all()


def test_a_near_duplicate_of_a_training_text_is_marked(tmp_path) -> None:
    frame = letters().with_columns(x=pl.concat_str("x", pl.col("x").str.reverse()))
    _, folder = make_features(tmp_path / "f", frame, SPLITS["near"])
    learned, places = load_training_rows(folder), split_rows(folder, TRAINING)
    near = frame[places].with_columns(x=pl.col("x").str.replace(r"..$", "zz"))
    other = letters(50, seed=77).with_columns(x=pl.concat_str("x", pl.col("x").str.reverse()))

    found = mark_training_rows(rows_of(near, tmp_path / "a.parquet"), learned, np.arange(len(near)))
    never = mark_training_rows(rows_of(other, tmp_path / "b.parquet"), learned, np.arange(50))

    assert found.mean() > 0.95
    assert not never.any()


def test_windows_are_recognized_by_their_time_series_or_both(tmp_path) -> None:
    read = SeriesInput(column="sales", scale_per="entity")
    number = TargetConfig(column="sales", kind="number")
    told = (
        pl.when(pl.col("day") < pl.date(2024, 1, 28))
        .then(pl.lit("train"))
        .otherwise(pl.lit("test"))
    )
    cases = {
        "time": (tides(), weekly(read, horizon=1), SplitConfig(by="time"), number),
        "hash": (shops(shops=40), by_day(read), SplitConfig(by="hash"), NUMBER),
        "column": (
            shops(shops=12).with_columns(split=told),
            by_day(read),
            SplitConfig(by="column", column="split", validation=0.5),
            NUMBER,
        ),
    }
    for name, (frame, layout, split, target) in cases.items():
        folder = tmp_path / name
        rows = features(folder, frame, layout, target, split)
        learned = load_training_rows(folder)

        assert mark_training_rows(rows, learned, split_rows(folder, TRAINING, VALIDATION)).all(), (
            name
        )
        assert not mark_training_rows(rows, learned, split_rows(folder, TEST)).any(), name


def test_the_record_does_not_depend_on_the_order_of_the_rows(tmp_path) -> None:
    _, one = make_features(tmp_path / "one", letters(), SPLITS["near"])
    _, two = make_features(
        tmp_path / "two", letters().sample(fraction=1, shuffle=True, seed=1), SPLITS["near"]
    )

    assert (one / FILE).read_bytes() == (two / FILE).read_bytes()


def test_another_column_type_or_a_damaged_record_is_refused(tmp_path) -> None:
    rows, folder = make_features(tmp_path / "f", letters(), SPLITS["id"])
    learned = load_training_rows(folder)
    cast = rows_of(letters().cast({"id": pl.Float64}), tmp_path / "n.parquet")

    with pytest.raises(UnlearnableError, match="nobody can tell"):
        mark_training_rows(cast, learned, np.arange(3))
    (folder / FILE).write_bytes(b"x" * 20)
    with pytest.raises(BundleError, match="damaged"):
        load_training_rows(folder)
    (folder / FILE).unlink()
    assert load_training_rows(folder) is None
    assert len(hash_rows(rows, load_featurizer(folder), np.array([5, 2, 2]))) == 3


def test_rows_are_hashed_in_the_requested_order(tmp_path) -> None:
    rows, folder = make_features(tmp_path / "f", letters(), SPLITS["hash"])
    featurizer = load_featurizer(folder)

    one, two = (
        hash_rows(rows, featurizer, np.array(order)) for order in ([7, 3, 250], [3, 250, 7])
    )

    assert one.tolist() == [two[2], two[0], two[1]]
    assert len(set(one.tolist())) == 3


def test_a_model_contains_the_record_of_its_training_rows(tmp_path) -> None:
    _, folder = make_features(tmp_path / "f", letters(), SPLITS["hash"])

    trained(folder)

    carried = tmp_path / "f" / "model" / "bundle" / FILE
    assert carried.read_bytes() == (folder / FILE).read_bytes()


def test_a_forecast_whose_first_steps_were_in_training_is_marked(tmp_path) -> None:
    read, told = SeriesInput(column="sales"), TargetConfig(column="sales", kind="forecast")
    layout, frame = weekly(read, horizon=7), tides()
    early = frame.filter(pl.col("day") < frame["day"].max() - pl.duration(days=3))
    for name, table in (("then", early), ("now", frame)):
        rows = features(tmp_path / name, table, layout, told, SplitConfig(by="time", test=0.2))
    learned = load_training_rows(tmp_path / "then")
    now = read_sequences(tmp_path / "now", TEST)
    featurizer = load_featurizer(tmp_path / "now")

    found = mark_training_sequences(rows, learned, list_target_rows(now, featurizer))

    days, seen = frame["day"], training_days(tmp_path / "then", early)
    shares = [
        any(days[int(end + step)] in seen for step in range(1, 8)) for end in now["row"].to_list()
    ]
    assert not (np.array(shares) & ~found).any()
    assert found.sum() - sum(shares) <= 2


def training_days(folder: Path, frame: pl.DataFrame) -> set:
    ends = np.concatenate(
        [read_sequences(folder, split)["row"].to_numpy() for split in (TRAINING, VALIDATION)]
    )
    return {frame["day"][int(end + step)] for end in ends for step in range(1, 8)}
