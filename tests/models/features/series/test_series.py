"""Series: the fast implementation agrees with a slow, plain one, for lists and for windows."""

import math
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.series import (
    SeriesInput,
    SeriesState,
    build_spec,
    compute_context,
    find_rows_ahead,
    fit,
    fit_windows,
    index_series,
    transform,
)
from models.features.series.channels import read_raw_steps
from models.features.series.scaling import MAX_SCALED
from models.features.steps import Steps
from tests.support.series_layouts import build_list_layout, build_window_layout

numbers = st.one_of(st.none(), st.floats(-99, 99, width=32))
lists = st.one_of(st.none(), st.lists(numbers, max_size=3))

BEGIN = datetime(2024, 2, 27, 22)  # noqa: DTZ001 - a wall clock

PERIODS = {"hour": 24, "weekday": 7, "month": 12, "day_of_year": 366}


def raw_of(frame: pl.DataFrame, layout: Layout) -> Steps:
    raw = read_raw_steps(frame, layout)
    return Steps(raw.values_CN.T, raw.starts_R, raw.stops_R, raw.errors_R)


def steps_of_row(steps: Steps, row: int) -> list[list[float]]:
    values = steps.values_NC[steps.starts_R[row] : steps.stops_R[row]]
    return np.where(np.isnan(values), None, values).tolist()


def read_plainly(a: list | None, b: list | None) -> list[list[float | None]] | str:
    """Read two list columns as channels, or return the error."""
    for name, values in (("a", a), ("b", b)):
        if not values:
            return f"column '{name}' is empty"
    if len(a) != len(b):
        return f"the channels differ in length: {sorted([len(a), len(b)])}"
    return [list(step) for step in zip(a, b, strict=True)]


@given(st.lists(st.tuples(lists, lists), min_size=1, max_size=8), st.integers(0, 3))
def test_list_columns_of_a_row_are_the_channels_of_its_steps(
    rows: list[tuple], skipped: int
) -> None:
    schema = {"a": pl.List(pl.Float32), "b": pl.List(pl.Float32)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")[skipped:]

    steps = raw_of(frame, build_list_layout("a", "b"))

    expected = [read_plainly(a, b) for a, b in rows[skipped:]]
    assert [
        steps.errors_R[row] or steps_of_row(steps, row) for row in range(len(frame))
    ] == expected


@pytest.mark.parametrize(
    "dtype", [pl.List(pl.Int64), pl.List(pl.UInt8), pl.List(pl.Float64), pl.Array(pl.Int32, 2)]
)
def test_numbers_of_any_type_are_read_the_same(dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"a": pl.Series([[1, 2], [3, 4]], dtype=dtype)})

    steps = raw_of(frame, build_list_layout("a"))

    assert [steps_of_row(steps, row) for row in range(2)] == [[[1.0], [2.0]], [[3.0], [4.0]]]


@pytest.mark.parametrize("size", [0, 2])
def test_a_column_of_missing_values_is_read_as_empty_lists(size: int) -> None:
    frame = pl.DataFrame({"a": pl.Series([None] * size, dtype=pl.Null)})

    steps = raw_of(frame, build_list_layout("a"))

    assert steps.errors_R == ["column 'a' is empty"] * size
    assert steps.values_NC.shape == (0, 1)


@st.composite
def tables(draw) -> pl.DataFrame:
    """Several series with days of their own, unsorted."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "\u00e9"]), st.integers(0, 15)),
            min_size=1,
            max_size=20,
            unique=True,
        )
    )
    sales = [float(index) for index in range(len(keys))]
    return pl.DataFrame(
        {"shop": [shop for shop, _ in keys], "day": [day for _, day in keys], "sales": sales}
    )


def find_past_plainly(table: pl.DataFrame, row: int) -> list[list[float]]:
    """Return the row's own series up to the row, oldest first."""
    shop, day, _ = table.row(row)
    own = table.filter((pl.col("shop") == shop) & (pl.col("day") <= day)).sort("day")
    return [[value] for value in own["sales"]]


