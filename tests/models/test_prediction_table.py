"""Predictions: independent of the other rows, and the same before and after saving."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from polars.testing import assert_frame_equal

from models.bundle import Bundle, load_bundle, save_bundle
from models.errors import BundleError
from models.networks.config import ModelConfig
from tests.support.model_parts import (
    build_bundle,
    build_featurizer,
    build_grey_state,
    build_image_layout,
    build_series_layout,
    build_series_state,
    fit_label_target,
)

ANSWERS = {"category": ["no", "yes", "\u00e9"], "number": [10.0, 20.0, 60.0]}


def bundle(
    column: str | tuple[str, ...] = "wave",
    *,
    target: str = "category",
    window: int = 0,
    image: bool = False,
    seed: int = 2,
) -> Bundle:
    read = build_series_layout(column, lookback=window, entity="shop")
    channels = len(read.input.columns)
    state: object = build_series_state([0.5] * channels, [0.01] * channels)
    if image:
        read, state = build_image_layout(column), build_grey_state(height=3, width=2)
    featurizer = build_featurizer(read, state, fit_label_target(ANSWERS[target], target))
    model = ModelConfig(
        cell="lstm", hidden_size=6, bidirectional=True, pooling="attention", num_layers=2
    )
    return build_bundle(featurizer, model, seed)


def assert_same_predictions(result: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert_frame_equal(result, expected, rel_tol=1e-5, abs_tol=1e-6)


def build_image_table(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(6, dtype=np.uint8).reshape(3, 2) + level).save(buffer, "PNG")
    return buffer.getvalue()


waves = st.one_of(st.none(), st.lists(st.floats(0, 1, width=32), max_size=5))
pictures = st.sampled_from(
    [build_image_table(0), build_image_table(90), b"not an image", build_image_table(5)[:40], None]
)


@pytest.mark.parametrize("target", ["category", "number"])
@settings(max_examples=25)
@given(st.lists(waves, min_size=1, max_size=6))
def test_the_prediction_for_a_wave_does_not_depend_on_the_others(target: str, cells: list) -> None:
    model = bundle(target=target)
    table = pl.DataFrame({"wave": cells}, schema={"wave": pl.List(pl.Float32)})

    together = model.predict(table)

    alone = [model.predict(table[row : row + 1]) for row in range(len(table))]
    assert_same_predictions(together, pl.concat(alone))


@settings(max_examples=25)
@given(st.lists(pictures, min_size=1, max_size=5))
def test_the_prediction_for_an_image_does_not_depend_on_the_others(cells: list) -> None:
    model = bundle("picture", image=True)
    table = pl.DataFrame({"picture": cells}, schema={"picture": pl.Binary})

    together = model.predict(table)

    alone = [model.predict(table[row : row + 1]) for row in range(len(table))]
    assert_same_predictions(together, pl.concat(alone))
    assert (together["status"] == "ok").to_list() == [
        c in {build_image_table(0), build_image_table(90)} for c in cells
    ]


@pytest.mark.parametrize("cell", [None, []], ids=["missing", "empty"])
def test_an_unreadable_row_has_the_same_prediction_alone_and_in_a_larger_table(
    cell: list | None,
) -> None:
    larger = bundle().predict(pl.DataFrame({"wave": [[0.1, 0.2], cell]}))

    alone = bundle().predict(pl.DataFrame({"wave": [cell]}))

    assert_frame_equal(alone, larger[1:])


@pytest.mark.parametrize("cell", [None, []], ids=["missing", "empty"])
def test_an_unreadable_row_from_pandas_has_the_same_prediction(cell: list | None) -> None:
    table = pl.from_pandas(pd.DataFrame({"wave": [cell]}))

    assert bundle().predict(table)["status"].to_list() == ["column 'wave' is empty"]


def test_a_row_of_a_series_of_missing_values_has_a_prediction() -> None:
    table = pl.DataFrame({"shop": ["a"], "day": [1], "wave": [None]})
    known = table.with_columns(pl.col("wave").cast(pl.Float64))

    predictions = bundle(window=1).predict(table)

    assert_same_predictions(predictions, bundle(window=1).predict(known))


@pytest.mark.parametrize("target", ["category", "number"])
def test_the_predictions_for_an_empty_table_have_the_columns_of_any_other(target: str) -> None:
    model = bundle(target=target)
    table = pl.DataFrame({"wave": [[0.1], [0.2, 0.3]]})

    assert model.predict(table[:0]).schema == model.predict(table).schema


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e30, float("inf"), float("nan")])
def test_every_prediction_of_a_number_is_finite(value: float) -> None:
    model = bundle(("wave", "tide"))
    table = pl.DataFrame({"wave": [[value, 0.1], [0.5]], "tide": [[value, 0.2], [0.5]]})

    predictions = model.predict(table)

    assert predictions["status"].to_list() == ["ok", "ok"]
    assert predictions["probability"].is_finite().all()


def sales(days: int) -> pl.DataFrame:
    draw = np.random.default_rng(0)
    table = pl.DataFrame({"shop": ["a", "b"]}).join(pl.DataFrame({"day": range(days)}), how="cross")
    return table.with_columns(pl.Series("wave", draw.random(len(table))))


@settings(max_examples=15)
@given(st.integers(1, 12), st.integers(0, 11))
def test_tomorrows_rows_never_change_todays_forecast(days: int, today: int) -> None:
    model, table = bundle(window=3, target="number"), sales(days)
    known = table.filter(pl.col("day") <= today).sample(fraction=1, shuffle=True, seed=today)

    then = pl.concat([known, model.predict(known)], how="horizontal").sort("shop", "day")
    now = pl.concat([table, model.predict(table)], how="horizontal")

    assert_same_predictions(then, now.filter(pl.col("day") <= today))


def test_forecasts_are_for_the_requested_rows_in_their_order() -> None:
    model, table = bundle(window=3, target="number"), sales(6)
    rows = np.array([11, 4, 0, 5])

    forecasts = model.predict(table, rows)

    assert_same_predictions(forecasts, model.predict(table)[rows])


def test_columns_may_be_in_any_order_with_others() -> None:
    model = bundle(("wave", "tide"))
    table = pl.DataFrame({"wave": [[1.0, 2.0]], "tide": [[3.0, 4.0]]})
    other = pl.DataFrame({"note": ["x"], "tide": [[3, 4]], "label": [None], "wave": [[1, 2]]})

    assert_same_predictions(model.predict(other), model.predict(table))


@pytest.mark.parametrize(
    ("model", "table"),
    [
        (bundle(), pl.DataFrame({"wave": [[0.1, 0.4], None, [0.5]]})),
        (bundle(target="number"), pl.DataFrame({"wave": [[0.1, 0.4], [0.5]]})),
        (bundle(("wave", "tide")), pl.DataFrame({"wave": [[0.1]], "tide": [[0.2]]})),
        (bundle("p", image=True), pl.DataFrame({"p": [build_image_table(0), None]})),
        (bundle(window=2, target="number"), sales(4)),
    ],
    ids=["classes", "numbers", "channels", "pictures", "windows"],
)
def test_a_model_of_any_kind_has_the_same_predictions_after_loading(
    model: Bundle, table: pl.DataFrame, tmp_path: Path
) -> None:
    save_bundle(model, tmp_path)

    loaded = load_bundle(tmp_path)

    assert loaded.featurizer.layout == model.featurizer.layout
    assert loaded.featurizer.target == model.featurizer.target
    assert loaded.model == model.model
    assert_frame_equal(loaded.predict(table), model.predict(table))


def test_equal_models_have_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    for name, model in (("a", bundle()), ("b", bundle()), ("c", bundle(seed=3))):
        save_bundle(model, tmp_path / name)

    weights = {name: (tmp_path / name / "network.safetensors").read_bytes() for name in "abc"}
    specs = {name: (tmp_path / name / "bundle.json").read_bytes() for name in "abc"}
    assert weights["a"] == weights["b"] != weights["c"]
    assert specs["a"] == specs["b"] == specs["c"]


def lose_weights(folder: Path) -> None:
    (folder / "network.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    whole = (folder / "network.safetensors").read_bytes()
    (folder / "network.safetensors").write_bytes(whole[: len(whole) // 2])


def cut_spec(folder: Path) -> None:
    whole = (folder / "bundle.json").read_bytes()
    (folder / "bundle.json").write_bytes(whole[: len(whole) // 2])


def other_spec(folder: Path) -> None:
    (folder / "bundle.json").write_text('{"name": "something else"}', encoding="utf-8")


def half_spec(folder: Path) -> None:
    (folder / "bundle.json").write_text('{"format": 1}', encoding="utf-8")


def binary_spec(folder: Path) -> None:
    (folder / "bundle.json").write_bytes(b"\xff\xfe\x00")


def other_weights(folder: Path) -> None:
    save_bundle(bundle(("wave", "tide")), folder / "other")
    (folder / "other" / "network.safetensors").replace(folder / "network.safetensors")


@pytest.mark.parametrize(
    "damage",
    [lose_weights, cut_weights, other_weights, cut_spec, other_spec, half_spec, binary_spec],
)
def test_a_damaged_model_is_rejected_with_its_folder(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    save_bundle(bundle(), tmp_path)
    damage(tmp_path)

    with pytest.raises(BundleError, match=tmp_path.name):
        load_bundle(tmp_path)
