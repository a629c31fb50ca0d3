"""Fitted state never depends on validation or test rows; serving and training read rows alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import TEST, TRAINING, SplitConfig, split_by_hash
from tasks.dataset import rowset as row_reading
from tasks.dataset.feature_files import (
    map_steps,
    map_targets,
    read_sequences,
    read_static_covariates,
)
from tasks.dataset.rowset import RowSet
from tasks.features.featurize import build_features
from tests.support.input_tables import (
    CATEGORY,
    KINDS,
    NUMBER,
    ROWS,
    WINDOWS,
    build_daily_layout,
    build_shop_sales,
    build_table,
)

BY_COLUMN = SplitConfig(by="column", column="split", duplicates="keep")

BY_ID = SplitConfig(by="hash", id="id", duplicates="keep", test=0.3)


def mark_training_rows(frame: pl.DataFrame) -> pl.Series:
    return pl.Series(split_by_hash(hash_frame_rows(frame, ["id"]), BY_ID) == TRAINING)


def write_rows(frame: pl.DataFrame, path: Path) -> RowSet:
    frame.write_parquet(path, row_group_size=17)
    return RowSet((path,), frame.schema)


def make_features(
    folder: Path, frame: pl.DataFrame, layout, target=CATEGORY, split=BY_COLUMN
) -> Path:
    folder.mkdir()
    rows = write_rows(frame, folder / "rows.parquet")
    build_features(folder, rows, layout=layout, target=target, split=split)
    return folder


def read_fitted_bytes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("featurizer.*"))]


@pytest.mark.parametrize("kind", KINDS)
def test_fitted_state_does_not_change_with_the_other_rows(kind: str, tmp_path) -> None:
    layout, cells = KINDS[kind]
    frame, other = build_table(cells), build_table(cells, seed=9)
    is_training = mark_training_rows(frame)
    changed = frame.with_columns(
        pl.Series(name, frame[name]).zip_with(is_training, other[name])
        for name in ("x", "town", "size")
    )

    one = make_features(tmp_path / "one", frame, layout, split=BY_ID)
    two = make_features(tmp_path / "two", changed, layout, split=BY_ID)

    assert not frame["x"].equals(changed["x"])
    assert read_fitted_bytes(one) == read_fitted_bytes(two)


# Byte pairs of the same twelve words are the same in any order.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text, bpe"])
def test_fitted_state_changes_with_the_training_rows(kind: str, tmp_path) -> None:
    layout, cells = KINDS[kind]
    frame = build_table(cells)
    is_training = mark_training_rows(frame)
    changed = frame.with_columns(
        x=frame["x"].zip_with(~is_training, build_table(cells, seed=9)["x"])
    )

    one = make_features(tmp_path / "one", frame, layout, split=BY_ID)
    two = make_features(tmp_path / "two", changed, layout, split=BY_ID)

    assert read_fitted_bytes(one) != read_fitted_bytes(two)


@pytest.mark.parametrize("kind", WINDOWS)
def test_fitted_state_does_not_depend_on_the_future_of_a_series(kind: str, tmp_path) -> None:
    frame, layout = build_shop_sales(), build_daily_layout(WINDOWS[kind])
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    # Training targets are from before the 25th; bins of two days begin on another day.
    is_late = pl.col("day") >= pl.date(2024, 1, 27 if kind == "resampled" else 25)
    changed = frame.with_columns(
        sales=pl.when(is_late).then(pl.col("sales") * 50 + 7).otherwise("sales"),
        price=pl.when(is_late).then(99.0).otherwise("price"),
        demand=pl.when(is_late).then(pl.col("demand") * 3).otherwise("demand"),
        town=pl.when(is_late).then(pl.lit("Linz")).otherwise("town"),
    )

    one = make_features(tmp_path / "one", frame, layout, NUMBER, split)
    two = make_features(tmp_path / "two", changed, layout, NUMBER, split)

    assert read_fitted_bytes(one) == read_fitted_bytes(two)
    before, after = (read_sequences(folder, TRAINING) for folder in (one, two))
    assert before.equals(after)
    for (start, stop), *_ in zip(before.select("start", "stop").rows(), strict=False):
        np.testing.assert_array_equal(map_steps(one)[start:stop], map_steps(two)[start:stop])


@pytest.mark.parametrize("kind", KINDS)
def test_a_served_row_reads_as_the_same_row_did_in_training(kind: str, tmp_path) -> None:
    layout, cells = KINDS[kind]
    frame = build_table(cells)
    folder = make_features(tmp_path / "features", frame, layout)

    featurizer, stored = load_featurizer(folder), map_steps(folder)

    for split in (TRAINING, TEST):
        sequences = read_sequences(folder, split)
        statics = read_static_covariates(sequences)
        for index, (row, start, stop) in enumerate(
            sequences.select("row", "start", "stop").iter_rows()
        ):
            sample = featurizer.transform(frame.select(layout.raw_columns)[row])
            # Matrix products round differently for another number of rows.
            np.testing.assert_allclose(sample.steps.values_NC, stored[start:stop], 1e-5, 1e-5)
            np.testing.assert_array_equal(
                sample.static_covariates.codes_RK[0], statics.codes_RK[index]
            )
            np.testing.assert_array_equal(
                sample.static_covariates.numbers_RF[0], statics.numbers_RF[index]
            )


@pytest.mark.parametrize("kind", WINDOWS)
def test_a_served_window_reads_as_the_same_window_did_in_training(kind: str, tmp_path) -> None:
    frame, layout = (
        build_shop_sales().sample(fraction=1, shuffle=True, seed=3),
        build_daily_layout(WINDOWS[kind]),
    )
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    folder = make_features(tmp_path / "features", frame, layout, NUMBER, split)

    sample = load_featurizer(folder).transform(frame.select(layout.raw_columns))

    stored, steps = map_steps(folder), sample.steps
    sequences = read_sequences(folder, TEST)
    assert len(sequences) > 10
    for row, start, stop in sequences.select("row", "start", "stop").iter_rows():
        served = steps.values_NC[steps.starts_R[row] : steps.stops_R[row]]
        np.testing.assert_array_equal(served, stored[start:stop])


@pytest.mark.parametrize("kind", WINDOWS)
def test_a_table_read_in_small_slices_gives_the_features_of_the_whole(
    kind: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, layout = build_shop_sales(), build_daily_layout(WINDOWS[kind])
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    whole = make_features(tmp_path / "whole", frame, layout, NUMBER, split)

    monkeypatch.setattr(row_reading, "FRAME_BYTES", 1)
    sliced = make_features(tmp_path / "sliced", frame, layout, NUMBER, split)

    np.testing.assert_allclose(map_steps(sliced), map_steps(whole), rtol=1e-6, atol=1e-6)
    columns = ["row", "split", "start", "stop", "target_row", "target"]
    one, two = (pl.read_parquet(f / "sequences.parquet", columns=columns) for f in (whole, sliced))
    assert one.equals(two)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_read_in_small_frames_give_the_features_of_the_whole(
    kind: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cells = KINDS[kind]
    whole = make_features(tmp_path / "whole", build_table(cells), layout)

    monkeypatch.setattr(row_reading, "FRAME_BYTES", 1)
    framed = make_features(tmp_path / "framed", build_table(cells), layout)

    np.testing.assert_allclose(map_steps(framed), map_steps(whole), rtol=1e-5, atol=1e-6)
    assert (
        pl.read_parquet(framed / "sequences.parquet")
        .drop("^number_.*$")
        .equals(pl.read_parquet(whole / "sequences.parquet").drop("^number_.*$"))
    )


def test_windows_of_a_shuffled_table_are_those_of_the_table_in_order(tmp_path) -> None:
    frame, layout = (
        build_shop_sales(),
        build_daily_layout(SeriesInput(column="sales", known_future=("price",))),
    )
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)

    one = make_features(tmp_path / "one", frame, layout, NUMBER, split)
    two = make_features(tmp_path / "two", shuffled, layout, NUMBER, split)

    np.testing.assert_array_equal(map_steps(one), map_steps(two))
    tables = []
    for folder, rows in ((one, frame), (two, shuffled)):
        sequences = pl.read_parquet(folder / "sequences.parquet")
        keys = rows[sequences["row"].to_list()].select("shop", "day")
        tables.append(pl.concat([keys, sequences.drop("row", "target_row")], how="horizontal"))
    assert tables[0].equals(tables[1])


def test_each_shop_has_its_own_scale_and_a_new_shop_that_of_all(tmp_path) -> None:
    frame, layout = build_shop_sales(), build_daily_layout(WINDOWS["by entity"])
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    folder = make_features(tmp_path / "features", frame, layout, NUMBER, split)

    featurizer = load_featurizer(folder)
    training = read_sequences(folder, TRAINING)
    names = frame["shop"].gather(training["row"])
    targets = pl.Series("target", map_targets(folder)[training["target_start"].to_numpy()])
    std = pl.DataFrame([names, targets]).group_by("shop").agg(pl.std("target"))["target"]
    new = frame.filter(pl.col("shop") == "s0").with_columns(shop=pl.lit("new shop"))
    steps = featurizer.transform(new.select(layout.raw_columns)).steps

    # With one scale for all shops, the smallest shop's targets would be nearly equal.
    assert ((std > 0.5) & (std < 2)).all()
    assert set(featurizer.target.entities) == {"s0", "s1", "s2", "s3"}
    assert np.isfinite(steps.values_NC).all()
    assert abs(steps.values_NC[:, 0].mean()) < 1


def test_unreadable_rows_are_quarantined_and_the_others_are_used(tmp_path) -> None:
    layout, cells = KINDS["image"]
    frame = build_table(cells)
    unreadable = [frame["x"][0][:40], b"not an image", None]
    broken = frame.with_columns(x=pl.Series([*unreadable, *frame["x"][3:].to_list()]))
    (tmp_path / "features").mkdir()
    rows = write_rows(broken, tmp_path / "rows.parquet")

    features = build_features(
        tmp_path / "features", rows, layout=layout, target=CATEGORY, split=BY_COLUMN
    )

    assert sorted(features.reasons) == [0, 1, 2]
    assert "damaged" in features.reasons[0]
    assert "missing" in features.reasons[2]
    assert sum(features.counts.values()) == ROWS - 3


@pytest.mark.parametrize("shop_count", [4, 12])
def test_windows_outside_training_by_a_split_column_are_marked_as_unseen(
    shop_count: int, tmp_path
) -> None:
    days = pl.col("day")
    split_names = (
        pl.when(days < pl.date(2024, 1, 28)).then(pl.lit("train")).otherwise(pl.lit("test"))
    )
    frame = build_shop_sales(shops=shop_count).with_columns(split=split_names)
    split = replace(BY_COLUMN, validation=0.5)
    folder = make_features(
        tmp_path / "f", frame, build_daily_layout(WINDOWS["standard"]), NUMBER, split
    )

    featurizer = load_featurizer(folder)
    unseen = {}
    for split in (TRAINING, TEST):
        target_rows = frame[read_sequences(folder, split)["target_row"].to_list()]
        unseen[split] = featurizer.mark_unseen_rows(
            target_rows.select(featurizer.split.required_columns), None
        )

    assert not unseen[TRAINING].any()
    assert unseen[TEST].mean() > 0.8
