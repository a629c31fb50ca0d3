"""Profiles: every row is counted once, in batches of any size, and is read back from a file."""

import bisect
import json
import math
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.drift import profile as profile_module
from data_contracts.drift import sketches
from data_contracts.drift.counters import (
    MAX_VALUE_LENGTH,
    RunningStatistics,
    ValueCounter,
    count_words,
)
from data_contracts.drift.distribution import (
    ColumnProfile,
    NumberDistribution,
    ProfileError,
    ValueDistribution,
)
from data_contracts.drift.profile import Profile, measure_rows, profile_rows
from data_contracts.drift.sketches import FrequentValues, UniformSample

FLOATS = st.lists(st.none() | st.floats() | st.integers(-3, 3).map(float), max_size=120)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.lists(st.none() | st.text(max_size=6) | st.sampled_from(["a", "b c", "\u00c4"]))
STEPS = st.lists(st.none() | st.lists(st.none() | st.floats(), max_size=4), max_size=30)


def make_frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame(columns)


def make_floats(values: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})


def profile_column(frame: pl.DataFrame, against: pl.DataFrame | None = None) -> ColumnProfile:
    """Profile a frame's one column, or count it into another's."""
    columns = frame.columns if against is None else against.columns
    profile = profile_rows((frame if against is None else against).lazy(), columns)
    if against is not None:
        profile = measure_rows(frame.lazy(), profile)
    (column,) = profile.columns
    return column


def drop_inexact(column: ColumnProfile) -> ColumnProfile:
    """Leave out the digits that depend on the order of addition."""
    if column.numbers is None or column.numbers.mean is None:
        return column
    numbers = replace(column.numbers, mean=0.0, std=0.0)
    return replace(column, numbers=numbers)


def make_texts(distinct: int, rows: int) -> pl.DataFrame:
    return pl.DataFrame({"x": [f"text {row % distinct}" for row in range(rows)]})


def make_mixed_table(rows: int, seed: int = 0) -> pl.DataFrame:
    """A column of every kind."""
    draw = np.random.default_rng(seed)
    first = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "float": draw.normal(size=rows),
            "flag": draw.random(rows) < 0.3,
            "at": [first + timedelta(minutes=int(step)) for step in draw.integers(0, 9999, rows)],
            "day": [date(2024, 1, 1) + timedelta(days=row % 300) for row in range(rows)],
            "lasted": [timedelta(seconds=int(step)) for step in draw.integers(0, 999, rows)],
            "class": draw.choice(["a", "b", "\u00e4"], rows),
            "note": [f"note {row} of {row % 7}" for row in range(rows)],
            "wave": [draw.normal(size=row % 5).tolist() for row in range(rows)],
            "image": [bytes(row % 9) for row in range(rows)],
            "point": [{"x": row} for row in range(rows)],
        }
    )


@given(values=FLOATS, today=FLOATS)
def test_every_number_is_in_the_bin_where_it_belongs(values, today) -> None:
    result = profile_column(make_floats(today), against=make_floats(values)).numbers

    finite = [value for value in today if value is not None and math.isfinite(value)]
    bins = Counter(bisect.bisect_right(result.edges, value) for value in finite)
    assert result.counts == tuple(bins[index] for index in range(len(result.edges) + 1))
    assert result.positive_infinities == today.count(math.inf)
    assert result.negative_infinities == today.count(-math.inf)
    assert result.total + result.missing == len(today)


