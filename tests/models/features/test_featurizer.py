"""Features: from raw rows to sequences, with one bad row as one row's error."""

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
from models.features.series.channels import RawSteps, raw_steps
from models.features.splitting.split import SplitConfig
from models.features.splitting.unseen_rows import Split
from models.features.target import check_target, check_targets
from tests.support.model_parts import featurizer_of, scale, series_layout, target_of

CATEGORY = TargetConfig(column="label", kind="category")
NUMBER = TargetConfig(column="label", kind="number")


def layout(length: int = 3, entity: str | None = None) -> Layout:
    return series_layout(("a", "b"), window=length, time="t", entity=entity)


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
    moved = frame.with_columns(a=pl.when(pl.col("t") > now).then(99.0).otherwise(pl.col("a")))

    before = raw_steps(frame, layout(length))
    after = raw_steps(moved, layout(length))

    for row in range(now + 1):
        np.testing.assert_array_equal(steps_of_row(before, row), steps_of_row(after, row))


@given(st.integers(1, 12), st.integers(1, 5), st.permutations(range(12)))
def test_a_window_is_the_last_steps_up_to_its_row_in_any_order_of_the_table(
    rows: int, length: int, order: list[int]
) -> None:
    frame = table(rows)[[place for place in order if place < rows]]

    steps = raw_steps(frame, layout(length))

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

    steps = raw_steps(frame, layout(3, "e"))

    assert [error is None for error in steps.errors_R] == [False, False, True, True] * 2
    expected = frame[4:7].select("a", "b").to_numpy()
    np.testing.assert_array_equal(steps_of_row(steps, 6), expected)


def test_two_rows_at_one_time_are_refused_with_the_mend() -> None:
    frame = pl.DataFrame({"t": [1, 2, 2], "a": [0.0] * 3, "b": [0.0] * 3})

    with pytest.raises(UnlearnableError, match=r"two rows at t 2.*source\.entity"):
        index_series(frame, layout())


@given(st.integers(1, 20), st.integers(-4, 4))
def test_the_row_ahead_is_that_many_steps_later_in_its_own_series(rows: int, ahead: int) -> None:
    frame = table(rows).sample(fraction=1, shuffle=True, seed=rows)

    found = find_rows_ahead(index_series(frame, layout()), ahead)

    times = frame["t"].to_list()
    for row, time in enumerate(times):
        expected = times.index(time + ahead) if time + ahead in times else -1
        assert found[row] == expected


def test_lists_that_do_not_fit_are_their_own_rows_error() -> None:
    frame = pl.DataFrame({"a": [[1.0, 2.0], [1.0], None, []], "b": [[3.0, None], [1.0, 2.0]] * 2})

    steps = raw_steps(frame, series_layout(("a", "b")))

    assert steps.errors_R == [
        None,
        "the channels differ in length: [1, 2]",
        "column 'a' is empty",
        "column 'a' is empty",
    ]
    np.testing.assert_array_equal(steps_of_row(steps, 0), [[1, 3], [2, np.nan]])


@pytest.mark.parametrize("answers", [["b", "a", "c"], [3, -1, 7], [True, False, True]])
def test_classes_survive_the_way_there_and_back(answers) -> None:
    column = pl.Series("label", answers)

    target = target_of(answers, "category")

    assert target.decode(target.encode(column)).to_list() == answers
    assert target.encode(pl.Series("label", [None], dtype=column.dtype)).tolist() != [0.0]


def test_a_class_that_training_never_showed_has_a_code_of_its_own() -> None:
    target = target_of(["a", "b"], "category")

    assert target.encode(pl.Series(["b", "zebra"])).tolist() == [1.0, -1.0]


def test_numbers_survive_the_way_there_and_back() -> None:
    column = pl.Series("label", [1.0, 2.0, 6.0])

    target = target_of(column.to_list(), "number")

    np.testing.assert_allclose(target.decode(target.encode(column)).to_numpy(), column, rtol=1e-6)


