"""Channels of classes: one for each class of training, zeros where a class is not known."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.series import (
    SeriesInput,
    build_spec,
    check_series,
    find_label_channels,
    fit_windows,
    list_channels,
    transform,
)
from models.features.series import categories as labels_module

LAYOUT = Layout(
    input=SeriesInput(column="heat", categories=("sky", "level"), calendar=("weekday",)),
    window=WindowConfig(lookback=3, horizon=1),
    time="day",
    entity=None,
)


def make_days(sky: list, level: list | None = None) -> pl.DataFrame:
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(len(sky))]
    return pl.DataFrame(
        {
            "day": days,
            "heat": [float(n) for n in range(len(sky))],
            "sky": sky,
            "level": [1] * len(sky) if level is None else level,
        },
        schema_overrides={"sky": pl.String},
    )


TRAINING = make_days(["sun", "rain", "sun", "fog", "rain", "sun"], [1, 2, 1, 2, 1, 2])

STATE = fit_windows([(TRAINING, np.arange(6))], LAYOUT)


def read_one_hot(frame: pl.DataFrame, column: str) -> list[list[float]]:
    channels = find_label_channels(LAYOUT, STATE, column)
    return transform(frame, LAYOUT, STATE).values_NC[:, channels].tolist()


def test_each_class_of_training_is_a_channel() -> None:
    names = [channel.name for channel in list_channels(LAYOUT, STATE)]

    assert names[-5:] == ["sky: fog", "sky: rain", "sky: sun", "level: 1", "level: 2"]
    assert build_spec(LAYOUT, STATE).channels == len(names)
    assert transform(TRAINING, LAYOUT, STATE).values_NC.shape[1] == len(names)


def test_a_class_that_is_missing_or_new_has_zeros() -> None:
    frame = make_days(["sun", None, "snow", "fog"], [2, None, 3, 1])

    assert read_one_hot(frame, "sky") == [[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert read_one_hot(frame, "level") == [[0, 1], [0, 0], [0, 0], [1, 0]]


def test_whole_numbers_are_the_same_classes_as_floats() -> None:
    frame = make_days(["sun"] * 3, [2, None, 1]).with_columns(pl.col("level").cast(pl.Float64))

    assert read_one_hot(frame, "level") == [[0, 1], [0, 0], [1, 0]]


def test_only_training_rows_have_classes() -> None:
    state = fit_windows([(TRAINING, np.array([0, 1, 2]))], LAYOUT)

    assert state.classes == {"sky": ("rain", "sun"), "level": ("1", "2")}


def test_the_most_frequent_classes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "MAX_CATEGORIES", 2)

    assert fit_windows([(TRAINING, np.arange(6))], LAYOUT).classes["sky"] == ("rain", "sun")


@given(
    st.lists(st.sampled_from(["sun", "rain", "fog", None]), min_size=5, max_size=12),
    st.integers(2, 11),
    st.randoms(use_true_random=False),
)
def test_a_window_does_not_change_with_labels_after_its_end(sky, end, random) -> None:
    end = min(end, len(sky) - 1)
    later = sky[end + 1 :]
    random.shuffle(later)
    one, other = make_days(sky), make_days([*sky[: end + 1], *later[::-1]])

    windows = [transform(frame, LAYOUT, STATE) for frame in (one, other)]

    first, second = (each.values_NC[each.starts_R[end] : each.stops_R[end]] for each in windows)
    np.testing.assert_array_equal(first, second)
    channels = find_label_channels(LAYOUT, STATE, "sky")
    classes = STATE.classes["sky"]
    assert first[-1, channels].tolist() == [float(name == sky[end]) for name in classes]


@pytest.mark.parametrize("unsorted", [False, True])
def test_the_order_of_rows_makes_no_difference(unsorted: bool) -> None:
    order = [3, 0, 5, 1, 4, 2] if unsorted else list(range(6))
    shuffled = TRAINING[order]

    steps = transform(shuffled, LAYOUT, STATE)

    expected = transform(TRAINING, LAYOUT, STATE)
    for position, row in enumerate(order):
        np.testing.assert_array_equal(
            steps.values_NC[steps.starts_R[position] : steps.stops_R[position]],
            expected.values_NC[expected.starts_R[row] : expected.stops_R[row]],
        )


def test_a_series_of_classes_alone_can_be_read() -> None:
    layout = replace(LAYOUT, input=SeriesInput(column=(), categories=("sky",)))

    state = fit_windows([(TRAINING, np.arange(6))], layout)

    assert transform(TRAINING, layout, state).values_NC.shape == (6, 3)


def test_a_column_without_any_class_is_refused() -> None:
    with pytest.raises(UnlearnableError, match="column 'sky' has no value"):
        fit_windows([(make_days([None] * 6), np.arange(6))], LAYOUT)


def test_lists_have_no_categories() -> None:
    schema = pl.Schema({"heat": pl.List(pl.Float64), "sky": pl.String, "level": pl.Int64})
    layout = replace(
        LAYOUT, input=SeriesInput(column="heat", categories=("sky",)), window=None, time=None
    )

    with pytest.raises(UnlearnableError, match="categories needs a table with one row per step"):
        check_series(schema, layout)


def test_lists_are_no_classes() -> None:
    schema = TRAINING.schema | {"sky": pl.List(pl.String)}

    with pytest.raises(UnlearnableError, match=r"inputs\.categories: column 'sky' holds List"):
        check_series(pl.Schema(schema), LAYOUT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": "a", "categories": ("a",)}, "categories: 'a' is named twice"),
        ({"column": ()}, "column: name at least one column"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        SeriesInput(**settings)
