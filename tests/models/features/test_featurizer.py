"""Features: from raw rows to sequences; a bad row is an error of that row alone."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.featurizer import Featurizer, check_columns, load_featurizer, save_featurizer
from models.features.series import find_rows_ahead, index_series
from models.features.series.channels import RawSteps, read_raw_steps
from models.features.splitting.split import SplitConfig
from models.features.splitting.unseen_rows import SplitRecord
from models.features.target import check_missing_targets, check_target_type
from tests.support.model_parts import (
    build_featurizer,
    build_series_layout,
    build_series_state,
    fit_label_target,
)

CATEGORY = TargetConfig(column="label", kind="category")
NUMBER = TargetConfig(column="label", kind="number")


def layout(length: int = 3, entity: str | None = None) -> Layout:
    return build_series_layout(("a", "b"), lookback=length, time="t", entity=entity)


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return pl.DataFrame(
        {"t": range(rows), "a": draw.normal(size=rows), "b": draw.normal(size=rows)}
    )


def steps_of_row(steps: RawSteps, row: int) -> np.ndarray:
    return steps.values_CN.T[steps.starts_R[row] : steps.stops_R[row]]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 11))
def test_the_past_never_depends_on_the_future(rows: int, length: int, now: int) -> None:
    frame = table(rows)
    now = min(now, rows - 1)
    changed = frame.with_columns(a=pl.when(pl.col("t") > now).then(99.0).otherwise(pl.col("a")))

    before = read_raw_steps(frame, layout(length))
    after = read_raw_steps(changed, layout(length))

    for row in range(now + 1):
        np.testing.assert_array_equal(steps_of_row(before, row), steps_of_row(after, row))


@given(st.integers(1, 12), st.integers(1, 5), st.permutations(range(12)))
def test_a_window_is_the_last_steps_up_to_its_row_in_any_order_of_the_table(
    rows: int, length: int, order: list[int]
) -> None:
    frame = table(rows)[[index for index in order if index < rows]]

    steps = read_raw_steps(frame, layout(length))

    by_time = frame.sort("t").select("a", "b").to_numpy()
    for row, time in enumerate(frame["t"]):
        expected = by_time[max(0, time + 1 - length) : time + 1]
        if len(expected) < length:
            assert (
                steps.errors_R[row] == f"the window needs {length} steps, this row has {time + 1}"
            )
        else:
            np.testing.assert_array_equal(steps_of_row(steps, row), expected)


def test_series_of_different_entities_never_mix() -> None:
    frame = pl.concat([table(4, seed).with_columns(e=pl.lit(f"e{seed}")) for seed in (1, 2)])

    steps = read_raw_steps(frame, layout(3, "e"))

    assert [error is None for error in steps.errors_R] == [False, False, True, True] * 2
    expected = frame[4:7].select("a", "b").to_numpy()
    np.testing.assert_array_equal(steps_of_row(steps, 6), expected)


def test_two_rows_at_one_time_are_rejected_with_a_hint() -> None:
    frame = pl.DataFrame({"t": [1, 2, 2], "a": [0.0] * 3, "b": [0.0] * 3})

    with pytest.raises(UnlearnableError, match=r"two rows at t 2.*source\.entity"):
        index_series(frame, layout())


@given(st.integers(1, 20), st.integers(-4, 4))
def test_the_row_ahead_is_that_many_steps_later_in_its_own_series(rows: int, ahead: int) -> None:
    frame = table(rows).sample(fraction=1, shuffle=True, seed=rows)

    result = find_rows_ahead(index_series(frame, layout()), ahead)

    times = frame["t"].to_list()
    for row, time in enumerate(times):
        expected = times.index(time + ahead) if time + ahead in times else -1
        assert result[row] == expected


def test_lists_of_unequal_lengths_are_an_error_of_their_own_row() -> None:
    frame = pl.DataFrame({"a": [[1.0, 2.0], [1.0], None, []], "b": [[3.0, None], [1.0, 2.0]] * 2})

    steps = read_raw_steps(frame, build_series_layout(("a", "b")))

    assert steps.errors_R == [
        None,
        "the channels differ in length: [1, 2]",
        "column 'a' is empty",
        "column 'a' is empty",
    ]
    np.testing.assert_array_equal(steps_of_row(steps, 0), [[1, 3], [2, np.nan]])


@pytest.mark.parametrize("targets", [["b", "a", "c"], [3, -1, 7], [True, False, True]])
def test_classes_survive_encoding_and_decoding(targets) -> None:
    column = pl.Series("label", targets)

    target = fit_label_target(targets, "category")

    assert target.decode(target.encode(column)).to_list() == targets
    assert target.encode(pl.Series("label", [None], dtype=column.dtype)).tolist() != [0.0]


def test_a_class_that_is_not_in_training_has_a_code_of_its_own() -> None:
    target = fit_label_target(["a", "b"], "category")

    assert target.encode(pl.Series(["b", "zebra"])).tolist() == [1.0, -1.0]


def test_numbers_survive_scaling_and_rescaling() -> None:
    column = pl.Series("label", [1.0, 2.0, 6.0])

    target = fit_label_target(column.to_list(), "number")

    np.testing.assert_allclose(target.decode(target.encode(column)).to_numpy(), column, rtol=1e-6)


@pytest.mark.parametrize(
    ("targets", "config", "message"),
    [
        (["a", "a"], CATEGORY, "one class only"),
        ([2.0, 2.0], NUMBER, "is 2.0 in every training row"),
    ],
)
def test_a_constant_target_is_rejected(targets, config, message: str) -> None:
    with pytest.raises(UnlearnableError, match=message):
        fit_label_target(targets, config.kind)


@pytest.mark.parametrize(
    ("targets", "config", "message"),
    [
        ([1.0, float("nan")], NUMBER, r"1 of 2 rows \(first: row 1\)"),
        (["a", None], CATEGORY, r"1 of 2 rows \(first: row 1\)"),
        (["a", "b"], NUMBER, "set target.kind: category"),
        ([0.5, 1.5], CATEGORY, "set target.kind: number"),
    ],
)
def test_the_error_for_an_unusable_target_names_the_row_and_the_reason(
    targets, config, message: str
) -> None:
    def check() -> None:
        check_target_type(pl.Series(targets).dtype, config, column="label")
        check_missing_targets(pl.Series(targets), np.arange(2), name="label")

    with pytest.raises(UnlearnableError, match=message):
        check()


def test_the_fitted_state_survives_saving_and_loading(tmp_path: Path) -> None:
    split = SplitRecord(
        config=SplitConfig(test=0.3),
        by="column",
        columns=("t",),
        types=("Int64",),
        learned=np.array([1, 255, 0], np.uint8),
    )
    featurizer = build_featurizer(
        layout(7, "e"),
        build_series_state([0.1, 2e9], [1.0, 1 / 3], (1,)),
        fit_label_target(["x", "\u00fc"], "category"),
        split,
    )

    save_featurizer(featurizer, tmp_path)
    result = load_featurizer(tmp_path)

    assert (result.layout, result.target, result.split) == (
        featurizer.layout,
        featurizer.target,
        featurizer.split,
    )
    assert result.split.learned.tolist() == [1, 255, 0]
    assert result.state.scaler.gaps == (1,)
    np.testing.assert_array_equal(result.state.scaler.spread_EC, [[1.0, 1 / 3]])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"t": [1], "a": [1.0]}), "column 'b' is missing; the table has: t, a"),
        (pl.DataFrame({"t": [1], "a": [1.0], "b": ["x"]}), "'b' holds String, expected numbers"),
        (pl.DataFrame({"t": ["x"], "a": [1.0], "b": [1.0]}), "source.time: column 't' holds"),
        (pl.DataFrame({"t": [1], "a": [[1.0]], "b": [1.0]}), "remove `window` from the job"),
    ],
)
def test_the_error_for_an_unreadable_table_names_the_column(
    frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(UnlearnableError, match=message):
        check_columns(frame.schema, layout())


def featurizer_with(split: SplitRecord) -> Featurizer:
    return build_featurizer(
        layout(),
        build_series_state([0.0, 0.0], [1.0, 1.0]),
        fit_label_target(["x", "y"], "category"),
        split,
    )


def test_a_model_split_by_time_has_no_training_rows_in_its_test_period() -> None:
    times = pl.Series([date(2024, 1, 1) + timedelta(days=index) for index in range(100)])
    first = (date(2024, 2, 1) - date(1970, 1, 1)).days
    split = SplitRecord(config=SplitConfig(), by="time", test_from=first, time_type="Date")

    never = featurizer_with(split).mark_unseen_rows(table(100), times)

    assert never.tolist() == [False] * 31 + [True] * 69


def test_a_model_split_by_hash_recognizes_its_test_rows_among_new_ones() -> None:
    old, new = table(100), pl.concat([table(50, 1), table(100)])
    split = SplitRecord(config=SplitConfig(), by="hash", columns=("a",))

    then = featurizer_with(split).mark_unseen_rows(old, None)
    now = featurizer_with(split).mark_unseen_rows(new, None)

    assert 0 < then.sum() < 100
    assert now[50:].tolist() == then.tolist()


@pytest.mark.parametrize("value", [0.1, 1e9 + 0.3])
def test_a_constant_number_is_rejected_despite_rounding(value: float) -> None:
    with pytest.raises(UnlearnableError, match="in every training row"):
        fit_label_target([value] * 7, "number")