@given(tables(), st.integers(1, 4))
def test_a_window_contains_the_last_steps_of_its_own_series_in_any_row_order(
    table: pl.DataFrame, length: int
) -> None:
    steps = raw_of(table, build_window_layout(length))

    for row in range(len(table)):
        past = find_past_plainly(table, row)
        if len(past) < length:
            reason = f"the window needs {length} steps, this row has {len(past)}"
            assert (steps.errors_R[row], steps_of_row(steps, row)) == (reason, [])
        else:
            assert (steps.errors_R[row], steps_of_row(steps, row)) == (None, past[-length:])


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Float64, pl.Date, pl.Datetime("ns")])
@pytest.mark.parametrize("owner", [pl.String, pl.Int8, pl.Boolean])
def test_rows_are_sorted_for_all_types_of_time_and_entity(
    dtype: pl.DataType, owner: pl.DataType
) -> None:
    times, owners = [5, 1, 3, 2, 4], [1, 0, 1, 1, 0]
    table = pl.DataFrame(
        {
            "shop": pl.Series(owners).cast(owner if owner != pl.String else pl.Int8).cast(owner),
            "day": pl.Series(times, dtype=pl.Int32).cast(dtype),
        }
    )

    sorted_series = index_series(table, build_window_layout(1))

    assert sorted_series.order_N.tolist() == [1, 4, 3, 2, 0]
    assert sorted_series.first_N.tolist() == [0, 0, 2, 2, 2]
    assert sorted_series.end_N.tolist() == [2, 2, 5, 5, 5]


def test_rows_without_a_time_stay_in_their_order() -> None:
    layout = Layout(
        input=SeriesInput(column="sales"), window=WindowConfig(lookback=1), time=None, entity="shop"
    )

    sorted_series = index_series(pl.DataFrame({"shop": ["b", "a", "b", "a"]}), layout)

    assert sorted_series.order_N.tolist() == [1, 3, 0, 2]


@given(tables(), st.integers(-3, 3))
def test_the_row_ahead_never_leaves_its_series(table: pl.DataFrame, steps: int) -> None:
    result = find_rows_ahead(index_series(table, build_window_layout(1)), steps)

    for row, (shop, day, _) in enumerate(table.iter_rows()):
        days = table.filter(pl.col("shop") == shop)["day"].sort().to_list()
        index = days.index(day) + steps
        if 0 <= index < len(days):
            assert table.row(int(result[row]))[:2] == (shop, days[index])
        else:
            assert result[row] == -1


def test_windows_share_their_steps_rather_than_copy_them() -> None:
    table = pl.DataFrame({"shop": ["a"] * 1000, "day": range(1000), "sales": [0.0] * 1000})

    steps = raw_of(table, build_window_layout(400))

    assert steps.values_NC.shape == (1000, 1)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("day", [1, None, 3], "column 'day' is missing in 1 of 3 rows"),
        ("day", [1.0, math.nan, None], "column 'day' is missing in 2 of 3 rows"),
        ("shop", [None, None, "a"], "column 'shop' is missing in 2 of 3 rows"),
        ("day", [1, 2, 2], "'a' has two rows at day 2; a series has one row for each time"),
    ],
)
def test_two_rows_of_a_series_at_one_time_are_rejected(
    column: str, values: list, message: str
) -> None:
    table = pl.DataFrame({"shop": ["a"] * 3, "day": [1, 2, 3], "sales": [0.0] * 3})
    broken = table.with_columns(pl.Series(column, values))

    with pytest.raises(UnlearnableError, match=message):
        index_series(broken, build_window_layout(2))


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["b", "a"]), pl.Binary])
def test_series_may_have_rows_at_the_same_time_as_each_other(dtype: pl.DataType) -> None:
    table = pl.DataFrame({"shop": ["b", "a", "b", "a"], "day": [1, 1, 2, 2], "sales": range(4)})

    steps = raw_of(table.with_columns(pl.col("shop").cast(dtype)), build_window_layout(2))

    assert [steps_of_row(steps, row) for row in (2, 3)] == [[[0.0], [2.0]], [[1.0], [3.0]]]


