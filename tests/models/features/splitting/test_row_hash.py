"""Splits: equal rows stay together, a model knows its own test rows again, no step leaks."""

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
from models.features.splitting.split import (
    NAMES,
    TEST,
    TRAINING,
    UNUSED,
    VALIDATION,
    SplitConfig,
    identities,
    split_by_hash,
    split_by_time,
)
from models.features.target import Target
from tests.support.model_parts import featurizer_of, scale
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
def test_equal_rows_share_an_identity_wherever_they_stand(content: list[tuple], random) -> None:
    doubled = content * 2
    random.shuffle(doubled)
    frame = frame_of(doubled)

    hashes = identities(frame, frame.columns)

    alone = [identities(frame[row : row + 1], frame.columns)[0] for row in range(len(frame))]
    assert hashes.tolist() == alone
    assert len(set(hashes.tolist())) <= len({repr(row) for row in content})


def test_rows_that_only_look_alike_have_identities_of_their_own() -> None:
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

    assert len(set(identities(frame, frame.columns).tolist())) == len(frame)


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
def test_the_two_zeros_are_one_number(values: pl.Series) -> None:
    negative, positive = identities(pl.DataFrame({"x": values}), ["x"])

    assert negative == positive


def written(frame: pl.DataFrame, columns: list[str]) -> list[int]:
    """The definition: each row as JSON, hashed by itself."""
    texts = frame.select(
        pl.struct(
            pl.col(name).bin.encode("hex") if frame.schema[name] == pl.Binary else pl.col(name)
            for name in columns
        ).struct.json_encode()
    ).to_series()
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return [int.from_bytes(digest, "big") for digest in digests]


@given(rows, st.integers(1, 4))
def test_pieces_and_repetition_change_no_identity(content: list[tuple], piece: int) -> None:
    frame = frame_of(content * 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_hash, "PIECE_ROWS", piece)
        for columns in (frame.columns, ["bytes"], ["list"], ["text", "number"]):
            assert identities(frame, columns).tolist() == written(frame, columns)


@pytest.mark.parametrize("name", ["blob", "", 'a"b', "\u007f\n\u00e9", "\U0001f422", "a\\"])
def test_bytes_under_any_name_are_hashed_as_they_were(name: str) -> None:
    frame = pl.DataFrame({name: [b"", None, b"\xff\x00" * 3000]})

    assert identities(frame, [name]).tolist() == written(frame, [name])


def test_bytes_within_lists_and_records_tell_rows_apart() -> None:
    lists = pl.Series([[b"a"], [b"b"], [], None, [None], [b"a", b"b"], [b"ab"]])
    records = pl.Series([{"a": b"x"}, {"a": b"y"}, {"a": None}, None])

    for values in (lists, lists.cast(pl.List(pl.Binary)), records):
        frame = pl.DataFrame({"x": values})
        assert len(set(identities(frame, ["x"]).tolist())) == len(frame)


def test_objects_are_refused_with_the_mend() -> None:
    frame = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})

    with pytest.raises(UnlearnableError, match=r"column 'x' holds Python objects.*set split\.id"):
        identities(frame, ["x"])


def test_rows_are_planned_in_their_order_however_many_there_are() -> None:
    frame = pl.DataFrame({"wave": [[float(number)] for number in range(150_000)]})
    whole = Layout(input=lists(), window=None, time=None, entity=None)

    plan = split_table(frame, whole, SplitConfig())

    expected = split_by_hash(identities(frame, ["wave"]), SplitConfig())
    np.testing.assert_array_equal(plan.splits_R, expected)
    np.testing.assert_array_equal(plan.target_R, np.arange(150_000))


def lists() -> SeriesInput:
    return SeriesInput(column="wave")


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_rows_of_one_group_are_all_in_one_split(groups: list[str]) -> None:
    waves = [[float(place)] for place in range(len(groups))]
    table = pl.DataFrame({"wave": waves, "patient": groups})
    whole = Layout(input=lists(), window=None, time=None, entity=None)

    plan = split_table(table, whole, SplitConfig(group="patient"))

    splits = table.with_columns(split=plan.splits_R).group_by("patient").agg(pl.col("split"))
    assert all(len(set(found)) == 1 for found in splits["split"])
    assert plan.split.columns == ("patient",)


def test_growth_never_moves_a_group_to_another_split() -> None:
    names = [f"patient {number}" for number in range(200)]
    config = SplitConfig(group="patient")
    whole = Layout(input=lists(), window=None, time=None, entity=None)
    old = pl.DataFrame({"wave": [[0.0]] * 200, "patient": names})
    grown = pl.DataFrame({"wave": [[1.0]] * 400, "patient": [f"new {n}" for n in names] + names})

    before, after = (split_table(table, whole, config).splits_R for table in (old, grown))

    assert after[200:].tolist() == before.tolist()
    assert set(before.tolist()) == {TRAINING, VALIDATION, TEST}