@given(values=st.lists(st.none() | FINITE, min_size=1, max_size=60), cut=st.integers(1, 9))
def test_neither_the_order_nor_the_chunks_of_the_rows_matter(values, cut) -> None:
    frame = make_floats(values)
    pieces = pl.concat([frame[start : start + cut] for start in range(0, len(values), cut)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile_module, "READ_ROWS", cut)
        patch.setattr(profile_module, "BATCH_ROWS", 2 * cut)
        other = profile_column(pieces.reverse())

    assert drop_inexact(other) == drop_inexact(profile_column(frame))


@given(values=st.lists(FINITE, min_size=1, max_size=60), cut=st.integers(1, 60))
def test_the_statistics_are_those_of_all_numbers(values, cut) -> None:
    statistics = RunningStatistics()
    for part in (values[:cut], values[cut:]):
        statistics.add(np.array(part, dtype=np.float64))

    scale = max(map(abs, values)) or 1.0
    mean = math.fsum(value / scale / len(values) for value in values)
    variance = math.fsum((value / scale - mean) ** 2 for value in values) / len(values)
    assert (statistics.low, statistics.high) == (min(values), max(values))
    assert statistics.mean / scale == pytest.approx(mean, rel=1e-9, abs=1e-12)
    assert statistics.std / scale == pytest.approx(math.sqrt(variance), rel=1e-6, abs=1e-7)


@given(values=TEXTS, today=TEXTS)
def test_every_text_is_counted_by_its_value(values, today) -> None:
    before, after = (
        pl.DataFrame({"x": pl.Series(rows, dtype=pl.String)}) for rows in (values, today)
    )
    result = profile_column(after, against=before)

    counts = Counter(value for value in today if value is not None)
    listed = result.values.values
    assert dict(zip(listed, result.values.counts, strict=True)) == {v: counts[v] for v in listed}
    assert set(listed) == set(values) - {None}
    assert result.values.distinct == len(counts)
    assert set(result.values.examples) <= set(counts) - set(listed)
    assert result.missing == today.count(None)


@given(rows=STEPS)
def test_lists_are_counted_by_length_and_by_their_steps(rows) -> None:
    result = profile_column(pl.DataFrame({"x": pl.Series(rows, dtype=pl.List(pl.Float64))}))

    lists = [row for row in rows if row is not None]
    steps = [step for row in lists for step in row]
    gaps = sum(step is None or math.isnan(step) for step in steps)
    assert (result.kind, result.rows, result.missing) == ("series", len(rows), rows.count(None))
    assert result.numbers.total == len(lists)
    assert (result.steps.total, result.steps.missing) == (len(steps) - gaps, gaps)


@given(values=FLOATS)
def test_a_reference_counts_its_own_rows_exactly(values) -> None:
    frame = make_floats(values)
    reference = profile_rows(frame.lazy(), ["x"])

    assert measure_rows(frame.lazy(), reference) == reference
    assert Profile.from_json(reference.to_json()) == reference


def test_a_column_of_every_kind_survives_its_file() -> None:
    frame = make_mixed_table(300)
    reference = profile_rows(frame.lazy(), frame.columns)
    today = measure_rows(make_mixed_table(200, seed=1).lazy(), reference)

    kinds = {column.name: column.kind for column in reference.columns}
    assert kinds == {
        "float": "number",
        "flag": "category",
        "at": "moment",
        "day": "moment",
        "lasted": "duration",
        "class": "category",
        "note": "text",
        "wave": "series",
        "image": "bytes",
        "point": "other",
    }
    assert {column.rows for column in today.columns} == {200}
    for profile in (reference, today):
        assert Profile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "mean"),
    [
        ([True, False, None], pl.Boolean, "category", None),
        (["a", "b"], pl.Enum(["a", "b"]), "category", None),
        (["a", "b"], pl.Categorical, "category", None),
        ([1, 2, None], pl.UInt8, "number", 1.5),
        ([1, 2], pl.Decimal(10, 2), "number", 1.5),
        ([date(1970, 1, 2), None], pl.Date, "moment", 86_400.0),
        ([datetime(1970, 1, 1, 0, 0, 1)], pl.Datetime("ns"), "moment", 1.0),  # noqa: DTZ001 - naive
        ([timedelta(seconds=3)], pl.Duration("ms"), "duration", 3.0),
        ([time(0, 1)], pl.Time, "duration", 60.0),
        ([b"abc", b"", None], pl.Binary, "bytes", 1.5),
        ([[1, 2], [3, 4]], pl.Array(pl.Int16, 2), "series", 2.0),
        ([[["a"]]], pl.List(pl.List(pl.String)), "other", None),
        ([None, None], pl.Null, "other", None),
    ],
)
def test_each_type_is_read_as_its_kind(values, dtype, kind, mean) -> None:
    result = profile_column(pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=False)}))

    assert (result.kind, result.rows, result.missing) == (kind, len(values), values.count(None))
    assert (result.numbers and result.numbers.mean) == mean


