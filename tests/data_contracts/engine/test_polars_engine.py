"""The Polars engine on tables and whole suites: it returns what GX's pandas engine returns."""

from contextlib import suppress
from datetime import date, datetime

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from data_contracts.contract import ContractFileError
from data_contracts.engine.gx import (
    find_exception_message,
)
from tests.support.gx_cases import (
    AGGREGATES,
    MULTICOLUMN,
    NAMES,
    ORDINARY_FRAME,
    PAIRS,
    ROWS,
    Case,
    are_equal,
    draw_count_bounds,
    extract_outcome,
    find_difference,
    frames,
    is_unsupported,
    normalize,
    one_pool,
    run_polars,
)

TABLES = (
    *("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal"),
    *("expect_table_column_count_to_be_between", "expect_table_column_count_to_equal"),
    *("expect_table_columns_to_match_set", "expect_table_columns_to_match_ordered_list"),
    "expect_column_to_exist",
)


@st.composite
def table_cases(draw: st.DrawFn, kind: str) -> Case:
    frame = draw(frames(draw(st.lists(one_pool, min_size=1, max_size=3))))
    if kind.endswith("count_to_be_between"):
        kwargs = draw_count_bounds(draw, "")
    elif kind.endswith("to_equal"):
        kwargs = {"value": draw(st.integers(0, 5))}
    elif kind == "expect_column_to_exist":
        kwargs = {"column": draw(st.sampled_from(NAMES))}
        if draw(st.booleans()):
            kwargs["column_index"] = draw(st.integers(0, 2))
    else:
        wide = st.lists(st.sampled_from(NAMES), unique=True, max_size=3)
        names = draw(st.one_of(st.permutations(frame.columns), st.just(frame.columns), wide))
        kwargs = {"column_list" if "ordered" in kind else "column_set": names}
        if "set" in kind and draw(st.booleans()):
            kwargs["exact_match"] = draw(st.booleans())
    return Case(frame, kind, kwargs)


@pytest.mark.parametrize("kind", TABLES)
@given(data=st.data())
@settings(max_examples=15)
def test_a_table_has_the_same_result_as_in_pandas(kind, data) -> None:
    case = data.draw(table_cases(kind))

    assert find_difference(case) is None


RANGE = {
    "i": {"min_value": 2, "max_value": 4},
    "f": {"min_value": 1, "strict_min": True},
    "d": {"min_value": "2020-01-02"},
    "t": {"max_value": "2020-01-02T12:00:00"},
}

VALUE_SETS = {"i": [1, 4], "f": [2.5, 1], "s": ["a", "b", 3], "d": [date(2020, 1, 4)], "b": [True]}

DISTINCT_SETS = {"i": [1, 4], "f": [2.5, 1], "s": ["a", "b"]}

PARTITION = {"bins": [0, 2, 4], "weights": [0.5, 0.4], "tail_weights": [0.05, 0.05]}


def list_cases(kind: str, kwargs: dict[str, dict]) -> list[tuple[str, dict]]:
    return [(kind, {"column": column} | each) for column, each in kwargs.items()]


def list_equal_cases(kind: str, columns: str, **kwargs: object) -> list[tuple[str, dict]]:
    return list_cases(kind, dict.fromkeys(columns, kwargs))


def list_set_cases(kind: str, sets: dict[str, list]) -> list[tuple[str, dict]]:
    return list_cases(kind, {column: {"value_set": values} for column, values in sets.items()})


HALF = {"quantiles": [0.25, 0.5], "value_ranges": [[0, 5], [None, 3]]}

