"""Features: from raw rows to sequences, with one bad row as one row's error."""

import io
import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.errors import UnlearnableError
from models.features import InputConfig, Layout, TargetConfig, WindowConfig
from models.features.featurizer import Featurizer, Split, check_columns, from_json, to_json
from models.features.image import ImageShape, fit_shape, image_steps
from models.features.scaler import Scaler, fit_scaler
from models.features.series import line_up, list_steps, row_ahead, window_steps
from models.features.split import SplitConfig
from models.features.target import check_target, fit_target

CATEGORY = TargetConfig(column="label", kind="category")
NUMBER = TargetConfig(column="label", kind="number")


def layout(length: int = 3, entity: str | None = None) -> Layout:
    return Layout(
        input=InputConfig(column=("a", "b"), kind="series"),
        window=WindowConfig(length=length),
        time="t",
        entity=entity,
    )


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return pl.DataFrame(
        {"t": range(rows), "a": draw.normal(size=rows), "b": draw.normal(size=rows)}
    )


def steps_of_row(steps, row: int) -> np.ndarray:
    return steps.values_NC[steps.starts_R[row] : steps.stops_R[row]]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 11))
def test_the_past_never_depends_on_the_future(rows: int, length: int, now: int) -> None:
    frame = table(rows)
    now = min(now, rows - 1)
    moved = frame.with_columns(a=pl.when(pl.col("t") > now).then(99.0).otherwise(pl.col("a")))
    window = WindowConfig(length=length)

    before = window_steps(frame, layout(length), window)
    after = window_steps(moved, layout(length), window)

    for row in range(now + 1):
        np.testing.assert_array_equal(steps_of_row(before, row), steps_of_row(after, row))


@given(st.integers(1, 12), st.integers(1, 5), st.permutations(range(12)))
def test_a_window_is_the_last_steps_up_to_its_row_in_any_order_of_the_table(
    rows: int, length: int, order: list[int]
) -> None:
    frame = table(rows)[[place for place in order if place < rows]]

    steps = window_steps(frame, layout(length), WindowConfig(length=length))

    by_time = frame.sort("t").select("a", "b").to_numpy().astype(np.float32)
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

    steps = window_steps(frame, layout(3, "e"), WindowConfig(length=3))

    assert [error is None for error in steps.errors_R] == [False, False, True, True] * 2
    expected = frame[4:7].select("a", "b").to_numpy().astype(np.float32)
    np.testing.assert_array_equal(steps_of_row(steps, 6), expected)


def test_two_rows_at_one_time_are_refused_with_the_mend() -> None:
    frame = pl.DataFrame({"t": [1, 2, 2], "a": [0.0] * 3, "b": [0.0] * 3})

    with pytest.raises(UnlearnableError, match=r"two rows at t 2.*source\.entity"):
        line_up(frame, layout())


@given(st.integers(1, 20), st.integers(-4, 4))
def test_the_row_ahead_is_that_many_steps_later_in_its_own_series(rows: int, ahead: int) -> None:
    frame = table(rows).sample(fraction=1, shuffle=True, seed=rows)

    found = row_ahead(line_up(frame, layout()), ahead)

    times = frame["t"].to_list()
    for row, time in enumerate(times):
        expected = times.index(time + ahead) if time + ahead in times else -1
        assert found[row] == expected


def test_lists_that_do_not_fit_are_their_own_rows_error() -> None:
    frame = pl.DataFrame({"a": [[1.0, 2.0], [1.0], None, []], "b": [[3.0, None], [1.0, 2.0]] * 2})

    steps = list_steps(frame, ("a", "b"))

    assert steps.errors_R == [
        None,
        "the channels differ in length: [1, 2]",
        "column 'a' is empty",
        "column 'a' is empty",
    ]
    np.testing.assert_array_equal(steps_of_row(steps, 0), [[1, 3], [2, np.nan]])


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.stack([GREY, GREY // 2, GREY // 3], axis=2)


def test_an_image_is_read_row_by_row_from_the_top() -> None:
    shape = ImageShape(height=3, width=4, colours=1)

    from_file = image_steps(pl.Series([png(GREY)]), shape)
    from_lists = image_steps(pl.Series([GREY.tolist()]), shape)

    np.testing.assert_array_equal(from_file.values_NC, GREY)
    np.testing.assert_array_equal(from_lists.values_NC, GREY)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (png(GREY)[:50], "the image is damaged"),
        (b"not an image", "the image is neither PNG nor JPEG"),
        (b"", "the image is neither PNG nor JPEG"),
        (None, "the image is missing"),
    ],
    ids=["cut off", "text", "empty", "none"],
)
def test_a_broken_image_is_its_own_rows_error(cell: bytes | None, reason: str) -> None:
    column = pl.Series("image", [png(GREY), cell, png(GREY + 1)])

    steps = image_steps(column, ImageShape(height=3, width=4, colours=1))

    assert steps.errors_R[1].startswith(reason)
    assert steps.errors_R[::2] == [None, None]
    np.testing.assert_array_equal(steps_of_row(steps, 2), GREY + 1)


@pytest.mark.parametrize(
    "cell",
    [png(COLOUR), png(COLOUR, "JPEG"), png(GREY), COLOUR.tolist()],
    ids=["png", "jpeg", "grey", "lists"],
)
@pytest.mark.parametrize("colours", [1, 3])
def test_every_image_is_brought_to_the_shape_that_was_fitted(cell, colours: int) -> None:
    shape = ImageShape(height=6, width=5, colours=colours)

    steps = image_steps(pl.Series([cell]), shape)

    assert steps.values_NC.shape == (6, 5 * colours)
    assert 0 <= steps.values_NC.min() <= steps.values_NC.max() <= 255


