"""Splits: a row never changes its split, and no group is in two splits."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.series import SeriesInput
from models.features.splitting.column_split import split_by_column
from models.features.splitting.duplicates import build_bloom_filter
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import (
    TEST,
    TRAINING,
    UNUSED,
    VALIDATION,
    SplitConfig,
    choose_split_method,
    list_hashed_columns,
    split_by_hash,
    split_by_time,
)
from models.features.splitting.stratified_split import assign_strata, split_stratified
from models.features.splitting.unseen_rows import SplitRecord, format_column_types, mark_unseen_rows
from tests.support.split_plans import split_table

cells = st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["a", "b"]))
shares = st.floats(0.01, 0.4)


def days(count: int) -> list[date]:
    return [date(2024, 1, 1) + timedelta(days=index) for index in range(count)]


@given(st.lists(cells, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_a_row_has_the_same_split_in_any_order_and_table(texts, random) -> None:
    config = SplitConfig()
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    order = list(range(len(texts)))
    random.shuffle(order)
    larger = pl.concat([frame[order], pl.DataFrame({"text": ["new"]})])

    before = split_by_hash(hash_frame_rows(frame, ["text"]), config)
    after = split_by_hash(hash_frame_rows(larger, ["text"]), config)

    assert after[:-1].tolist() == before[order].tolist()


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=20))
def test_equal_rows_have_equal_hashes_and_different_rows_different_ones(blobs) -> None:
    hashes = hash_frame_rows(pl.DataFrame({"blob": blobs}), ["blob"])

    same = [[a == b for b in blobs] for a in blobs]

    assert (hashes[:, None] == hashes[None, :]).tolist() == same


def test_the_hash_of_a_row_never_changes_between_versions() -> None:
    frame = pl.DataFrame(
        {
            "text": ["\u00e9"],
            "bytes": [b"\x00\xff"],
            "list": [[1.5, None]],
            "day": [date(2024, 2, 29)],
            "number": [7],
        }
    )

    assert hash_frame_rows(frame, frame.columns).tolist() == [1107919389199486253]


@given(shares, shares)
def test_the_shares_are_those_of_the_config(test: float, validation: float) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)

    splits = split_by_hash(hashes, SplitConfig(test=test, validation=validation))

    assert abs((splits == TEST).mean() - test) < 0.02
    assert abs((splits == VALIDATION).mean() - validation) < 0.02


@given(st.integers(10, 60), st.integers(0, 3), shares, shares)
def test_a_split_by_time_has_the_order_and_the_gap(
    count: int, gap: int, test: float, validation: float
) -> None:
    config = SplitConfig(by="time", test=test, validation=validation, gap=gap)
    times = pl.Series("day", days(count)).sample(fraction=1, shuffle=True, seed=count)

    splits, cuts = split_by_time(times, config)

    index = times.rank("ordinal").to_numpy() - 1
    ends = {
        split: (index[splits == split].min(), index[splits == split].max())
        for split in (TRAINING, VALIDATION, TEST)
        if (splits == split).any()
    }
    assert TRAINING in ends
    for earlier, later in ((TRAINING, VALIDATION), (VALIDATION, TEST)):
        if earlier in ends and later in ends:
            assert ends[later][0] - ends[earlier][1] == gap + 1
    assert (times.filter(splits == TEST).to_physical() >= cuts.test).all()


def test_too_few_times_are_rejected_with_a_hint() -> None:
    with pytest.raises(UnlearnableError, match=r"2 distinct points in time.*split\.by: hash"):
        split_by_time(pl.Series("day", days(2)), SplitConfig(by="time"))


def long_table(entities: int, steps: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "shop": np.repeat([f"s{number}" for number in range(entities)], steps),
            "day": days(steps) * entities,
            "sales": np.arange(entities * steps, dtype=float),
        }
    )


def layout(entity: str | None = "shop", horizon: int = 2) -> Layout:
    return Layout(
        input=SeriesInput(column="sales"),
        window=WindowConfig(lookback=3, horizon=horizon),
        time="day",
        entity=entity,
    )


@given(st.integers(1, 4), st.integers(12, 30), st.integers(0, 3))
def test_no_training_target_is_at_or_after_the_first_day_of_validation(
    entities: int, steps: int, horizon: int
) -> None:
    table = long_table(entities, steps)

    plan = split_table(table, layout(horizon=horizon), SplitConfig())

    days_of = {
        split: table["day"].gather(plan.target_rows_R[plan.splits_R == split])
        for split in (TRAINING, VALIDATION, TEST)
    }
    assert (plan.splits_R[plan.target_rows_R < 0] == UNUSED).all()
    if len(days_of[TRAINING]) and len(days_of[VALIDATION]):
        assert days_of[TRAINING].max() < days_of[VALIDATION].min()
    assert days_of[TRAINING].max() < days_of[TEST].min()


def test_windows_by_hash_need_a_group_or_an_entity() -> None:
    table = long_table(1, 20)

    with pytest.raises(UnlearnableError, match="overlapping windows"):
        split_table(table, layout(entity=None), SplitConfig(by="hash"))


def test_whole_series_are_in_one_split_by_hash() -> None:
    table = long_table(40, 8)

    plan = split_table(table, layout(), SplitConfig(by="hash"))

    used = table.with_columns(split=plan.splits_R).filter(pl.col("split") != UNUSED)
    assert used.group_by("shop").agg(pl.col("split").n_unique())["split"].max() == 1
    assert used["split"].n_unique() == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test": 0.0}, "test: 0.0 is not between 0 and 1"),
        ({"test": 0.6, "validation": 0.5}, "leave nothing for training"),
        ({"gap": -1}, "gap: -1 is negative"),
        ({"by": "time", "group": "shop"}, "a split by time has no groups"),
        ({"by": "time", "id": "key"}, "id: a split by time hashes nothing"),
        ({"by": "stratified", "group": "shop"}, "a group may hold several classes"),
        ({"id": "key", "group": "shop"}, "remove id or group"),
        ({"by": "column"}, "column: name the column"),
        ({"by": "hash", "column": "fold"}, "it gives the split, and by: hash does too"),
        ({"gap": "a week"}, "'a week' is not a duration"),
        (
            {"near_duplicate_threshold": 0.2},
            "near_duplicate_threshold: 0.2 is not between 0.5 and 1",
        ),
    ],
)
def test_an_empty_split_is_rejected(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitConfig(**settings)


def test_a_group_that_splits_a_series_is_rejected() -> None:
    table = long_table(3, 12).with_columns(half=pl.col("day") > date(2024, 1, 6))
    config = SplitConfig(by="hash", group="half")

    with pytest.raises(UnlearnableError, match="changes within a series"):
        split_table(table, layout(), config)


def test_rows_without_a_time_are_rejected_by_a_split_by_time() -> None:
    times = pl.Series("day", [*days(20), None])

    with pytest.raises(UnlearnableError, match="'day' is missing in 1 of 21 rows"):
        split_by_time(times, SplitConfig(by="time"))


@pytest.mark.parametrize(
    ("settings", "windows", "way"),
    [
        ({}, False, "hash"),
        ({}, True, "time"),
        ({"column": "fold"}, True, "column"),
        ({"by": "stratified"}, False, "stratified"),
    ],
)
def test_defaults_depend_on_the_data(settings, windows: bool, way: str) -> None:
    assert choose_split_method(SplitConfig(**settings), windows=windows) == way


def test_an_id_or_a_group_is_hashed_instead_of_the_content() -> None:
    assert list_hashed_columns(SplitConfig(), ["a", "b"]) == ["a", "b"]
    assert list_hashed_columns(SplitConfig(id="key"), ["a", "b"]) == ["key"]
    assert list_hashed_columns(SplitConfig(group="shop"), ["a", "b"]) == ["shop"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(0, 2**32))
def test_a_row_with_an_id_has_the_same_split_after_its_content_changes(keys, seed: int) -> None:
    config = SplitConfig(id="key")
    draw = np.random.default_rng(seed)
    table = pl.DataFrame({"key": keys, "x": draw.normal(size=len(keys))})
    corrected = table.with_columns(x=pl.col("x") + 1).sample(fraction=1, shuffle=True, seed=seed)

    placed = [
        frame.with_columns(split=split_by_hash(hash_frame_rows(frame, ["key"]), config))
        for frame in (table, corrected)
    ]

    both = (
        pl.concat(placed)
        .group_by(list_hashed_columns(config, ["x"]))
        .agg(pl.col("split").n_unique())
    )
    assert both["split"].max() == 1


GAPPED = {
    "dates": (pl.Series("t", days(60)), "3d", 3),
    "a part of a day": (pl.Series("t", days(60)), "60h", 3),
    "hours": (pl.Series("t", days(60)).cast(pl.Datetime("ms")), "72h", 3),
    "nanoseconds": (pl.Series("t", days(60)).cast(pl.Datetime("ns", "Europe/Vienna")), "3d", 3),
    "durations": (pl.Series("t", range(60)).cast(pl.Duration("us")), "0ms", 0),
    "times": (pl.Series("t", range(60)).cast(pl.Time), "0s", 0),
    "points": (pl.Series("t", range(60)), 3, 3),
}


@pytest.mark.parametrize(("times", "gap", "points"), GAPPED.values(), ids=GAPPED.keys())
def test_a_gap_is_left_in_points_or_as_a_duration(times: pl.Series, gap, points: int) -> None:
    splits, _ = split_by_time(times, SplitConfig(by="time", gap=gap))

    expected = [TRAINING] * 42 + [UNUSED] * points + [VALIDATION] * (6 - points)
    assert splits.tolist() == expected + [UNUSED] * points + [TEST] * (12 - points)


@given(st.sets(st.integers(0, 400), min_size=8, max_size=60), st.integers(0, 30), shares)
def test_no_two_splits_are_nearer_in_time_than_the_gap(offsets, gap_days: int, test: float) -> None:
    times = pl.Series("t", [date(2024, 1, 1) + timedelta(days=index) for index in sorted(offsets)])

    splits, cuts = split_by_time(times, SplitConfig(by="time", gap=f"{gap_days}d", test=test))

    day = times.to_physical().to_numpy()
    assert (day[splits == TEST] >= cuts.test + gap_days).all()
    assert (day[splits == VALIDATION] >= cuts.validation + gap_days).all()
    assert (day[splits == VALIDATION] < cuts.test).all()
    assert (day[splits == TRAINING] < cuts.validation).all()


def test_a_duration_with_numeric_times_is_rejected_with_a_hint() -> None:
    with pytest.raises(UnlearnableError, match=r"holds Int64.*such as gap: 7"):
        split_by_time(pl.Series("t", range(60)), SplitConfig(by="time", gap="7d"))


def build_split_column(names, rows: int = 1) -> pl.Series:
    return pl.Series("fold", names * rows)


def hashes_of(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2**64, count, np.uint64)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_a_split_column_accepts_all_names_of_a_split(dtype) -> None:
    names = ["train", " Training", "VAL", "valid", "Validation", "dev", "test", "eval", "holdout"]
    values = pl.Series("fold", [*names, "unused"], dtype=dtype)

    splits = split_by_column(values, hashes_of(10), SplitConfig(column="fold"))

    assert splits.tolist() == [TRAINING] * 2 + [VALIDATION] * 4 + [TEST] * 3 + [UNUSED]


def test_validation_is_split_from_training_where_the_column_has_none() -> None:
    values, hashes = build_split_column(["train", "test"], 5000), hashes_of(10_000)

    splits = split_by_column(values, hashes, SplitConfig(column="fold", validation=0.3))

    training = values.to_numpy() == "train"
    assert (splits[~training] == TEST).all()
    assert set(splits[training].tolist()) == {TRAINING, VALIDATION}
    assert abs((splits[training] == VALIDATION).mean() - 0.3) < 0.03


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            build_split_column(["train", "test", "other"]),
            "such as \\['other'\\]; expected train, training, val",
        ),
        (build_split_column(["train", "test", None]), "such as \\[None\\]"),
        (build_split_column([True, False]), "holds Boolean such as \\[True, False\\]"),
        (build_split_column([0, 1]), "holds Int64"),
        (build_split_column(["train", "val"]), "has no test rows; mark some upstream"),
        (build_split_column(["test", "val"]), "has no training rows"),
    ],
)
def test_a_column_without_splits_is_rejected_with_a_hint(values, message: str) -> None:
    with pytest.raises(UnlearnableError, match=message):
        split_by_column(values, hashes_of(len(values)), SplitConfig(column="fold"))


classes = st.lists(st.sampled_from("aabbbcde"), min_size=1, max_size=60)


@given(classes, st.integers(0, 2**32), shares, shares)
def test_every_class_of_three_rows_or_more_has_its_share(targets, seed, test, validation) -> None:
    hashes = np.random.default_rng(seed).integers(0, 2**64, len(targets), np.uint64)
    config = SplitConfig(by="stratified", test=test, validation=validation)

    splits = split_stratified(hashes, assign_strata(pl.Series(targets), number=False), config)

    by_hash = split_by_hash(hashes, config)
    assert (splits[by_hash == TEST] == TEST).all()
    for target in set(targets):
        splits_of_class = splits[np.array(targets) == target]
        if len(splits_of_class) >= 3:
            enough = min(np.ceil(0.9 * len(splits_of_class) * test), len(splits_of_class) - 2)
            assert (splits_of_class == TEST).sum() >= enough
            assert (by_hash[np.array(targets) == target] == TEST).all() or (
                splits_of_class != TEST
            ).any()


@given(classes, st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_growth_never_moves_a_test_row_of_the_hash(targets, seed, random) -> None:
    hashes = np.random.default_rng(seed).integers(0, 2**64, len(targets), np.uint64)
    config = SplitConfig(by="stratified")
    strata = assign_strata(pl.Series(targets), number=False)
    remaining = np.array(sorted(random.sample(range(len(targets)), len(targets) // 2 + 1)))

    before = split_stratified(hashes[remaining], strata[remaining], config)
    after = split_stratified(hashes, strata, config)

    own = split_by_hash(hashes, config)[remaining]
    is_moved = before != after[remaining]
    assert (before[own == TEST] == TEST).all()
    assert (after[remaining][own == TEST] == TEST).all()
    # Only the rows that a small class had taken from its neighbors move.
    assert ((before != own) | (after[remaining] != own))[is_moved].all()


def test_a_large_class_is_split_as_by_hash_alone() -> None:
    hashes, strata = hashes_of(40_000), np.repeat([0, 1], 20_000)
    config = SplitConfig(by="stratified")

    splits = split_stratified(hashes, strata, config)

    np.testing.assert_array_equal(splits, split_by_hash(hashes, config))


@given(classes, st.integers(1, 3))
def test_equal_rows_of_one_class_are_all_in_one_split(targets, kinds: int) -> None:
    hashes = hashes_of(kinds)[np.arange(len(targets)) % kinds]
    strata = assign_strata(pl.Series(targets), number=False)

    splits = split_stratified(hashes, strata, SplitConfig(by="stratified"))

    triples = set(zip(hashes.tolist(), strata.tolist(), splits.tolist(), strict=True))
    assert len(triples) == len({pair[:2] for pair in triples})


def test_numbers_are_stratified_by_deciles_and_missing_values_are_a_class() -> None:
    targets = pl.Series([*np.arange(100.0), None, float("nan")])

    strata = assign_strata(targets, number=True)

    assert np.bincount(strata).tolist() == [10] * 10 + [2]
    assert assign_strata(pl.Series([1, 1, 2]), number=True).tolist() == [0, 0, 0]
    assert assign_strata(pl.Series(["b", None, "a"]), number=False).tolist() == [2, 0, 1]


def keyed(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"key": range(rows), "fold": ["train", "test"] * (rows // 2)})


@pytest.mark.parametrize("by", ["hash", "stratified"])
def test_no_training_row_is_taken_for_a_test_row(by: str) -> None:
    config, table = SplitConfig(by=by, id="key"), keyed(400)
    hashes = hash_frame_rows(table, ["key"])
    strata = np.arange(400) // 8
    splits = (
        split_by_hash(hashes, config) if by == "hash" else split_stratified(hashes, strata, config)
    )
    split = SplitRecord(
        config=config, by=by, columns=("key",), types=format_column_types(table.schema, ["key"])
    )

    remaining = mark_unseen_rows(table, split, None)

    assert set(splits[remaining].tolist()) == {TEST}
    assert remaining.sum() == (split_by_hash(hashes, config) == TEST).sum()


def test_a_training_row_that_is_moved_to_test_later_is_no_test_row() -> None:
    config, table = SplitConfig(column="fold"), keyed(2000)
    hashes = hash_frame_rows(table, ["key"])
    splits = split_by_column(table["fold"], hashes, config)
    training_rows = build_bloom_filter(hashes[splits != TEST])
    split = SplitRecord(config=config, by="column", columns=("key",), learned=training_rows)

    now = keyed(2000).with_columns(fold=pl.Series(["test", "test", None, "odd"] * 500))
    remaining = mark_unseen_rows(now, split, None)

    assert (remaining <= (splits == TEST)).all()
    assert remaining[1::4].mean() > 0.95
    assert not remaining[2::4].any()
    assert not remaining[3::4].any()
    assert not mark_unseen_rows(now, replace(split, learned=None), None).any()
    assert not mark_unseen_rows(now, replace(split, by="a way to come", learned=None), None).any()


def test_rows_hashed_in_another_type_are_not_confused() -> None:
    table = keyed(10)
    split = SplitRecord(config=SplitConfig(), by="hash", columns=("key",), types=("Int",))

    assert len(mark_unseen_rows(table.cast({"key": pl.UInt8}), split, None)) == 10
    with pytest.raises(UnlearnableError, match=r"had types \('Int',\) .* have \('Float64',\)"):
        mark_unseen_rows(table.cast({"key": pl.Float64}), split, None)