def test_a_few_distinct_numbers_get_a_bin_each() -> None:
    before = make_floats([0.0, -0.0, 1.0, 1.0, 5.0] * 3)
    result = profile_column(before).numbers
    today = profile_column(make_floats([0.5, 1.0, 7.0, -1.0]), against=before).numbers

    assert result.counts == (0, 6, 0, 6, 0, 3, 0)
    assert today.counts == (1, 0, 1, 1, 0, 0, 1)


def test_bins_of_a_few_distinct_values_leave_room_between_them() -> None:
    result = profile_column(
        make_floats([0.5, 1.0, 7.0, -1.0]), against=make_floats([0.0, 1.0, 5.0])
    ).numbers

    assert result.counts == (1, 1, 1, 0, 1)


def test_many_numbers_fill_their_bins_about_equally() -> None:
    draw = np.random.default_rng(0)
    result = profile_column(make_floats(draw.lognormal(size=20_000).tolist())).numbers

    inner = result.counts[1:-1]
    assert len(inner) == 100
    assert result.counts[0] == result.counts[-1] == 0
    assert max(inner) <= 201
    assert min(inner) >= 199


def test_a_number_that_is_very_frequent_gets_a_bin_of_its_own() -> None:
    draw = np.random.default_rng(0)
    values = np.where(draw.random(5000) < 0.6, 0.0, draw.normal(size=5000))
    result = profile_column(make_floats(values.tolist())).numbers

    index = bisect.bisect_right(result.edges, 0.0)
    assert result.counts[index] == (values == 0).sum()
    assert result.edges[index] == math.nextafter(0.0, 1.0)


def test_the_largest_floats_do_not_overflow() -> None:
    largest = sys.float_info.max
    result = profile_column(make_floats([-largest, largest, largest])).numbers

    assert (result.min, result.max) == (-largest, largest)
    assert result.mean == pytest.approx(largest / 3)
    assert result.std == pytest.approx(largest * (math.sqrt(8) / 3))


@pytest.mark.parametrize(
    ("distinct", "rows", "kind"),
    [(50, 50, "category"), (51, 51, "text"), (60, 200, "category"), (1001, 9000, "text")],
)
def test_texts_that_repeat_are_categories(distinct, rows, kind) -> None:
    assert profile_column(make_texts(distinct, rows)).kind == kind


def test_only_the_most_frequent_categories_are_listed() -> None:
    rows = [f"{value:03}" for value in range(300) for _ in range(2 + (value >= 290))]
    result = profile_column(make_frame(x=rows)).values

    assert len(result.values) == 200
    assert result.values[:2] == ("290", "291")
    assert (result.others, result.distinct) == (200, 300)


def test_words_are_lower_case_letters_of_any_alphabet() -> None:
    rows = [f"Gr\u00fc\u00dfe, {row}! \u4e16\u754c x_1" for row in range(60)]
    result = profile_column(make_frame(x=[*rows, None, ""]))

    counts = dict(zip(result.values.values, result.values.counts, strict=True))
    assert counts["gr\u00fc\u00dfe"] == counts["\u4e16\u754c"] == counts["x_1"] == 60
    assert result.values.total == 4 * 60
    assert (result.numbers.total, result.missing) == (61, 1)


def test_long_values_are_truncated() -> None:
    result = profile_column(make_frame(x=["y" * 1000 + "1", "y" * 1000 + "2"]))

    assert result.values.values == ("y" * MAX_VALUE_LENGTH,)
    assert result.values.counts == (2,)


def test_the_same_words_are_counted_slice_by_slice(monkeypatch) -> None:
    rows = pl.Series([f"a b{row} c" for row in range(50)])
    expected = count_words(rows).sort("value")
    monkeypatch.setattr("data_contracts.drift.counters.SLICE_BYTES", 64)

    assert count_words(rows).sort("value").equals(expected)
    assert expected["count"].sum() == 150