@pytest.mark.parametrize(
    ("answers", "config", "message"),
    [
        (["a", "a"], CATEGORY, "one class only"),
        ([2.0, 2.0], NUMBER, "is 2.0 in every training row"),
    ],
)
def test_a_target_with_nothing_to_learn_is_refused(answers, config, message: str) -> None:
    with pytest.raises(UnlearnableError, match=message):
        target_of(answers, config.kind)


@pytest.mark.parametrize(
    ("answers", "config", "message"),
    [
        ([1.0, float("nan")], NUMBER, r"1 of 2 rows \(first: row 1\)"),
        (["a", None], CATEGORY, r"1 of 2 rows \(first: row 1\)"),
        (["a", "b"], NUMBER, "set target.kind: category"),
        ([0.5, 1.5], CATEGORY, "set target.kind: number"),
    ],
)
def test_a_target_that_cannot_be_used_says_where_and_why(answers, config, message: str) -> None:
    def check() -> None:
        check_target(pl.Series(answers).dtype, config)
        check_targets(pl.Series(answers), np.arange(2), name="label")

    with pytest.raises(UnlearnableError, match=message):
        check()


def test_the_fitted_state_survives_being_saved(tmp_path: Path) -> None:
    split = Split(
        config=SplitConfig(test=0.3),
        by="column",
        columns=("t",),
        types=("Int64",),
        learned=np.array([1, 255, 0], np.uint8),
    )
    featurizer = featurizer_of(
        layout(7, "e"),
        scale([0.1, 2e9], [1.0, 1 / 3], (1,)),
        target_of(["x", "\u00fc"], "category"),
        split,
    )

    save_featurizer(featurizer, tmp_path)
    found = load_featurizer(tmp_path)

    assert (found.layout, found.target, found.split) == (
        featurizer.layout,
        featurizer.target,
        featurizer.split,
    )
    assert found.split.learned.tolist() == [1, 255, 0]
    assert found.state.scaler.gaps == (1,)
    np.testing.assert_array_equal(found.state.scaler.spread_EC, [[1.0, 1 / 3]])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"t": [1], "a": [1.0]}), "column 'b' is missing; the table has: t, a"),
        (pl.DataFrame({"t": [1], "a": [1.0], "b": ["x"]}), "'b' holds String, expected numbers"),
        (pl.DataFrame({"t": ["x"], "a": [1.0], "b": [1.0]}), "source.time: column 't' holds"),
        (pl.DataFrame({"t": [1], "a": [[1.0]], "b": [1.0]}), "remove `window` from the job"),
    ],
)
def test_a_table_that_cannot_be_read_names_the_column(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(UnlearnableError, match=message):
        check_columns(frame.schema, layout())


def featurizer_with(split: Split) -> Featurizer:
    return featurizer_of(
        layout(), scale([0.0, 0.0], [1.0, 1.0]), target_of(["x", "y"], "category"), split
    )


def test_a_model_split_by_time_never_learned_from_its_test_period() -> None:
    times = pl.Series([date(2024, 1, 1) + timedelta(days=place) for place in range(100)])
    first = (date(2024, 2, 1) - date(1970, 1, 1)).days
    split = Split(config=SplitConfig(), by="time", test_from=first, time_type="Date")

    never = featurizer_with(split).mark_unseen_rows(table(100), times)

    assert never.tolist() == [False] * 31 + [True] * 69


def test_a_model_split_by_hash_knows_its_test_rows_again_among_new_ones() -> None:
    old, new = table(100), pl.concat([table(50, 1), table(100)])
    split = Split(config=SplitConfig(), by="hash", columns=("a",))

    then = featurizer_with(split).mark_unseen_rows(old, None)
    now = featurizer_with(split).mark_unseen_rows(new, None)

    assert 0 < then.sum() < 100
    assert now[50:].tolist() == then.tolist()


@pytest.mark.parametrize("value", [0.1, 1e9 + 0.3])
def test_a_number_that_never_changes_is_refused_however_it_rounds(value: float) -> None:
    with pytest.raises(UnlearnableError, match="in every training row"):
        target_of([value] * 7, "number")
