"""Splits: decided once, kept for ever, and nothing stands on two sides."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features import InputConfig, Layout, WindowConfig
from models.features.plan import make_plan
from models.features.split import (
    TEST,
    TRAINING,
    UNUSED,
    VALIDATION,
    SplitConfig,
    identities,
    split_by_hash,
    split_by_time,
)

cells = st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["a", "b"]))
shares = st.floats(0.01, 0.4)


def days(count: int) -> list[date]:
    return [date(2024, 1, 1) + timedelta(days=place) for place in range(count)]


@given(st.lists(cells, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_a_row_keeps_its_split_in_any_order_and_company(texts, random) -> None:
    config = SplitConfig()
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    order = list(range(len(texts)))
    random.shuffle(order)
    grown = pl.concat([frame[order], pl.DataFrame({"text": ["new"]})])

    before = split_by_hash(identities(frame, ["text"]), config)
    after = split_by_hash(identities(grown, ["text"]), config)

    assert after[:-1].tolist() == before[order].tolist()


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=20))
def test_equal_rows_have_one_identity_and_different_rows_have_two(blobs) -> None:
    hashes = identities(pl.DataFrame({"blob": blobs}), ["blob"])

    same = [[a == b for b in blobs] for a in blobs]

    assert (hashes[:, None] == hashes[None, :]).tolist() == same


def test_the_identity_of_a_row_is_the_same_for_ever() -> None:
    frame = pl.DataFrame(
        {
            "text": ["\u00e9"],
            "bytes": [b"\x00\xff"],
            "list": [[1.5, None]],
            "day": [date(2024, 2, 29)],
            "number": [7],
        }
    )

    assert identities(frame, frame.columns).tolist() == [1107919389199486253]


@given(shares, shares)
def test_shares_come_out_as_asked(test: float, validation: float) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)

    splits = split_by_hash(hashes, SplitConfig(test=test, validation=validation))

    assert abs((splits == TEST).mean() - test) < 0.02
    assert abs((splits == VALIDATION).mean() - validation) < 0.02


@given(st.integers(10, 60), st.integers(0, 3), shares, shares)
def test_a_split_by_time_keeps_the_order_and_the_gap(
    count: int, gap: int, test: float, validation: float
) -> None:
    config = SplitConfig(by="time", test=test, validation=validation, gap=gap)
    times = pl.Series("day", days(count)).sample(fraction=1, shuffle=True, seed=count)

    splits, cuts = split_by_time(times, config)

    place = times.rank("ordinal").to_numpy() - 1
    ends = {
        split: (place[splits == split].min(), place[splits == split].max())
        for split in (TRAINING, VALIDATION, TEST)
        if (splits == split).any()
    }
    assert TRAINING in ends
    for earlier, later in ((TRAINING, VALIDATION), (VALIDATION, TEST)):
        if earlier in ends and later in ends:
            assert ends[later][0] - ends[earlier][1] == gap + 1
    assert (times.filter(splits == TEST).to_physical() >= cuts.test).all()


def test_too_few_points_in_time_are_refused_with_the_mend() -> None:
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
        input=InputConfig(column="sales", kind="series"),
        window=WindowConfig(length=3, horizon=horizon),
        time="day",
        entity=entity,
    )


@given(st.integers(1, 4), st.integers(12, 30), st.integers(0, 3))
def test_no_training_answer_stands_at_or_after_the_first_day_of_validation(
    entities: int, steps: int, horizon: int
) -> None:
    table = long_table(entities, steps)

    plan = make_plan(table.lazy(), layout(horizon=horizon), SplitConfig())

    days_of = {
        split: table["day"].gather(plan.answer_R[plan.splits_R == split])
        for split in (TRAINING, VALIDATION, TEST)
    }
    assert (plan.splits_R[plan.answer_R < 0] == UNUSED).all()
    if len(days_of[TRAINING]) and len(days_of[VALIDATION]):
        assert days_of[TRAINING].max() < days_of[VALIDATION].min()
    assert days_of[TRAINING].max() < days_of[TEST].min()


def test_windows_by_hash_need_something_to_keep_together() -> None:
    table = long_table(1, 20).lazy()

    with pytest.raises(UnlearnableError, match="overlapping windows"):
        make_plan(table, layout(entity=None), SplitConfig(by="hash"))


def test_whole_series_stay_on_one_side_by_hash() -> None:
    table = long_table(40, 8)

    plan = make_plan(table.lazy(), layout(), SplitConfig(by="hash"))

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
    ],
)
def test_a_split_that_leaves_nothing_is_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitConfig(**settings)


def test_a_group_that_cuts_a_series_in_two_is_refused() -> None:
    table = long_table(3, 12).with_columns(half=pl.col("day") > date(2024, 1, 6))
    config = SplitConfig(by="hash", group="half")

    with pytest.raises(UnlearnableError, match="changes within a series"):
        make_plan(table.lazy(), layout(), config)


def test_rows_without_a_time_are_refused_by_a_split_in_time() -> None:
    times = pl.Series("day", [*days(20), None])

    with pytest.raises(UnlearnableError, match="'day' is missing in 1 of 21 rows"):
        split_by_time(times, SplitConfig(by="time"))
