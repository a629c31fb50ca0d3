"""Fitted state never depends on validation or test, and serving reads rows as training did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import TEST, TRAINING, SplitConfig, identities, split_by_hash
from tasks.dataset import rowset as row_reading
from tasks.dataset.feature_files import (
    map_steps,
    map_targets,
    read_sequences,
    read_static_covariates,
)
from tasks.dataset.rowset import RowSet
from tasks.features.featurize import build_features
from tests.support.input_tables import CATEGORY, KINDS, NUMBER, ROWS, WINDOWS, by_day, shops, table

BY_COLUMN = SplitConfig(by="column", column="split", duplicates="keep")

BY_ID = SplitConfig(by="hash", id="id", duplicates="keep", test=0.3)


def training_rows(frame: pl.DataFrame) -> pl.Series:
    return pl.Series(split_by_hash(identities(frame, ["id"]), BY_ID) == TRAINING)


def rows_of(frame: pl.DataFrame, path: Path) -> RowSet:
    frame.write_parquet(path, row_group_size=17)
    return RowSet((path,), frame.schema)


def features(folder: Path, frame: pl.DataFrame, layout, target=CATEGORY, split=BY_COLUMN) -> Path:
    folder.mkdir()
    rows = rows_of(frame, folder / "rows.parquet")
    build_features(folder, rows, layout=layout, target=target, split=split)
    return folder


def fitted_bytes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("featurizer.*"))]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fitted_does_not_change_when_all_other_rows_do(kind: str, tmp_path) -> None:
    layout, cells = KINDS[kind]
    frame, other = table(cells), table(cells, seed=9)
    is_training = training_rows(frame)
    changed = frame.with_columns(
        pl.Series(name, frame[name]).zip_with(is_training, other[name])
        for name in ("x", "town", "size")
    )

    one = features(tmp_path / "one", frame, layout, split=BY_ID)
    two = features(tmp_path / "two", changed, layout, split=BY_ID)

    assert not frame["x"].equals(changed["x"])
    assert fitted_bytes(one) == fitted_bytes(two)


# The same few words in another order make the same pairs of bytes.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text, bpe"])
def test_what_is_fitted_does_change_when_training_rows_do(kind: str, tmp_path) -> None:
    layout, cells = KINDS[kind]
    frame = table(cells)
    is_training = training_rows(frame)
    changed = frame.with_columns(x=frame["x"].zip_with(~is_training, table(cells, seed=9)["x"]))

    one = features(tmp_path / "one", frame, layout, split=BY_ID)
    two = features(tmp_path / "two", changed, layout, split=BY_ID)

    assert fitted_bytes(one) != fitted_bytes(two)


@pytest.mark.parametrize("kind", WINDOWS)
def test_the_future_of_a_series_is_not_in_what_is_fitted(kind: str, tmp_path) -> None:
    frame, layout = shops(), by_day(WINDOWS[kind])
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    # Training targets are from before the 25th; bins of two days begin on another day.
    late = pl.col("day") >= pl.date(2024, 1, 27 if kind == "resampled" else 25)
    moved = frame.with_columns(
        sales=pl.when(late).then(pl.col("sales") * 50 + 7).otherwise("sales"),
        price=pl.when(late).then(99.0).otherwise("price"),
        answer=pl.when(late).then(pl.col("answer") * 3).otherwise("answer"),
        town=pl.when(late).then(pl.lit("Linz")).otherwise("town"),
    )

    one = features(tmp_path / "one", frame, layout, NUMBER, split)
    two = features(tmp_path / "two", moved, layout, NUMBER, split)

    assert fitted_bytes(one) == fitted_bytes(two)
    before, after = (read_sequences(folder, TRAINING) for folder in (one, two))
    assert before.equals(after)
    for (start, stop), *_ in zip(before.select("start", "stop").rows(), strict=False):
        np.testing.assert_array_equal(map_steps(one)[start:stop], map_steps(two)[start:stop])


@pytest.mark.parametrize("kind", KINDS)
def test_a_served_row_reads_as_the_same_row_did_in_training(kind: str, tmp_path) -> None:
    layout, cells = KINDS[kind]
    frame = table(cells)
    folder = features(tmp_path / "features", frame, layout)

    featurizer, stored = load_featurizer(folder), map_steps(folder)

    for split in (TRAINING, TEST):
        sequences = read_sequences(folder, split)
        statics = read_static_covariates(sequences)
        for index, (row, start, stop) in enumerate(
            sequences.select("row", "start", "stop").iter_rows()
        ):
            sample = featurizer.transform(frame.select(layout.raw_columns)[row])
            # Sums of products depend on how many rows a processor takes at once.
            np.testing.assert_allclose(sample.steps.values_NC, stored[start:stop], 1e-5, 1e-5)
            np.testing.assert_array_equal(sample.statics.codes_RK[0], statics.codes_RK[index])
            np.testing.assert_array_equal(sample.statics.numbers_RF[0], statics.numbers_RF[index])


@pytest.mark.parametrize("kind", WINDOWS)
def test_a_served_window_reads_as_the_same_window_did_in_training(kind: str, tmp_path) -> None:
    frame, layout = shops().sample(fraction=1, shuffle=True, seed=3), by_day(WINDOWS[kind])
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    folder = features(tmp_path / "features", frame, layout, NUMBER, split)

    sample = load_featurizer(folder).transform(frame.select(layout.raw_columns))

    stored, steps = map_steps(folder), sample.steps
    sequences = read_sequences(folder, TEST)
    assert len(sequences) > 10
    for row, start, stop in sequences.select("row", "start", "stop").iter_rows():
        here = steps.values_NC[steps.starts_R[row] : steps.stops_R[row]]
        np.testing.assert_array_equal(here, stored[start:stop])


@pytest.mark.parametrize("kind", WINDOWS)
def test_a_table_read_in_small_slices_gives_the_features_of_the_whole(
    kind: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, layout = shops(), by_day(WINDOWS[kind])
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    whole = features(tmp_path / "whole", frame, layout, NUMBER, split)

    monkeypatch.setattr(row_reading, "FRAME_BYTES", 1)
    sliced = features(tmp_path / "sliced", frame, layout, NUMBER, split)

    np.testing.assert_allclose(map_steps(sliced), map_steps(whole), rtol=1e-6, atol=1e-6)
    columns = ["row", "split", "start", "stop", "target_row", "target"]
    one, two = (pl.read_parquet(f / "sequences.parquet", columns=columns) for f in (whole, sliced))
    assert one.equals(two)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_read_in_small_frames_give_the_features_of_the_whole(
    kind: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cells = KINDS[kind]
    whole = features(tmp_path / "whole", table(cells), layout)

    monkeypatch.setattr(row_reading, "FRAME_BYTES", 1)
    cut = features(tmp_path / "cut", table(cells), layout)

    np.testing.assert_allclose(map_steps(cut), map_steps(whole), rtol=1e-5, atol=1e-6)
    assert (
        pl.read_parquet(cut / "sequences.parquet")
        .drop("^number_.*$")
        .equals(pl.read_parquet(whole / "sequences.parquet").drop("^number_.*$"))
    )


def test_windows_of_a_shuffled_table_are_those_of_the_table_in_order(tmp_path) -> None:
    frame, layout = shops(), by_day(SeriesInput(column="sales", known_future=("price",)))
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)

    one = features(tmp_path / "one", frame, layout, NUMBER, split)
    two = features(tmp_path / "two", mixed, layout, NUMBER, split)

    np.testing.assert_array_equal(map_steps(one), map_steps(two))
    tables = []
    for folder, rows in ((one, frame), (two, mixed)):
        sequences = pl.read_parquet(folder / "sequences.parquet")
        keys = rows[sequences["row"].to_list()].select("shop", "day")
        tables.append(pl.concat([keys, sequences.drop("row", "target_row")], how="horizontal"))
    assert tables[0].equals(tables[1])


def test_each_shop_is_scaled_by_itself_and_a_new_one_by_all(tmp_path) -> None:
    frame, layout = shops(), by_day(WINDOWS["by entity"])
    split = SplitConfig(by="time", test=0.25, validation=0.15)
    folder = features(tmp_path / "features", frame, layout, NUMBER, split)

    featurizer = load_featurizer(folder)
    training = read_sequences(folder, TRAINING)
    names = frame["shop"].gather(training["row"])
    answers = pl.Series("answer", map_targets(folder)[training["target_start"].to_numpy()])
    spread = pl.DataFrame([names, answers]).group_by("shop").agg(pl.std("answer"))["answer"]
    new = frame.filter(pl.col("shop") == "s0").with_columns(shop=pl.lit("never seen"))
    steps = featurizer.transform(new.select(layout.raw_columns)).steps

    # On one scale for all, the smallest shop's targets would hardly differ at all.
    assert ((spread > 0.5) & (spread < 2)).all()
    assert set(featurizer.target.entities) == {"s0", "s1", "s2", "s3"}
    assert np.isfinite(steps.values_NC).all()
    assert abs(steps.values_NC[:, 0].mean()) < 1


def test_unreadable_rows_are_quarantined_and_the_rest_is_used(tmp_path) -> None:
    layout, cells = KINDS["image"]
    frame = table(cells)
    bad = [frame["x"][0][:40], b"not an image", None]
    broken = frame.with_columns(x=pl.Series([*bad, *frame["x"][3:].to_list()]))
    (tmp_path / "features").mkdir()
    rows = rows_of(broken, tmp_path / "rows.parquet")

    made = build_features(
        tmp_path / "features", rows, layout=layout, target=CATEGORY, split=BY_COLUMN
    )

    assert sorted(made.reasons) == [0, 1, 2]
    assert "damaged" in made.reasons[0]
    assert "missing" in made.reasons[2]
    assert sum(made.counts.values()) == ROWS - 3


@pytest.mark.parametrize("many", [4, 12])
def test_windows_that_a_column_keeps_out_of_training_are_known_as_unseen(
    many: int, tmp_path
) -> None:
    days = pl.col("day")
    split_names = (
        pl.when(days < pl.date(2024, 1, 28)).then(pl.lit("train")).otherwise(pl.lit("test"))
    )
    frame = shops(shops=many).with_columns(split=split_names)
    split = replace(BY_COLUMN, validation=0.5)
    folder = features(tmp_path / "f", frame, by_day(WINDOWS["standard"]), NUMBER, split)

    featurizer = load_featurizer(folder)
    found = {}
    for split in (TRAINING, TEST):
        answers = frame[read_sequences(folder, split)["target_row"].to_list()]
        found[split] = featurizer.mark_unseen_rows(answers.select(featurizer.split.needed), None)

    assert not found[TRAINING].any()
    assert found[TEST].mean() > 0.8
