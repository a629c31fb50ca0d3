"""Splits: equal rows share a split, a model recognizes its test rows, no step leaks."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.featurizer import Featurizer, load_featurizer, save_featurizer
from models.features.series import SeriesInput
from models.features.splitting import row_hash
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import (
    SPLIT_NAMES,
    TEST,
    TRAINING,
    UNUSED,
    VALIDATION,
    SplitConfig,
    split_by_hash,
    split_by_time,
)
from models.features.target import Target
from tests.support.model_parts import build_featurizer, build_series_state
from tests.support.split_plans import split_table

SCHEMA = {
    "text": pl.String,
    "bytes": pl.Binary,
    "list": pl.List(pl.Float64),
    "number": pl.Int64,
    "truth": pl.Boolean,
}

rows = st.lists(
    st.tuples(
        st.sampled_from([None, "", "a", "\u00e9", "e\u0301", "\U0001f422", 'q"\\\n']),
        st.sampled_from([None, b"", b"\x00", b"\xff\x00"]),
        st.sampled_from([None, [], [None], [0.0], [0.1, 1e300], [0.1, float("nan")]]),
        st.sampled_from([None, 0, -1, 2**63 - 1]),
        st.sampled_from([None, True, False]),
    ),
    min_size=1,
    max_size=12,
)


def frame_of(content: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(content, schema=SCHEMA, orient="row")


@given(rows, st.randoms(use_true_random=False))
def test_equal_rows_have_the_same_hash_at_any_position(content: list[tuple], random) -> None:
    doubled = content * 2
    random.shuffle(doubled)
    frame = frame_of(doubled)

    hashes = hash_frame_rows(frame, frame.columns)

    alone = [hash_frame_rows(frame[row : row + 1], frame.columns)[0] for row in range(len(frame))]
    assert hashes.tolist() == alone
    assert len(set(hashes.tolist())) <= len({repr(row) for row in content})


def test_rows_that_only_look_equal_have_different_hashes() -> None:
    frame = frame_of(
        [
            ("a", None, None, None, None),
            (None, b"a", None, None, None),
            ("61", None, None, None, None),
            ("null", None, None, None, None),
            (None, None, None, None, None),
            (None, None, [], None, None),
            (None, None, [None], None, None),
            (None, None, None, 0, None),
            (None, None, None, None, False),
        ]
    )

    assert len(set(hash_frame_rows(frame, frame.columns).tolist())) == len(frame)


ZEROS = {
    "numbers": pl.Series([-0.0, 0.0]),
    "short numbers": pl.Series([-0.0, 0.0], dtype=pl.Float32),
    "lists": pl.Series([[-0.0, 1.5], [0.0, 1.5]]),
    "lists of lists": pl.Series([[[-0.0], []], [[0.0], []]]),
    "arrays": pl.Series([[-0.0, None], [0.0, None]], dtype=pl.Array(pl.Float64, 2)),
    "records": pl.Series([{"a": {"b": -0.0}, "c": "x"}, {"a": {"b": 0.0}, "c": "x"}]),
    "lists of records": pl.Series([[{"a": -0.0}, None], [{"a": 0.0}, None]]),
}


@pytest.mark.parametrize("values", ZEROS.values(), ids=ZEROS.keys())
def test_both_zeros_have_the_same_hash(values: pl.Series) -> None:
    negative, positive = hash_frame_rows(pl.DataFrame({"x": values}), ["x"])

    assert negative == positive


def hash_by_definition(frame: pl.DataFrame, columns: list[str]) -> list[int]:
    """The definition: each row as JSON, hashed alone."""
    texts = frame.select(
        pl.struct(
            pl.col(name).bin.encode("hex") if frame.schema[name] == pl.Binary else pl.col(name)
            for name in columns
        ).struct.json_encode()
    ).to_series()
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return [int.from_bytes(digest, "big") for digest in digests]


@given(rows, st.integers(1, 4))
def test_chunks_and_repeated_rows_change_no_hash(content: list[tuple], piece: int) -> None:
    frame = frame_of(content * 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_hash, "_BATCH_ROWS", piece)
        for columns in (frame.columns, ["bytes"], ["list"], ["text", "number"]):
            assert hash_frame_rows(frame, columns).tolist() == hash_by_definition(frame, columns)


@pytest.mark.parametrize("name", ["blob", "", 'a"b', "\u007f\n\u00e9", "\U0001f422", "a\\"])
def test_bytes_are_hashed_by_content_in_any_column_type(name: str) -> None:
    frame = pl.DataFrame({name: [b"", None, b"\xff\x00" * 3000]})

    assert hash_frame_rows(frame, [name]).tolist() == hash_by_definition(frame, [name])


def test_bytes_within_lists_and_structs_change_the_hash() -> None:
    lists = pl.Series([[b"a"], [b"b"], [], None, [None], [b"a", b"b"], [b"ab"]])
    records = pl.Series([{"a": b"x"}, {"a": b"y"}, {"a": None}, None])

    for values in (lists, lists.cast(pl.List(pl.Binary)), records):
        frame = pl.DataFrame({"x": values})
        assert len(set(hash_frame_rows(frame, ["x"]).tolist())) == len(frame)


def test_object_columns_are_rejected_with_a_hint() -> None:
    frame = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})

    with pytest.raises(
        UnlearnableError, match=r"column 'x' contains Python objects.*set split\.id"
    ):
        hash_frame_rows(frame, ["x"])


def test_many_rows_are_split_in_their_order() -> None:
    frame = pl.DataFrame({"wave": [[float(number)] for number in range(150_000)]})
    whole = Layout(input=lists(), window=None, time=None, entity=None)

    plan = split_table(frame, whole, SplitConfig())

    expected = split_by_hash(hash_frame_rows(frame, ["wave"]), SplitConfig())
    np.testing.assert_array_equal(plan.splits_R, expected)
    np.testing.assert_array_equal(plan.target_rows_R, np.arange(150_000))


def lists() -> SeriesInput:
    return SeriesInput(column="wave")


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_rows_of_one_group_are_all_in_one_split(groups: list[str]) -> None:
    waves = [[float(index)] for index in range(len(groups))]
    table = pl.DataFrame({"wave": waves, "patient": groups})
    whole = Layout(input=lists(), window=None, time=None, entity=None)

    plan = split_table(table, whole, SplitConfig(group="patient"))

    splits = table.with_columns(split=plan.splits_R).group_by("patient").agg(pl.col("split"))
    assert all(len(set(result)) == 1 for result in splits["split"])
    assert plan.split.columns == ("patient",)


def test_growth_never_moves_a_group_to_another_split() -> None:
    names = [f"patient {number}" for number in range(200)]
    config = SplitConfig(group="patient")
    whole = Layout(input=lists(), window=None, time=None, entity=None)
    old = pl.DataFrame({"wave": [[0.0]] * 200, "patient": names})
    larger = pl.DataFrame({"wave": [[1.0]] * 400, "patient": [f"new {n}" for n in names] + names})

    before, after = (split_table(table, whole, config).splits_R for table in (old, larger))

    assert after[200:].tolist() == before.tolist()
    assert set(before.tolist()) == {TRAINING, VALIDATION, TEST}


@given(st.integers(5, 80), st.integers(0, 3), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_the_newest_share_of_the_times_is_not_trained_on(
    count: int, gap: int, test: float, validation: float
) -> None:
    config = SplitConfig(by="time", test=test, validation=validation, gap=gap)
    times = pl.Series("t", list(range(count)) * 2)

    splits, cuts = split_by_time(times, config)

    counts = np.bincount(splits, minlength=len(SPLIT_NAMES)) // 2
    cut = cuts.test
    assert abs((count - cut) - count * test) <= 1
    assert (splits[times.to_numpy() >= cut] != TRAINING).all()
    assert (splits[times.to_numpy() >= cut] != VALIDATION).all()
    assert counts[TEST] == max(0, count - cut - gap)
    assert counts.sum() == count
    assert splits[:count].tolist() == splits[count:].tolist()


def test_a_row_without_a_time_is_never_silently_trained_on() -> None:
    whole = Layout(input=lists(), window=None, time="t", entity=None)
    table = pl.DataFrame({"t": [None, *range(19)], "wave": [[0.0]] * 20})

    with pytest.raises(UnlearnableError, match="column 't' is missing in 1 of 20 rows"):
        split_table(table, whole, SplitConfig(by="time"))


def test_the_error_for_a_split_by_time_without_a_time_column_has_a_hint() -> None:
    whole = Layout(input=lists(), window=None, time=None, entity=None)
    table = pl.DataFrame({"wave": [[0.0]] * 20})

    with pytest.raises(UnlearnableError, match=r"set source\.time, or split\.by: hash"):
        split_table(table, whole, SplitConfig(by="time"))


HOURS = [datetime(2024, 3, 30, tzinfo=UTC) + timedelta(hours=index) for index in range(40)]

TIMES = {
    "days": pl.Series([date(2023, 12, 20) + timedelta(days=index) for index in range(40)]),
    "hours": pl.Series(HOURS).dt.replace_time_zone(None),
    "over a change of the clocks": pl.Series(HOURS).dt.convert_time_zone("Europe/Vienna"),
    "milliseconds": pl.Series(range(1_700_000_000_000, 1_700_000_000_040)).cast(pl.Datetime("ms")),
    "microseconds": pl.Series(range(-20, 20)).cast(pl.Datetime("us")),
    "nanoseconds": pl.Series(range(40)).cast(pl.Datetime("ns")),
    "whole numbers": pl.Series(range(40)),
    "fractions": pl.Series(np.arange(40) * 0.1),
    "short fractions": pl.Series(np.arange(40) * 0.1).cast(pl.Float32),
    "decimals": pl.Series(range(40)).cast(pl.Decimal(12, 2)),
    "times of the day": pl.Series([time(index // 2, index % 2 * 30) for index in range(40)]),
    "durations": pl.Series([timedelta(seconds=index) for index in range(40)]),
}


def planned(times: pl.Series) -> tuple[pl.DataFrame, Featurizer, np.ndarray]:
    """Split rows with these times; the featurizer is saved and loaded."""
    table = pl.DataFrame({"t": times, "wave": [[0.0]] * len(times)})
    whole = Layout(input=lists(), window=None, time="t", entity=None)
    plan = split_table(table, whole, SplitConfig(by="time", gap=0))
    target = Target(column="y", kind="category", classes=("a", "b"))
    with TemporaryDirectory() as folder:
        save_featurizer(
            build_featurizer(whole, build_series_state([0.0], [1.0]), target, plan.split),
            Path(folder),
        )
        return table, load_featurizer(Path(folder)), plan.splits_R


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
def test_a_model_recognizes_its_test_period_in_any_time_type(times: pl.Series) -> None:
    table, featurizer, splits = planned(times)

    never = featurizer.mark_unseen_rows(table, table["t"])

    assert never.tolist() == (splits == TEST).tolist()


def test_future_days_are_not_training_rows_and_a_change_of_time_type_is_an_error() -> None:
    table, featurizer, _ = planned(TIMES["hours"])
    future = pl.Series("t", [datetime(2030, 1, 1), None])  # noqa: DTZ001 - the column has no zone

    assert featurizer.mark_unseen_rows(table[:2], future).tolist() == [True, False]
    with pytest.raises(UnlearnableError, match=r"has Datetime.*'ns'.* now"):
        featurizer.mark_unseen_rows(table, table["t"].cast(pl.Datetime("ns")))


def windows(length: int = 3, *, horizon: int = 1, entity: str | None = "shop") -> Layout:
    return Layout(
        input=SeriesInput(column="sales"),
        window=WindowConfig(lookback=length, horizon=horizon),
        time="day",
        entity=entity,
    )


def shops(days: dict[str, int]) -> pl.DataFrame:
    """Daily sales of several shops, some of which opened late."""
    longest = max(days.values())
    return pl.DataFrame(
        [
            {"shop": shop, "day": longest - count + day, "sales": float(day)}
            for shop, count in days.items()
            for day in range(count)
        ]
    )


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(12, 30), min_size=1),
    st.integers(0, 4),
    st.integers(0, 3),
)
def test_no_training_target_is_from_a_day_of_validation_or_test(
    days: dict[str, int], horizon: int, gap: int
) -> None:
    table = shops(days).sample(fraction=1, shuffle=True, seed=horizon)
    config = SplitConfig(gap=gap)

    plan = split_table(table, windows(horizon=horizon), config)

    cut = plan.split.test_from
    for row in np.flatnonzero(plan.splits_R != UNUSED):
        window, target = table.row(int(row)), table.row(int(plan.target_rows_R[row]))
        assert (target[0], target[1]) == (window[0], window[1] + horizon)
        assert (target[1] >= cut + gap) == (plan.splits_R[row] == TEST)
        assert target[1] < cut or plan.splits_R[row] == TEST


@given(st.integers(2, 30), st.integers(1, 3))
def test_series_of_one_group_are_all_in_one_split(count: int, horizon: int) -> None:
    table = shops({f"shop {number}": 6 for number in range(count)}).with_columns(
        town=pl.col("shop").str.slice(-1)
    )

    plan = split_table(table, windows(horizon=horizon), SplitConfig(by="hash", group="town"))

    used = table.with_columns(split=plan.splits_R).filter(pl.col("split") != UNUSED)
    assert used.group_by("town").agg(pl.col("split").n_unique())["split"].max() == 1
    assert len(used) == count * (6 - horizon)


def test_a_group_that_splits_a_series_is_rejected() -> None:
    table = shops({"a": 40, "b": 40}).with_columns(week=pl.col("day") // 7)

    with pytest.raises(UnlearnableError, match="week"):
        split_table(table, windows(), SplitConfig(by="hash", group="week"))