def test_a_missing_value_is_a_step_of_the_window() -> None:
    table = pl.DataFrame({"day": [1, 2, 3], "sales": [1.0, None, 3.0]})

    steps = raw_of(table, build_window_layout(3, entity=None))

    assert steps_of_row(steps, 2) == [[1.0], [None], [3.0]]


@pytest.mark.parametrize("every_option", [False, True])
def test_a_table_without_rows_has_no_windows(every_option: bool) -> None:
    schema = {"shop": pl.String, "day": pl.Date, "sales": pl.Float64, "price": pl.Float64}
    more = {
        "known_future": ("price",),
        "calendar": ("month",),
        "time_delta": True,
        "scale_per": "entity",
    }

    steps = raw_of(
        pl.DataFrame(schema=schema), build_window_layout(2, **(more if every_option else {}))
    )

    assert (len(steps.starts_R), len(steps.stops_R), steps.errors_R) == (0, 0, [])


# The following tests compare whole tables with a plain implementation, for every option.


@st.composite
def full_tables(draw) -> pl.DataFrame:
    """Shops with irregular hours, missing values and prices, unsorted."""
    generator = np.random.default_rng(draw(st.integers(0, 9999)))
    size = draw(st.integers(20, 60))
    hours = generator.choice(400, size, replace=False)
    level = draw(st.sampled_from([0.0, 1e9]))
    return pl.DataFrame(
        {
            "shop": generator.choice(["a", "b", "\u00e9"], size, p=[0.5, 0.4, 0.1]),
            "day": [BEGIN + timedelta(hours=int(hour)) for hour in hours],
            "sales": [None if v < 0.25 else level + v for v in generator.random(size)],
            "price": [None if v < 0.1 else v * 50 for v in generator.random(size)],
        }
    )


layouts = st.builds(
    lambda length, missing, limit, **more: build_window_layout(
        length, impute=missing, impute_limit=limit if missing == "last" else None, **more
    ),
    st.integers(1, 5),
    st.sampled_from(["mean", "last", "zero"]),
    st.sampled_from([None, 1, 9]),
    horizon=st.integers(0, 3),
    known_future=st.sampled_from([(), ("price",)]),
    calendar=st.lists(st.sampled_from(sorted(PERIODS)), unique=True, max_size=2).map(tuple),
    time_delta=st.booleans(),
    scaler=st.sampled_from(["standard", "robust", "minmax", "arcsinh", "none"]),
    scale_per=st.sampled_from(["all", "entity"]),
    missing_indicator=st.sampled_from(["auto", "always", "never"]),
)


def build_channels_plainly(own: list[dict], layout: Layout) -> list[list[float | None]]:
    """Return the unscaled channels of one series: sales, the future price, the log time delta."""
    result = []
    for index, row in enumerate(own):
        step = [row["sales"]]
        if layout.input.known_future:
            ahead = index + layout.window.horizon
            step.append(own[ahead]["price"] if ahead < len(own) else None)
        if layout.input.time_delta:
            seconds = (row["day"] - own[index - 1]["day"]).total_seconds() if index else None
            step.append(math.log(seconds) if seconds else None)
        result.append(step)
    return result


def impute_plainly(
    steps: list[list[float | None]], layout: Layout, typical: list[float]
) -> list[list[float]]:
    """Impute missing values as configured, up to the limit or the lookback."""
    filled, limit = [], layout.input.impute_limit or layout.window.lookback
    for index, step in enumerate(steps):
        row = []
        for channel, value in enumerate(step):
            back = range(index, max(-1, index - 1 - limit), -1)
            last = next((steps[p][channel] for p in back if steps[p][channel] is not None), None)
            imputed = last if layout.input.impute == "last" else value
            row.append(typical[channel] if imputed is None else imputed)
        filled.append(row)
    return filled