@given(st.integers(5, 80), st.integers(0, 3), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_the_newest_share_of_the_points_in_time_is_kept_from_learning(
    count: int, gap: int, test: float, validation: float
) -> None:
    config = SplitConfig(by="time", test=test, validation=validation, gap=gap)
    times = pl.Series("t", list(range(count)) * 2)

    splits, cuts = split_by_time(times, config)

    counts = np.bincount(splits, minlength=len(NAMES)) // 2
    cut = cuts.test
    assert abs((count - cut) - count * test) <= 1
    assert (splits[times.to_numpy() >= cut] != TRAINING).all()
    assert (splits[times.to_numpy() >= cut] != VALIDATION).all()
    assert counts[TEST] == max(0, count - cut - gap)
    assert counts.sum() == count
    assert splits[:count].tolist() == splits[count:].tolist()


def test_a_row_whose_time_is_unknown_is_never_learned_from_in_silence() -> None:
    whole = Layout(input=lists(), window=None, time="t", entity=None)
    table = pl.DataFrame({"t": [None, *range(19)], "wave": [[0.0]] * 20})

    with pytest.raises(UnlearnableError, match="column 't' is missing in 1 of 20 rows"):
        split_table(table, whole, SplitConfig(by="time"))


def test_a_split_by_time_without_a_time_column_says_what_to_set() -> None:
    whole = Layout(input=lists(), window=None, time=None, entity=None)
    table = pl.DataFrame({"wave": [[0.0]] * 20})

    with pytest.raises(UnlearnableError, match=r"set source\.time, or split\.by: hash"):
        split_table(table, whole, SplitConfig(by="time"))


HOURS = [datetime(2024, 3, 30, tzinfo=UTC) + timedelta(hours=place) for place in range(40)]

TIMES = {
    "days": pl.Series([date(2023, 12, 20) + timedelta(days=place) for place in range(40)]),
    "hours": pl.Series(HOURS).dt.replace_time_zone(None),
    "over a change of the clocks": pl.Series(HOURS).dt.convert_time_zone("Europe/Vienna"),
    "milliseconds": pl.Series(range(1_700_000_000_000, 1_700_000_000_040)).cast(pl.Datetime("ms")),
    "microseconds": pl.Series(range(-20, 20)).cast(pl.Datetime("us")),
    "nanoseconds": pl.Series(range(40)).cast(pl.Datetime("ns")),
    "whole numbers": pl.Series(range(40)),
    "fractions": pl.Series(np.arange(40) * 0.1),
    "short fractions": pl.Series(np.arange(40) * 0.1).cast(pl.Float32),
    "decimals": pl.Series(range(40)).cast(pl.Decimal(12, 2)),
    "times of the day": pl.Series([time(place // 2, place % 2 * 30) for place in range(40)]),
    "durations": pl.Series([timedelta(seconds=place) for place in range(40)]),
}


def planned(times: pl.Series) -> tuple[pl.DataFrame, Featurizer, np.ndarray]:
    """Plan rows with these times; the featurizer has been to disk and back."""
    table = pl.DataFrame({"t": times, "wave": [[0.0]] * len(times)})
    whole = Layout(input=lists(), window=None, time="t", entity=None)
    plan = split_table(table, whole, SplitConfig(by="time", gap=0))
    target = Target(column="y", kind="category", classes=("a", "b"))
    with TemporaryDirectory() as folder:
        save_featurizer(featurizer_of(whole, scale([0.0], [1.0]), target, plan.split), Path(folder))
        return table, load_featurizer(Path(folder)), plan.splits_R


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
def test_a_model_knows_its_test_period_again_whatever_time_is_written_in(times: pl.Series) -> None:
    table, featurizer, splits = planned(times)

    never = featurizer.mark_unseen_rows(table, table["t"])

    assert never.tolist() == (splits == TEST).tolist()


def test_days_to_come_were_never_learned_from_and_a_change_of_their_type_is_noticed() -> None:
    table, featurizer, _ = planned(TIMES["hours"])
    future = pl.Series("t", [datetime(2030, 1, 1), None])  # noqa: DTZ001 - the column has no zone

    assert featurizer.mark_unseen_rows(table[:2], future).tolist() == [True, False]
    with pytest.raises(UnlearnableError, match=r"is Datetime.*'ns'.* now"):
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
def test_no_training_answer_is_from_a_day_that_validation_or_test_is_judged_on(
    days: dict[str, int], horizon: int, gap: int
) -> None:
    table = shops(days).sample(fraction=1, shuffle=True, seed=horizon)
    config = SplitConfig(gap=gap)

    plan = split_table(table, windows(horizon=horizon), config)

    cut = plan.split.test_from
    for row in np.flatnonzero(plan.splits_R != UNUSED):
        window, answer = table.row(int(row)), table.row(int(plan.target_R[row]))
        assert (answer[0], answer[1]) == (window[0], window[1] + horizon)
        assert (answer[1] >= cut + gap) == (plan.splits_R[row] == TEST)
        assert answer[1] < cut or plan.splits_R[row] == TEST


@given(st.integers(2, 30), st.integers(1, 3))
def test_series_of_one_group_are_all_in_one_split(count: int, horizon: int) -> None:
    table = shops({f"shop {number}": 6 for number in range(count)}).with_columns(
        town=pl.col("shop").str.slice(-1)
    )

    plan = split_table(table, windows(horizon=horizon), SplitConfig(by="hash", group="town"))

    used = table.with_columns(split=plan.splits_R).filter(pl.col("split") != UNUSED)
    assert used.group_by("town").agg(pl.col("split").n_unique())["split"].max() == 1
    assert len(used) == count * (6 - horizon)


def test_a_group_that_cuts_a_series_in_two_is_refused() -> None:
    table = shops({"a": 40, "b": 40}).with_columns(week=pl.col("day") // 7)

    with pytest.raises(UnlearnableError, match="week"):
        split_table(table, windows(), SplitConfig(by="hash", group="week"))