def test_a_column_without_a_readable_image_is_refused() -> None:
    with pytest.raises(UnlearnableError, match="'image' holds no image that can be read"):
        fit_shape(pl.Series("image", [b"x", None]))


@given(st.lists(st.integers(0, 9), max_size=4), st.sampled_from([0.0, 1e9, -1e5]))
def test_the_scaler_is_the_mean_and_spread_of_all_chunks_together(cuts, offset: float) -> None:
    values = (np.random.default_rng(1).normal(size=(10, 3)) * [1, 5, 0.1] + offset).astype(
        np.float64
    )
    chunks = [part for part in np.split(values, sorted(cuts)) if len(part)]

    scaler = fit_scaler(chunks, columns=["a", "b", "c"], shared=False)

    np.testing.assert_allclose(scaler.mean, values.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.spread, values.std(0), rtol=1e-6)


def test_a_gap_becomes_the_mean_and_a_flag_and_a_constant_stays_finite() -> None:
    values = np.array([[1.0, 5.0], [np.nan, 5.0], [3.0, 5.0]], np.float32)

    scaler = fit_scaler([values], columns=["a", "b"], shared=False)

    np.testing.assert_allclose(scaler.transform(values), [[-1, 0, 0], [0, 0, 1], [1, 0, 0]])


def test_a_channel_without_values_is_named() -> None:
    with pytest.raises(UnlearnableError, match="column 'b' has no finite value"):
        fit_scaler([np.array([[1.0, np.nan]], np.float32)], columns=["a", "b"], shared=False)


@pytest.mark.parametrize("answers", [["b", "a", "c"], [3, -1, 7], [True, False, True]])
def test_classes_survive_the_way_there_and_back(answers) -> None:
    column = pl.Series("label", answers)

    target = fit_target(column, CATEGORY)

    assert target.decode(target.encode(column)).to_list() == answers
    assert target.encode(pl.Series("label", [None], dtype=column.dtype)).tolist() != [0.0]


def test_a_class_that_training_never_showed_has_a_code_of_its_own() -> None:
    target = fit_target(pl.Series("label", ["a", "b"]), CATEGORY)

    assert target.encode(pl.Series(["b", "zebra"])).tolist() == [1.0, -1.0]


def test_numbers_survive_the_way_there_and_back() -> None:
    column = pl.Series("label", [1.0, 2.0, 6.0])

    target = fit_target(column, NUMBER)

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
        fit_target(pl.Series("label", answers), config)


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
    with pytest.raises(UnlearnableError, match=message):
        check_target(pl.Series("label", answers), config)


def test_the_fitted_state_survives_json() -> None:
    featurizer = Featurizer(
        layout=layout(7, "e"),
        scaler=Scaler(mean=(0.1, 2e9), spread=(1.0, 1 / 3), gaps=(1,)),
        target=fit_target(pl.Series("label", ["x", "\u00fc"]), CATEGORY),
        split=Split(config=SplitConfig(test=0.3), by="time", test_from=19723, time_type="Date"),
        shape=ImageShape(height=2, width=3, colours=1),
    )

    assert from_json(json.loads(json.dumps(to_json(featurizer)))) == featurizer


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
        check_columns(frame, layout())


def featurizer_with(split: Split) -> Featurizer:
    return Featurizer(
        layout=layout(),
        scaler=Scaler(mean=(0.0, 0.0), spread=(1.0, 1.0), gaps=()),
        target=fit_target(pl.Series("label", ["x", "y"]), CATEGORY),
        split=split,
    )


def test_a_model_split_by_time_never_learned_from_its_test_period() -> None:
    times = pl.Series([date(2024, 1, 1) + timedelta(days=place) for place in range(100)])
    first = (date(2024, 2, 1) - date(1970, 1, 1)).days
    split = Split(config=SplitConfig(), by="time", test_from=first, time_type="Date")

    never = featurizer_with(split).never_learned(table(100), times)

    assert never.tolist() == [False] * 31 + [True] * 69


def test_a_model_split_by_hash_knows_its_test_rows_again_among_new_ones() -> None:
    old, new = table(100), pl.concat([table(50, 1), table(100)])
    split = Split(config=SplitConfig(), by="hash", columns=("a",))

    then = featurizer_with(split).never_learned(old, None)
    now = featurizer_with(split).never_learned(new, None)

    assert 0 < then.sum() < 100
    assert now[50:].tolist() == then.tolist()


def test_the_greys_of_a_sixteen_bit_image_stay_apart() -> None:
    deep = np.array([[0, 300, 65535]], np.uint16)

    steps = image_steps(pl.Series([png(deep)]), ImageShape(height=1, width=3, colours=1))

    assert steps.values_NC.tolist() == [[0.0, 300.0, 65535.0]]


def test_an_absurd_value_stays_a_number_and_large_offsets_keep_their_digits() -> None:
    scaler = Scaler(mean=(1e9,), spread=(1.0,), gaps=())

    scaled = scaler.transform(np.array([[1e9 + 64], [3e38], [-3e38]], np.float32))

    assert scaled[:, 0].tolist() == [64.0, 1e6, -1e6]


@pytest.mark.parametrize("value", [0.1, 1e9 + 0.3])
def test_a_number_that_never_changes_is_refused_however_it_rounds(value: float) -> None:
    with pytest.raises(UnlearnableError, match="in every training row"):
        fit_target(pl.Series("label", [value] * 7), NUMBER)
