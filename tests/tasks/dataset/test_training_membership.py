"""A model is evaluated only on rows outside its training, whatever the split."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import BundleError, UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import TEST, TRAINING, VALIDATION, SplitConfig
from models.features.splitting.training_rows import TRAINING_ROWS_FILE, load_training_rows
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.rowset import RowSet
from tasks.dataset.training_membership import (
    hash_rows,
    list_target_rows,
    mark_training_rows,
    mark_training_sequences,
)
from tests.support.input_tables import NUMBER, build_daily_layout, build_shop_sales
from tests.support.trained_models import (
    TEXT_LAYOUT,
    build_weekly_layout,
    make_weekly_sales,
    train_bundle,
    write_features,
    write_rows,
)

LABEL = TargetConfig(column="label", kind="category")

SPLITS = {
    "hash": SplitConfig(),
    "id": SplitConfig(id="id"),
    "id, with duplicates": SplitConfig(id="id", duplicates="keep"),
    "group": SplitConfig(group="group"),
    "stratified": SplitConfig(by="stratified"),
    "column": SplitConfig(by="column", column="split"),
    "time": SplitConfig(by="time"),
    "time, with duplicates": SplitConfig(by="time", duplicates="keep"),
    "near": SplitConfig(near_duplicate_threshold=0.8),
}


def make_texts(rows: int = 300, seed: int = 0) -> pl.DataFrame:
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


TIMED_LAYOUT = Layout(input=TEXT_LAYOUT.input, window=None, time="t", entity=None)


def make_features(folder: Path, frame: pl.DataFrame, split: SplitConfig) -> tuple[RowSet, Path]:
    return write_features(folder, frame, TIMED_LAYOUT, LABEL, split), folder


def read_target_rows(folder: Path, *splits: int) -> np.ndarray:
    return np.concatenate(
        [read_sequences(folder, split)["target_row"].to_numpy() for split in splits]
    )


@pytest.mark.parametrize("kind", SPLITS)
def test_training_and_validation_rows_are_marked_and_test_rows_are_not(kind, tmp_path) -> None:
    rows, folder = make_features(tmp_path / "f", make_texts(), SPLITS[kind])
    training_rows = load_training_rows(folder)

    in_training = mark_training_rows(
        rows, training_rows, read_target_rows(folder, TRAINING, VALIDATION)
    )
    in_test = mark_training_rows(rows, training_rows, read_target_rows(folder, TEST))

    assert in_training.all()
    assert not in_test.any()


@pytest.mark.parametrize("kind", SPLITS)
def test_rows_of_a_grown_source_are_marked_one_by_one(kind, tmp_path) -> None:
    rows, folder = make_features(tmp_path / "training", make_texts(), SPLITS[kind])
    newer = make_texts(100, seed=9).with_columns(
        pl.col("id") + 1000, pl.col("t") + 1000, group=pl.format("new {}", "group")
    )
    grown = pl.concat([make_texts(), newer])
    grown_rows = write_rows(grown, tmp_path / "grown.parquet")

    is_marked = mark_training_rows(grown_rows, load_training_rows(folder), np.arange(len(grown)))

    expected = np.isin(np.arange(len(grown)), read_target_rows(folder, TRAINING, VALIDATION))
    if kind == "group":
        # A new row of a group in training counts as a training row.
        expected = np.isin(grown["group"], grown["group"].gather(np.flatnonzero(expected)))
    np.testing.assert_array_equal(is_marked, expected)
    assert len(rows.scan().collect()) == 300


def test_a_training_text_that_reappears_with_another_id_is_marked(tmp_path) -> None:
    _, folder = make_features(tmp_path / "f", make_texts(), SPLITS["id"])
    known_text = make_texts()["x"][int(read_target_rows(folder, TRAINING)[0])]
    copies = make_texts(3, seed=5).with_columns(id=pl.lit(9_999, pl.Int64), x=pl.lit(known_text))

    is_marked = mark_training_rows(
        write_rows(copies, tmp_path / "n.parquet"), load_training_rows(folder), np.arange(3)
    )

    assert is_marked.all()


def test_a_near_duplicate_of_a_training_text_is_marked(tmp_path) -> None:
    frame = make_texts().with_columns(x=pl.concat_str("x", pl.col("x").str.reverse()))
    _, folder = make_features(tmp_path / "f", frame, SPLITS["near"])
    training_rows, indices = load_training_rows(folder), read_target_rows(folder, TRAINING)
    duplicates = frame[indices].with_columns(x=pl.col("x").str.replace(r"..$", "zz"))
    others = make_texts(50, seed=77).with_columns(x=pl.concat_str("x", pl.col("x").str.reverse()))

    is_marked = mark_training_rows(
        write_rows(duplicates, tmp_path / "a.parquet"), training_rows, np.arange(len(duplicates))
    )
    is_marked_other = mark_training_rows(
        write_rows(others, tmp_path / "b.parquet"), training_rows, np.arange(50)
    )

    assert is_marked.mean() > 0.95
    assert not is_marked_other.any()


def test_windows_are_recognized_by_time_series_or_both(tmp_path) -> None:
    series = SeriesInput(column="sales", scale_per="entity")
    number = TargetConfig(column="sales", kind="number")
    split_names = (
        pl.when(pl.col("day") < pl.date(2024, 1, 28))
        .then(pl.lit("train"))
        .otherwise(pl.lit("test"))
    )
    cases = {
        "time": (
            make_weekly_sales(),
            build_weekly_layout(series, horizon=1),
            SplitConfig(by="time"),
            number,
        ),
        "hash": (
            build_shop_sales(shops=40),
            build_daily_layout(series),
            SplitConfig(by="hash"),
            NUMBER,
        ),
        "column": (
            build_shop_sales(shops=12).with_columns(split=split_names),
            build_daily_layout(series),
            SplitConfig(by="column", column="split", validation=0.5),
            NUMBER,
        ),
    }
    for name, (frame, layout, split, target) in cases.items():
        folder = tmp_path / name
        rows = write_features(folder, frame, layout, target, split)
        training_rows = load_training_rows(folder)

        assert mark_training_rows(
            rows, training_rows, read_target_rows(folder, TRAINING, VALIDATION)
        ).all(), name
        assert not mark_training_rows(rows, training_rows, read_target_rows(folder, TEST)).any(), (
            name
        )


def test_the_record_does_not_depend_on_the_order_of_the_rows(tmp_path) -> None:
    _, one = make_features(tmp_path / "one", make_texts(), SPLITS["near"])
    _, two = make_features(
        tmp_path / "two", make_texts().sample(fraction=1, shuffle=True, seed=1), SPLITS["near"]
    )

    assert (one / TRAINING_ROWS_FILE).read_bytes() == (two / TRAINING_ROWS_FILE).read_bytes()


def test_a_changed_column_type_and_a_damaged_record_are_refused(tmp_path) -> None:
    rows, folder = make_features(tmp_path / "f", make_texts(), SPLITS["id"])
    training_rows = load_training_rows(folder)
    cast = write_rows(make_texts().cast({"id": pl.Float64}), tmp_path / "n.parquet")

    with pytest.raises(UnlearnableError, match="it is unknown which rows were trained on"):
        mark_training_rows(cast, training_rows, np.arange(3))
    (folder / TRAINING_ROWS_FILE).write_bytes(b"x" * 20)
    with pytest.raises(BundleError, match="damaged"):
        load_training_rows(folder)
    (folder / TRAINING_ROWS_FILE).unlink()
    assert load_training_rows(folder) is None
    assert len(hash_rows(rows, load_featurizer(folder), np.array([5, 2, 2]))) == 3


def test_rows_are_hashed_in_the_requested_order(tmp_path) -> None:
    rows, folder = make_features(tmp_path / "f", make_texts(), SPLITS["hash"])
    featurizer = load_featurizer(folder)

    one, two = (
        hash_rows(rows, featurizer, np.array(order)) for order in ([7, 3, 250], [3, 250, 7])
    )

    assert one.tolist() == [two[2], two[0], two[1]]
    assert len(set(one.tolist())) == 3


def test_a_model_contains_the_record_of_its_training_rows(tmp_path) -> None:
    _, folder = make_features(tmp_path / "f", make_texts(), SPLITS["hash"])

    train_bundle(folder)

    record = tmp_path / "f" / "model" / "bundle" / TRAINING_ROWS_FILE
    assert record.read_bytes() == (folder / TRAINING_ROWS_FILE).read_bytes()


def test_a_forecast_whose_first_steps_were_in_training_is_marked(tmp_path) -> None:
    target = TargetConfig(column="sales", kind="forecast")
    layout = build_weekly_layout(SeriesInput(column="sales"), horizon=7)
    frame = make_weekly_sales()
    early = frame.filter(pl.col("day") < frame["day"].max() - pl.duration(days=3))
    for name, table in (("training", early), ("test", frame)):
        rows = write_features(
            tmp_path / name, table, layout, target, SplitConfig(by="time", test=0.2)
        )
    training_rows = load_training_rows(tmp_path / "training")
    sequences = read_sequences(tmp_path / "test", TEST)
    featurizer = load_featurizer(tmp_path / "test")

    is_marked = mark_training_sequences(
        rows, training_rows, list_target_rows(sequences, featurizer)
    )

    days, known_days = frame["day"], list_training_days(tmp_path / "training", early)
    has_training_day = [
        any(days[int(end + step)] in known_days for step in range(1, 8))
        for end in sequences["row"].to_list()
    ]
    assert not (np.array(has_training_day) & ~is_marked).any()
    assert is_marked.sum() - sum(has_training_day) <= 2


def list_training_days(folder: Path, frame: pl.DataFrame) -> set:
    ends = np.concatenate(
        [read_sequences(folder, split)["row"].to_numpy() for split in (TRAINING, VALIDATION)]
    )
    return {frame["day"][int(end + step)] for end in ends for step in range(1, 8)}