@given(stream=st.lists(st.integers(0, 30).map(str), max_size=300), capacity=st.integers(2, 12))
def test_a_frequent_value_is_never_lost(stream, capacity) -> None:
    frequent = FrequentValues(capacity=capacity)
    for value in stream:
        frequent.add(pl.DataFrame({"value": [value], "count": [1]}))
    listed = frequent.list_top(capacity)

    assert len(listed) <= capacity
    for value, count in Counter(stream).items():
        assert value in listed or count <= len(stream) / capacity


@given(cuts=st.lists(st.integers(1, 400), max_size=6))
def test_a_sample_does_not_depend_on_the_chunks(cuts) -> None:
    numbers = np.random.default_rng(0).normal(size=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketches, "MAX_SAMPLE", 150)
        whole, parts = UniformSample(), UniformSample()
        whole.add(numbers)
        for part in np.split(numbers, np.minimum(np.cumsum(cuts, dtype=int), 1000)):
            parts.add(part)

        assert parts.compute_edges() == whole.compute_edges()
        assert len(whole.numbers) == 150


def test_a_sample_represents_the_whole_stream() -> None:
    numbers = np.arange(400_000, dtype=np.float64)
    sample = UniformSample()
    for part in np.split(numbers, 20):
        sample.add(part)
    filled = np.diff(np.searchsorted(numbers, sample.compute_edges()))

    assert len(filled) == 100
    assert abs(filled / 400_000 - 0.01).max() < 0.002


def test_columns_that_cannot_be_compared_are_reported() -> None:
    reference = profile_rows(make_mixed_table(60).lazy(), make_mixed_table(60).columns)
    today = make_mixed_table(9).select(
        pl.col("float").cast(pl.String), pl.lit(1).alias("flag"), "class"
    )
    result = {column.name: column for column in measure_rows(today.lazy(), reference).columns}

    assert (result["float"].kind, result["float"].dtype) == ("absent", "String")
    assert (result["flag"].kind, result["flag"].dtype) == ("absent", "Int32")
    assert (result["at"].kind, result["at"].dtype) == ("absent", "")
    assert (result["class"].kind, result["class"].rows) == ("category", 9)


def test_rows_are_counted_where_no_column_is_comparable() -> None:
    reference = profile_rows(make_frame(x=[1.0]).lazy(), ["x"])
    (result,) = measure_rows(make_frame(y=[1, 2, 3]).lazy(), reference).columns

    assert (result.kind, result.rows) == ("absent", 3)


@pytest.mark.parametrize(
    ("before", "today"),
    [
        (pl.Series([1, 2]), pl.Series([1.0, 2.0])),
        (pl.Series([date(2024, 1, 1)]), pl.Series([datetime(2024, 1, 1)])),  # noqa: DTZ001 - naive
        (pl.Series(["a"]), pl.Series(["a"], dtype=pl.Categorical)),
        (pl.Series([[1.0, 2.0]]), pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2))),
    ],
)
def test_related_types_are_compared(before, today) -> None:
    result = profile_column(today.alias("x").to_frame(), against=before.alias("x").to_frame())
    part = result.numbers or result.values

    assert part.total == len(today)
    assert (
        part.counts
        == profile_column(before.alias("x").to_frame())
        .__getattribute__("numbers" if result.numbers else "values")
        .counts
    )


@pytest.mark.parametrize("rows", [0, 1])
def test_very_few_rows_are_profiled(rows, tmp_path: Path) -> None:
    make_mixed_table(2).head(rows).write_parquet(tmp_path / "rows.parquet")
    scan = pl.scan_parquet(tmp_path / "rows.parquet")
    reference = profile_rows(scan, make_mixed_table(2).columns)

    assert {column.rows for column in reference.columns} == {rows}
    assert measure_rows(scan, reference) == reference
    assert {
        column.rows for column in measure_rows(make_mixed_table(40).lazy(), reference).columns
    } == {40}


def test_a_missing_column_cannot_be_profiled() -> None:
    with pytest.raises(ProfileError, match=r"no column 'y' to profile; there are \['x'\]"):
        profile_rows(make_frame(x=[1]).lazy(), ["y"])