CASES: list[tuple[str, dict]] = [
    *list_equal_cases("expect_column_values_to_not_be_null", "ifsdtb"),
    *list_equal_cases("expect_column_values_to_be_null", "ifsdtb", mostly=0.1),
    *list_equal_cases("expect_column_values_to_be_unique", "ifsdtb"),
    *list_set_cases("expect_column_values_to_be_in_set", VALUE_SETS),
    *list_set_cases("expect_column_values_to_not_be_in_set", VALUE_SETS),
    *list_cases("expect_column_values_to_be_between", RANGE),
    *list_equal_cases("expect_column_value_lengths_to_be_between", "s", min_value=1),
    *list_equal_cases("expect_column_value_lengths_to_equal", "s", value=1),
    *list_equal_cases("expect_column_values_to_match_regex", "s", regex=r"^\d{4}-\d\d"),
    *list_equal_cases("expect_column_values_to_not_match_regex", "s", regex="[ab]$"),
    *list_equal_cases("expect_column_values_to_be_dateutil_parseable", "s"),
    *list_equal_cases(
        "expect_column_values_to_match_strftime_format", "s", strftime_format="%Y-%m-%d"
    ),
    *list_equal_cases("expect_column_values_to_be_increasing", "ifdt"),
    *list_equal_cases("expect_column_values_to_be_decreasing", "ifdt", strictly=True),
    *list_equal_cases("expect_column_values_to_be_of_type", "ifsdtb", type_="float64"),
    *list_equal_cases(
        "expect_column_values_to_be_in_type_list", "ifsdtb", type_list=["int64", "str"]
    ),
    *list_equal_cases("expect_column_mean_to_be_between", "if", min_value=0),
    *list_equal_cases("expect_column_median_to_be_between", "if", min_value=0),
    *list_equal_cases("expect_column_stdev_to_be_between", "if", max_value=1),
    *list_equal_cases("expect_column_sum_to_be_between", "if", max_value=10),
    *list_cases("expect_column_min_to_be_between", RANGE),
    *list_cases("expect_column_max_to_be_between", RANGE),
    *list_equal_cases("expect_column_quantile_values_to_be_between", "if", quantile_ranges=HALF),
    *list_equal_cases("expect_column_unique_value_count_to_be_between", "ifsdtb", max_value=3),
    *list_equal_cases(
        "expect_column_proportion_of_unique_values_to_be_between", "ifsdtb", min_value=0.9
    ),
    *list_equal_cases(
        "expect_column_proportion_of_non_null_values_to_be_between", "ifsdtb", min_value=0.9
    ),
    *list_set_cases("expect_column_distinct_values_to_be_in_set", DISTINCT_SETS),
    *list_set_cases("expect_column_distinct_values_to_equal_set", DISTINCT_SETS),
    *list_set_cases("expect_column_distinct_values_to_contain_set", DISTINCT_SETS),
    *list_set_cases("expect_column_most_common_value_to_be_in_set", VALUE_SETS),
    *list_equal_cases(
        "expect_column_kl_divergence_to_be_less_than", "if", partition_object=PARTITION
    ),
    (PAIRS[0], {"column_A": "i", "column_B": "j"}),
    (PAIRS[1], {"column_A": "j", "column_B": "i", "or_equal": True}),
    (PAIRS[1], {"column_A": "t", "column_B": "t", "ignore_row_if": "either_value_is_missing"}),
    (MULTICOLUMN[0], {"column_list": ["i", "s"]}),
    (MULTICOLUMN[0], {"column_list": ["d", "t", "b"], "ignore_row_if": "any_value_is_missing"}),
    (MULTICOLUMN[1], {"column_list": ["i", "j"], "sum_total": 2}),
    ("expect_table_row_count_to_equal", {"value": 6}),
    ("expect_table_columns_to_match_ordered_list", {"column_list": list("ijfsdtb")}),
    ("expect_column_to_exist", {"column": "i", "column_index": 0}),
]


@pytest.mark.parametrize(("kind", "kwargs"), CASES)
def test_ordinary_columns_never_need_pandas(kind, kwargs) -> None:
    [ours] = run_polars(ORDINARY_FRAME.lazy(), [(kind, kwargs)])

    assert find_exception_message(ours) is None
    assert find_difference(Case(ORDINARY_FRAME, kind, kwargs)) is None


def summarize_result(result: object) -> object:
    return (find_exception_message(result) or "").splitlines()[:1] or extract_outcome(result)


def test_a_suite_has_the_same_results_as_its_expectations_alone() -> None:
    together = run_polars(ORDINARY_FRAME.lazy(), CASES)

    alone = [run_polars(ORDINARY_FRAME.lazy(), [case])[0] for case in CASES]

    for case, one, other in zip(CASES, together, alone, strict=True):
        assert are_equal(summarize_result(one), summarize_result(other)), case