def build_steps_plainly(table: pl.DataFrame, layout: Layout, state: SeriesState) -> dict:
    """Scale every step of a table, by its shop and time."""
    scaler, result = state.scaler, {}
    for shop in table["shop"].unique():
        own = table.filter(pl.col("shop") == shop).sort("day").to_dicts()
        row = scaler.entities.index(shop) + 1 if shop in scaler.entities else 0
        raw = build_channels_plainly(own, layout)
        filled = impute_plainly(raw, layout, scaler.typical_EC[row].tolist())
        for before, after, at in zip(raw, filled, own, strict=True):
            scaled = [
                (value - scaler.centre_EC[row, c]) / scaler.spread_EC[row, c]
                for c, value in enumerate(after)
            ]
            if layout.input.scaler == "arcsinh":
                scaled = [math.asinh(value) for value in scaled]
            if layout.input.scaler != "none":
                scaled = np.clip(scaled, -MAX_SCALED, MAX_SCALED).tolist()
            waves = [wave for part in layout.input.calendar for wave in on_circle(at["day"], part)]
            flags = [float(before[channel] is None) for channel in scaler.gaps]
            result[shop, at["day"]] = [*scaled, *waves, *flags]
    return result


def on_circle(at: datetime, part: str) -> tuple[float, float]:
    """Return sine and cosine of one part of a time."""
    values = {
        "hour": at.hour,
        "weekday": at.isoweekday(),
        "month": at.month,
        "day_of_year": at.timetuple().tm_yday,
    }
    angle = 2 * math.pi * values[part] / PERIODS[part]
    return math.sin(angle), math.cos(angle)


def fit_first(table: pl.DataFrame, layout: Layout, share: float = 0.7) -> SeriesState:
    """Fit on the first sorted rows, at least one with a value in each channel."""
    ordered = table.sort("shop", "day")
    rows = np.arange(max(1, int(share * len(ordered))))
    return fit_windows([(ordered, rows)], layout)


@given(full_tables(), layouts)
def test_every_step_agrees_with_a_plain_implementation(table: pl.DataFrame, layout: Layout) -> None:
    state = fit_first(table, layout)

    steps = transform(table, layout, state)

    expected_steps = build_steps_plainly(table, layout, state)
    assert steps.values_NC.dtype == np.float32
    assert steps.values_NC.shape[1] == build_spec(layout, state).channels
    for row, (shop, day) in enumerate(table.select("shop", "day").iter_rows()):
        own = sorted(at for name, at in expected_steps if name == shop and at <= day)
        expected = [expected_steps[shop, at] for at in own[-layout.window.lookback :]]
        result = steps.values_NC[steps.starts_R[row] : steps.stops_R[row]]
        if len(expected) < layout.window.lookback:
            assert steps.errors_R[row] is not None
        else:
            np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@given(full_tables(), layouts, st.integers(0, 59), st.integers(1, 20))
def test_a_slice_with_its_context_gives_the_same_steps_as_the_whole_table(
    table: pl.DataFrame, layout: Layout, first: int, size: int
) -> None:
    ordered, around = table.sort("shop", "day"), compute_context(layout)
    state = fit_first(table, layout)
    first = min(first, len(table) - 1)
    stop = min(first + size, len(table))
    begin = max(0, first - around.past_steps)

    part = transform(ordered[begin : stop + around.future_steps], layout, state)

    whole = transform(ordered, layout, state)
    for row in range(first, stop):
        values = part.values_NC[part.starts_R[row - begin] : part.stops_R[row - begin]]
        expected = whole.values_NC[whole.starts_R[row] : whole.stops_R[row]]
        np.testing.assert_array_equal(values, expected)
        assert part.errors_R[row - begin] == whole.errors_R[row]