def test_a_column_is_profiled_once() -> None:
    with pytest.raises(ProfileError, match="a name is there twice"):
        profile_rows(make_frame(x=[1]).lazy(), ["x", "x"])


def damaged(path: list[str | int], value: object) -> str:
    """A profile of numbers and classes with one value of its JSON replaced."""
    raw = json.loads(
        profile_rows(make_frame(x=[1.0, 2.5], c=["a", "b"]).lazy(), ["x", "c"]).to_json()
    )
    node = raw
    for step in path[:-1]:
        node = node[step]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return json.dumps(raw)


X = ["columns", 0]
NUMBERS = [*X, "numbers"]
CLASSES = ["columns", 1, "values"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a profile of format 1"),
        (damaged(["format"], 2), "not a profile of format 1"),
        (damaged(["columns"], 3), r"profile\.columns: expected .*, found 3"),
        (damaged(["columns", 1], 3), r"profile\.columns\[1\]: expected an object, found 3"),
        (damaged([*X, "rows"], None), r"profile\.columns\[0\]: missing key 'rows'"),
        (damaged([*X, "size"], 1), r"profile\.columns\[0\]: unknown key 'size'"),
        (damaged([*X, "rows"], 2.0), r"\.rows: expected a whole number, found 2\.0"),
        (damaged([*X, "rows"], True), r"\.rows: expected a whole number, found True"),
        (damaged([*X, "rows"], 3), "rows: 3 filled, 2 counted"),
        (damaged([*X, "missing"], 9), "missing: 9 of 2 rows"),
        (damaged([*X, "kind"], "color"), r"\.kind: expected .*found 'color'"),
        (damaged([*X, "kind"], ["number"]), r"\.kind: expected .*found \['number'\]"),
        (damaged([*X, "kind"], "text"), "text comes with other distributions"),
        (damaged([*NUMBERS, "mean"], "1"), r"numbers\.mean: expected a number, found '1'"),
        (damaged([*NUMBERS, "mean"], math.inf), "found inf"),
        (damaged([*NUMBERS, "edges", 0], 9), r"numbers\.edges: expected an ascending list"),
        (damaged([*NUMBERS, "edges"], [1.0]), r"numbers\.counts: 4 bins for 1 edges"),
        (damaged([*NUMBERS, "counts", 1], -1), "a count below zero"),
        (damaged([*NUMBERS, "counts"], [0] * 4), "exactly when there are numbers"),
        (damaged([*CLASSES, "values"], ["a"]), r"values\.counts: 2 counts, 1 values"),
        (damaged([*CLASSES, "values"], ["a", "a"]), "a value is listed twice"),
        (damaged([*CLASSES, "others"], -1), "a count below zero"),
        (damaged([*CLASSES, "others"], 7), "rows: 2 filled, 9 counted"),
    ],
)
def test_the_error_for_a_damaged_profile_names_the_fault(text, message) -> None:
    with pytest.raises(ProfileError, match=message):
        Profile.from_json(text)


@given(text=st.text())
def test_any_text_is_a_profile_or_rejected(text) -> None:
    with pytest.raises(ProfileError):
        Profile.from_json(text)


@given(cut=st.integers(0, 900))
def test_an_incomplete_profile_is_rejected(cut) -> None:
    text = profile_rows(make_frame(x=[1.0], c=["a"]).lazy(), ["x", "c"]).to_json()

    with pytest.raises(ProfileError):
        Profile.from_json(text[: min(cut, len(text) - 1)])


def test_values_are_counted_in_batches_as_in_one() -> None:
    counter = ValueCounter(["a", "b"])
    for value, times in [("b", 2), ("z", 1), ("b", 3), ("y", 4)]:
        counter.add(pl.DataFrame({"value": [value], "count": [times]}))

    assert counter.build_distribution() == ValueDistribution(
        values=("a", "b"), counts=(0, 5), others=5, distinct=3, examples=("y", "z")
    )


def test_an_empty_distribution_has_no_statistics() -> None:
    with pytest.raises(ProfileError, match="exactly when there are numbers"):
        NumberDistribution(edges=(), counts=(0,), mean=1.0)
