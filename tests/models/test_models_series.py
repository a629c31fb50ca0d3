"""Series: fast reading agrees with a slow reading by hand, for lists and for windows."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features import InputConfig, Layout, WindowConfig
from models.features.series import line_up, list_steps, row_ahead, window_steps
from models.features.steps import Steps

numbers = st.one_of(st.none(), st.floats(-99, 99, width=32))
lists = st.one_of(st.none(), st.lists(numbers, max_size=3))


def steps_of_row(steps: Steps, row: int) -> list[list[float]]:
    held = steps.values_NC[steps.starts_R[row] : steps.stops_R[row]]
    return np.where(np.isnan(held), None, held).tolist()


def read_by_hand(a: list | None, b: list | None) -> list[list[float | None]] | str:
    """Read two lists side by side, or say why they cannot be."""
    for name, values in (("a", a), ("b", b)):
        if not values:
            return f"column '{name}' is empty"
    if len(a) != len(b):
        return f"the channels differ in length: {sorted([len(a), len(b)])}"
    return [list(step) for step in zip(a, b, strict=True)]


@given(st.lists(st.tuples(lists, lists), min_size=1, max_size=8), st.integers(0, 3))
def test_lists_are_read_side_by_side_each_row_for_itself(rows: list[tuple], skipped: int) -> None:
    schema = {"a": pl.List(pl.Float32), "b": pl.List(pl.Float32)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")[skipped:]

    steps = list_steps(frame, ("a", "b"))

    expected = [read_by_hand(a, b) for a, b in rows[skipped:]]
    assert [
        steps.errors_R[row] or steps_of_row(steps, row) for row in range(len(frame))
    ] == expected


@pytest.mark.parametrize(
    "dtype", [pl.List(pl.Int64), pl.List(pl.UInt8), pl.List(pl.Float64), pl.Array(pl.Int32, 2)]
)
def test_numbers_of_any_type_are_read_the_same(dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"a": pl.Series([[1, 2], [3, 4]], dtype=dtype)})

    steps = list_steps(frame, ("a",))

    assert [steps_of_row(steps, row) for row in range(2)] == [[[1.0], [2.0]], [[3.0], [4.0]]]


def layout(length: int, *, entity: str | None = "shop") -> Layout:
    return Layout(
        input=InputConfig(column="sales", kind="series"),
        window=WindowConfig(length=length),
        time="day",
        entity=entity,
    )


@st.composite
def tables(draw) -> pl.DataFrame:
    """Several series with days of their own, in no order."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "\u00e9"]), st.integers(0, 15)),
            min_size=1,
            max_size=20,
            unique=True,
        )
    )
    sales = [float(place) for place in range(len(keys))]
    return pl.DataFrame(
        {"shop": [shop for shop, _ in keys], "day": [day for _, day in keys], "sales": sales}
    )


def past_by_hand(table: pl.DataFrame, row: int) -> list[list[float]]:
    """List the row's own series up to the row, oldest first."""
    shop, day, _ = table.row(row)
    own = table.filter((pl.col("shop") == shop) & (pl.col("day") <= day)).sort("day")
    return [[value] for value in own["sales"]]


@given(tables(), st.integers(1, 4))
def test_a_window_holds_the_last_steps_of_its_own_series_in_any_order_of_the_table(
    table: pl.DataFrame, length: int
) -> None:
    steps = window_steps(table, layout(length), WindowConfig(length=length))

    for row in range(len(table)):
        past = past_by_hand(table, row)
        if len(past) < length:
            reason = f"the window needs {length} steps, this row has {len(past)}"
            assert (steps.errors_R[row], steps_of_row(steps, row)) == (reason, [])
        else:
            assert (steps.errors_R[row], steps_of_row(steps, row)) == (None, past[-length:])


@given(tables(), st.integers(1, 4), st.integers(0, 15))
def test_rows_of_the_future_never_change_a_window_of_the_past(
    table: pl.DataFrame, length: int, today: int
) -> None:
    known = table.filter(pl.col("day") <= today)
    places = np.flatnonzero(table["day"].to_numpy() <= today)
    window = WindowConfig(length=length)

    then = window_steps(known, layout(length), window)
    now = window_steps(table, layout(length), window)

    for row, place in enumerate(places):
        assert then.errors_R[row] == now.errors_R[place]
        assert steps_of_row(then, row) == steps_of_row(now, int(place))


@given(tables(), st.integers(-3, 3))
def test_the_row_ahead_never_leaves_its_series(table: pl.DataFrame, steps: int) -> None:
    found = row_ahead(line_up(table, layout(1)), steps)

    for row, (shop, day, _) in enumerate(table.iter_rows()):
        days = table.filter(pl.col("shop") == shop)["day"].sort().to_list()
        place = days.index(day) + steps
        if 0 <= place < len(days):
            assert table.row(int(found[row]))[:2] == (shop, days[place])
        else:
            assert found[row] == -1


def test_windows_share_their_steps_rather_than_copy_them() -> None:
    table = pl.DataFrame({"shop": ["a"] * 1000, "day": range(1000), "sales": [0.0] * 1000})

    steps = window_steps(table, layout(400), WindowConfig(length=400))

    assert steps.values_NC.shape == (1000, 1)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("day", [1, None, 3], "column 'day' is missing in 1 of 3 rows"),
        ("shop", [None, None, "a"], "column 'shop' is missing in 2 of 3 rows"),
        ("day", [1, 2, 2], "'a' has two rows at day 2; a series has one row a time"),
    ],
)
def test_a_row_without_a_place_of_its_own_in_the_series_is_refused(
    column: str, values: list, message: str
) -> None:
    table = pl.DataFrame({"shop": ["a"] * 3, "day": [1, 2, 3], "sales": [0.0] * 3})
    broken = table.with_columns(pl.Series(column, values))

    with pytest.raises(UnlearnableError, match=message):
        line_up(broken, layout(2))


def test_series_may_have_rows_at_the_same_time_as_each_other() -> None:
    table = pl.DataFrame({"shop": ["b", "a", "b", "a"], "day": [1, 1, 2, 2], "sales": range(4)})

    steps = window_steps(table, layout(2), WindowConfig(length=2))

    assert [steps_of_row(steps, row) for row in (2, 3)] == [[[0.0], [2.0]], [[1.0], [3.0]]]


def test_a_missing_value_keeps_its_place_in_the_window() -> None:
    table = pl.DataFrame({"day": [1, 2, 3], "sales": [1.0, None, 3.0]})

    steps = window_steps(table, layout(3, entity=None), WindowConfig(length=3))

    assert steps_of_row(steps, 2) == [[1.0], [None], [3.0]]


def test_a_table_without_rows_has_no_windows() -> None:
    table = pl.DataFrame(schema={"shop": pl.String, "day": pl.Int64, "sales": pl.Float64})

    steps = window_steps(table, layout(2), WindowConfig(length=2))

    assert (len(steps.starts_R), len(steps.stops_R), steps.errors_R) == (0, 0, [])