@given(full_tables(), layouts, st.integers(0, 99))
def test_the_order_of_the_rows_changes_nothing(
    table: pl.DataFrame, layout: Layout, seed: int
) -> None:
    state = fit_first(table, layout)
    order = np.random.default_rng(seed).permutation(len(table))

    steps, shuffled = (transform(rows, layout, state) for rows in (table, table[order.tolist()]))

    np.testing.assert_array_equal(shuffled.values_NC, steps.values_NC)
    np.testing.assert_array_equal(shuffled.starts_R, steps.starts_R[order])
    np.testing.assert_array_equal(shuffled.stops_R, steps.stops_R[order])
    assert shuffled.errors_R == [steps.errors_R[row] for row in order]


@given(full_tables(), layouts, st.integers(0, 400))
def test_changing_the_future_changes_only_known_future_columns_of_the_past(
    table: pl.DataFrame, layout: Layout, today: int
) -> None:
    state = fit_first(table, layout)
    later = pl.col("day") > BEGIN + timedelta(hours=today)
    changed = table.with_columns(
        pl.when(later).then(7.0).otherwise(pl.col("sales")).alias("sales"),
        pl.when(later).then(pl.col("day").dt.offset_by("1mo")).otherwise(pl.col("day")),
    )

    then, now = (transform(rows, layout, state) for rows in (table, changed))

    for row in np.flatnonzero(~table.select(later).to_series().to_numpy()):
        np.testing.assert_array_equal(
            now.values_NC[now.starts_R[row] : now.stops_R[row]],
            then.values_NC[then.starts_R[row] : then.stops_R[row]],
        )


@given(full_tables(), layouts)
def test_other_entities_never_change_the_steps_of_an_entity(
    table: pl.DataFrame, layout: Layout
) -> None:
    state = fit_first(table, layout)
    alone = table.filter(pl.col("shop") == table["shop"][0])

    steps_alone = transform(alone, layout, state)

    together = transform(table, layout, state)
    rows = np.flatnonzero((table["shop"] == table["shop"][0]).to_numpy())
    for own, row in enumerate(rows):
        np.testing.assert_array_equal(
            steps_alone.values_NC[steps_alone.starts_R[own] : steps_alone.stops_R[own]],
            together.values_NC[together.starts_R[row] : together.stops_R[row]],
        )


@given(full_tables(), layouts, st.lists(st.integers(0, 60), max_size=4))
def test_the_scale_depends_only_on_training_rows_in_any_chunks(
    table: pl.DataFrame, layout: Layout, cuts: list[int]
) -> None:
    ordered, around = table.sort("shop", "day"), compute_context(layout)
    training = np.arange(len(ordered)) < 0.7 * len(ordered)
    changed_later = ordered.with_columns(
        pl.when(pl.Series(training)).then(pl.col("sales")).otherwise(1e30).alias("sales")
    )
    edges = [0, *sorted(min(index, len(ordered)) for index in cuts), len(ordered)]
    parts = []
    for first, stop in pairwise(edges):
        begin = max(0, first - around.past_steps)
        rows = np.flatnonzero(training[first:stop]) + first - begin
        parts.append((changed_later[begin : stop + around.future_steps], rows))

    state = fit_windows(parts, layout)

    whole = fit_windows([(ordered, np.flatnonzero(training))], layout).scaler
    for name in ("centre_EC", "spread_EC", "typical_EC"):
        np.testing.assert_allclose(getattr(state.scaler, name), getattr(whole, name), rtol=1e-9)
    assert (state.scaler.entities, state.scaler.gaps) == (whole.entities, whole.gaps)