@st.composite
def suites(draw: st.DrawFn) -> tuple[pl.DataFrame, list[tuple[str, dict]]]:
    """A frame of a few columns, and expectations of every kind about any of them."""
    pools = draw(st.lists(one_pool, min_size=3, max_size=3))
    frame = draw(frames(pools))
    expectations = []
    for kind in draw(st.permutations([*ROWS, *AGGREGATES]))[:12]:
        index = draw(st.integers(0, 2))
        kwargs = (ROWS | AGGREGATES)[kind](draw, pools[index])
        expectations.append((kind, kwargs | {"column": frame.columns[index]}))
    pair = {"column_A": frame.columns[0], "column_B": frame.columns[1]}
    expectations += [(kind, pair) for kind in PAIRS]
    return frame, expectations


@given(drawn=suites())
@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_an_expectation_never_changes_the_result_of_another(drawn) -> None:
    frame, expectations = drawn
    alone = {}
    for index, case in enumerate(expectations):
        with suppress(ContractFileError):
            alone[index] = run_polars(frame.lazy(), [case])[0]

    together = run_polars(frame.lazy(), [expectations[index] for index in alone])

    for index, result in zip(alone, together, strict=True):
        assert are_equal(summarize_result(result), summarize_result(alone[index])), expectations[
            index
        ]


def build_long_frame() -> pl.DataFrame:
    return pl.concat([ORDINARY_FRAME] * 300)


def split_into_chunks(frame: pl.DataFrame) -> pl.LazyFrame:
    return pl.concat([frame[at : at + 7] for at in range(0, len(frame), 7)], rechunk=False).lazy()


def test_chunks_and_files_have_the_same_results_as_the_frame(tmp_path) -> None:
    frame = build_long_frame()
    frame.write_parquet(tmp_path / "one.parquet", row_group_size=50)
    for at in range(3):
        frame[at * 600 : (at + 1) * 600].write_parquet(tmp_path / f"part-{at}.parquet")

    whole = run_polars(frame.lazy(), CASES)

    scans = [split_into_chunks(frame), pl.scan_parquet(tmp_path / "one.parquet")]
    for scan in [*scans, pl.scan_parquet(tmp_path / "part-*.parquet")]:
        for case, one, other in zip(CASES, run_polars(scan, CASES), whole, strict=True):
            assert are_equal(summarize_result(one), summarize_result(other)), case


def test_the_order_of_rows_matters_only_to_expectations_about_order() -> None:
    cases = [case for case in CASES if "creasing" not in case[0]]
    ours = run_polars(build_long_frame().lazy(), cases)

    shuffled = run_polars(build_long_frame().sample(fraction=1, shuffle=True, seed=3).lazy(), cases)

    for case, one, other in zip(cases, ours, shuffled, strict=True):
        listed = ("partial_unexpected_list", "partial_unexpected_index_list")
        counts = [dict(r.result) for r in (one, other)]
        for count in counts:
            for key in (*listed, "partial_unexpected_counts"):
                count.pop(key, None)
        assert one.success == other.success, case
        assert are_equal(*map(normalize, counts)), case


def test_examples_are_the_first_broken_rows() -> None:
    frame = build_long_frame()
    cases = [case for case in CASES if case[0] in {*ROWS, *PAIRS, *MULTICOLUMN}]

    for kind, kwargs in cases:
        assert find_difference(Case(frame, kind, kwargs)) is None


def test_invalid_arguments_affect_no_other_expectation() -> None:
    between, mixed = "expect_column_values_to_be_between", {"column": "t"}
    mixed |= {"min_value": date(2020, 1, 1), "max_value": datetime(2020, 1, 3)}  # noqa: DTZ001
    frame = ORDINARY_FRAME.with_columns(pl.col("t").alias("d2").cast(pl.Date))

    results = run_polars(
        frame.lazy(),
        [
            (between, mixed),
            (between, mixed | {"column": "d2"}),
            ("expect_column_values_to_be_in_set", {"column": "f", "value_set": [10**400, 0.5]}),
            ("expect_column_values_to_not_be_null", {"column": "i"}),
        ],
    )

    assert [is_unsupported(result) for result in results] == [False, True, True, False]
    assert results[0].result["unexpected_count"] == 3
    assert results[3].result["unexpected_count"] == 1
