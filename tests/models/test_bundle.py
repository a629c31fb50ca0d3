"""Bundles: equal bytes for equal models, one row out for one row in."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from models.bundle import FORMAT, Bundle, load_bundle, save_bundle
from models.errors import BundleError, UnlearnableError
from models.networks.config import ModelConfig
from tests.support.model_parts import (
    build_bundle,
    build_featurizer,
    build_series_layout,
    build_series_state,
    fit_label_target,
)


def bundle(*, window: int = 0, kind: str = "category") -> Bundle:
    predictions = ["no", "yes"] if kind == "category" else [10.0, 20.0]
    featurizer = build_featurizer(
        build_series_layout("wave", lookback=window, time="t"),
        build_series_state([0.5], [2.0]),
        fit_label_target(predictions, kind),
    )
    return build_bundle(
        featurizer, ModelConfig(hidden_size=6, bidirectional=True, pooling="attention")
    )


FILES = {"bundle.json", "network.safetensors", "featurizer.json", "featurizer.safetensors"}

WAVES = pl.DataFrame({"wave": [[1.0, 2.0], [3.0], [0.5, 0.1, -4.0], [9.0, 8.0]]})


def test_a_bundle_has_the_same_predictions_after_saving(tmp_path: Path) -> None:
    saved = bundle()
    save_bundle(saved, tmp_path / "one")
    save_bundle(load_bundle(tmp_path / "one"), tmp_path / "two")

    assert load_bundle(tmp_path / "two").predict(WAVES).equals(saved.predict(WAVES))
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_nothing_in_a_bundle_is_a_pickle(tmp_path: Path) -> None:
    save_bundle(bundle(), tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert json.loads((tmp_path / "bundle.json").read_text(encoding="utf-8"))["format"] == FORMAT


def test_a_bad_row_is_reported_in_its_own_status() -> None:
    broken = pl.DataFrame({"wave": [[1.0, 2.0], None, [0.5, 0.1, -4.0], []]})

    predictions = bundle().predict(broken)

    good = bundle().predict(WAVES)
    assert predictions["status"].to_list() == [
        "ok", "column 'wave' is empty", "ok", "column 'wave' is empty",
    ]  # fmt: skip
    assert predictions["prediction"].is_null().to_list() == [False, True, False, True]
    np.testing.assert_allclose(
        predictions["probability"].gather([0, 2]), good["probability"].gather([0, 2]), rtol=1e-6
    )


def test_a_table_without_a_readable_row_has_all_its_rows() -> None:
    predictions = bundle().predict(
        pl.DataFrame({"wave": [None]}, schema={"wave": pl.List(pl.Float64)})
    )

    assert predictions.shape == (1, 4)
    assert predictions["prediction"].to_list() == [None]


def test_probabilities_add_up_and_belong_to_the_prediction() -> None:
    predictions = bundle().predict(WAVES)

    for row in predictions.iter_rows(named=True):
        assert sum(row["probabilities"]) == pytest.approx(1.0, abs=1e-12)
        assert row["probability"] == max(row["probabilities"])
        assert row["prediction"] == ["no", "yes"][int(np.argmax(row["probabilities"]))]


def test_every_row_of_a_long_table_of_windows_gets_its_own_prediction() -> None:
    table = pl.DataFrame({"t": [3, 1, 2, 4], "wave": [0.3, 0.1, 0.2, 0.4]})

    predictions = bundle(window=2, kind="number").predict(table)
    newest = bundle(window=2, kind="number").predict(table, np.array([3]))

    assert predictions["status"][1] == "the window needs 2 steps, this row has 1"
    assert predictions["prediction"].is_null().to_list() == [False, True, False, False]
    np.testing.assert_allclose(newest["prediction"], predictions["prediction"][3:], rtol=1e-6)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UnlearnableError, match="column 'wave' is missing"):
        bundle().predict(pl.DataFrame({"other": [1.0]}))


def test_a_bundle_of_a_newer_format_is_rejected(tmp_path: Path) -> None:
    save_bundle(bundle(), tmp_path)
    spec = json.loads((tmp_path / "bundle.json").read_text(encoding="utf-8"))
    (tmp_path / "bundle.json").write_text(
        json.dumps(spec | {"format": FORMAT + 1}), encoding="utf-8"
    )

    with pytest.raises(BundleError, match=f"has format {FORMAT + 1}, this version reads {FORMAT}"):
        load_bundle(tmp_path)
    with pytest.raises(BundleError, match="holds no model"):
        load_bundle(tmp_path / "nothing")


def test_a_damaged_bundle_is_rejected(tmp_path: Path) -> None:
    save_bundle(bundle(), tmp_path)
    weights = tmp_path / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])

    with pytest.raises(BundleError, match="holds a damaged model"):
        load_bundle(tmp_path)
    weights.unlink()
    with pytest.raises(BundleError, match="holds a damaged model"):
        load_bundle(tmp_path)


def test_predicting_does_not_touch_the_random_state() -> None:
    saved = bundle()
    torch.manual_seed(4)
    expected = torch.rand(1)

    torch.manual_seed(4)
    saved.predict(WAVES)

    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("cells", [[None], [None, None], [[]]])
def test_a_table_of_missing_values_has_a_status_for_every_row(cells: list) -> None:
    predictions = bundle().predict(pl.DataFrame({"wave": cells}))
    as_text = bundle().predict(pl.DataFrame({"wave": [None]}, schema={"wave": pl.String}))

    assert predictions["status"].to_list() == ["column 'wave' is empty"] * len(cells)
    assert as_text["status"].to_list() == ["column 'wave' is empty"]
    assert predictions.schema == bundle().predict(WAVES).schema


def test_an_empty_table_has_the_columns_of_any_other() -> None:
    assert bundle().predict(WAVES.clear()).schema == bundle().predict(WAVES).schema