def test_an_entity_that_is_not_in_training_gets_the_global_scale() -> None:
    days = [BEGIN + timedelta(days=day) for day in range(20)]
    table = pl.DataFrame({"shop": ["a"] * 20, "day": days, "sales": np.arange(20.0)})
    layout = build_window_layout(2, scale_per="entity")
    state = fit_windows([(table, np.arange(20))], layout)

    steps = transform(table.with_columns(shop=pl.lit("new")), layout, state)

    expected = (np.arange(20.0) - 9.5) / np.arange(20.0).std()
    np.testing.assert_allclose(steps.values_NC[:, 0], expected, rtol=1e-6)


def test_values_far_from_zero_are_precise() -> None:
    sales = 1e9 + np.arange(20.0) / 1000
    table = pl.DataFrame({"shop": ["a"] * 20, "day": range(20), "sales": sales})
    layout = build_window_layout(1)

    steps = transform(table, layout, fit_windows([(table, np.arange(20))], layout))

    expected = (np.arange(20.0) - 9.5) / np.arange(20.0).std()
    np.testing.assert_allclose(steps.values_NC[:, 0], expected, atol=1e-3)


def test_the_last_value_is_imputed_only_within_the_limit() -> None:
    sales = [5.0, None, None, None, 7.0]
    table = pl.DataFrame({"shop": ["a"] * 5, "day": range(5), "sales": sales})
    layout = build_window_layout(
        1, scaler="none", impute="last", impute_limit=2, missing_indicator="never"
    )

    steps = transform(table, layout, fit_windows([(table, np.arange(5))], layout))

    assert steps.values_NC[:, 0].tolist() == [5.0, 5.0, 5.0, 6.0, 7.0]


def test_the_time_delta_is_scaled() -> None:
    gaps = np.cumsum([0, 1, 2, 4, 8, 16])
    parts = []
    for dtype in (pl.Datetime("ms"), pl.Datetime("ns"), pl.Int64, pl.Float64):
        unit = 86_400_000 if dtype == pl.Datetime("ms") else 1
        table = pl.DataFrame({"day": pl.Series(gaps * unit).cast(dtype), "sales": [0.0] * 6})
        layout = build_window_layout(1, entity=None, time_delta=True)

        steps = transform(table, layout, fit_windows([(table, np.arange(6))], layout))

        parts.append(steps.values_NC[:, 1])
        np.testing.assert_allclose(parts[0], parts[-1], rtol=1e-5)


def test_lists_are_scaled_by_entity_and_imputed_within_each_row() -> None:
    first, second = np.arange(10.0), np.arange(100.0, 110)
    table = pl.DataFrame(
        {
            "shop": ["a", "b", None],
            "a": [[None, *first], [100.0, None, *second[1:]], [None, 4.5]],
        }
    )
    layout = build_list_layout("a", scale_per="entity", impute="last", missing_indicator="never")

    state = fit([table[:1], table[1:2]], layout)
    steps = transform(table, layout, state)

    mean, std = first.mean(), first.std()
    np.testing.assert_allclose(steps.values_NC[0], 0, atol=1e-6)
    np.testing.assert_allclose(steps.values_NC[1:11, 0], (first - mean) / std, rtol=1e-6)
    filled = np.append([100.0, 100.0], second[1:])
    np.testing.assert_allclose(
        steps.values_NC[11:22, 0], (filled - second.mean()) / second.std(), rtol=1e-6
    )
    both = np.append(first, second)
    np.testing.assert_allclose(
        steps.values_NC[22:, 0], [0, (4.5 - both.mean()) / both.std()], rtol=1e-6
    )


def test_the_hour_is_that_of_the_time_zone() -> None:
    times = pl.Series([BEGIN]).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    table = pl.DataFrame({"day": times, "sales": [1.0]})

    raw = read_raw_steps(table, build_window_layout(1, entity=None, calendar=("hour",)))

    angle = 2 * math.pi * 7 / 24
    np.testing.assert_allclose(raw.calendar_KN[:, 0], [math.sin(angle), math.cos(angle)], rtol=1e-6)
