"""Calibration: predictions do not change, and sets and intervals have their coverage."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import Bundle, load_bundle, save_bundle
from models.calibration import (
    Calibration,
    compute_conformal_rank,
    compute_interval,
    compute_nonconformity,
    compute_reference_bounds,
    compute_softmax,
    fit_conformal_quantile,
    fit_probability_threshold,
    fit_temperature,
)
from models.errors import BundleError
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tests.support.model_parts import (
    build_bundle,
    build_featurizer,
    build_series_layout,
    build_series_state,
    fit_label_target,
)

FITTED = Calibration(
    coverage=0.9,
    rows=100,
    is_independent=False,
    exchangeable=True,
    temperature=1.7,
    probability_threshold=0.2,
)

WAVES = pl.DataFrame({"wave": [[1.0, 2.0], None, [3.0], [0.5, 0.1, -4.0]]})

SEEDS = 200


def bundle(kind: str, *, error: str = "squared", calibration: Calibration | None) -> Bundle:
    predictions = ["no", "yes", "perhaps"] if kind == "category" else [10.0, 20.0, 24.0]
    featurizer = build_featurizer(
        build_series_layout("wave"),
        build_series_state([0.5], [2.0]),
        fit_label_target(predictions, kind),
    )
    built = build_bundle(featurizer, ModelConfig(hidden_size=6), head=HeadConfig(loss=error))
    return replace(built, calibration=calibration)


def draw_logits(draw: np.random.Generator, rows: int, *, scale: float) -> tuple:
    """Draw calibrated logits, and scale them so that they are overconfident."""
    logits = draw.normal(0, 1.5, (rows, 4))
    targets = (logits + draw.gumbel(size=logits.shape)).argmax(axis=1)
    return (logits * scale).astype(np.float32), targets


@given(seed=st.integers(0, 2**32 - 1), heat=st.floats(0.05, 20))
@settings(max_examples=50)
def test_no_temperature_changes_the_predicted_class(seed: int, heat: float) -> None:
    built = bundle("category", calibration=None)
    draw = np.random.default_rng(seed)
    outputs = draw.choice([0.0, 1.0, 1.0 + 1e-7, 5.0, 60.0], (8, 3)).astype(np.float32)
    ways = []
    for calibration in (None, replace(FITTED, temperature=heat)):
        calibrated = replace(built, calibration=calibration)
        ways.append(calibrated.build_table(outputs, np.ones(8, bool), ["ok"] * 8, entities=None))

    assert ways[0]["prediction"].equals(ways[1]["prediction"])
    assert (ways[1]["prediction_set"].list.contains(ways[1]["prediction"])).all()


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_a_scale_of_the_logits(scale: float) -> None:
    logits, targets = draw_logits(np.random.default_rng(1), 20_000, scale=scale)

    assert fit_temperature(logits, targets) == pytest.approx(scale, rel=0.05)


def test_a_model_that_is_always_right_on_validation_does_not_become_certain() -> None:
    targets = np.arange(150) % 3
    logits = 4.0 * np.eye(3, dtype=np.float32)[targets]

    probabilities = compute_softmax(logits, fit_temperature(logits, targets))

    assert 0.98 < probabilities.max() < 0.999


def test_a_model_is_not_calibrated_on_few_rows() -> None:
    assert fit_temperature(np.eye(3, dtype=np.float32), np.arange(3)) == 1.0
    assert fit_probability_threshold(np.full(8, 0.5), 0.9) is None
    assert fit_conformal_quantile(np.array([1.0] * 8 + [np.nan] * 50), 0.9) is None
    assert compute_conformal_rank(9, 0.9) == 9


def test_prediction_sets_contain_the_target_at_the_configured_coverage() -> None:
    covered = []
    for seed in range(SEEDS):
        logits, targets = draw_logits(np.random.default_rng(seed), 240, scale=3.0)
        probabilities = compute_softmax(logits, 1.0)
        calibrated = probabilities[np.arange(240), targets]
        least = fit_probability_threshold(calibrated[:40], 0.9)
        covered.append((calibrated[40:] >= least).mean())

    # The mean over draws is at least 0.9; one in a million draws of these seeds would be lower.
    assert np.mean(covered) >= 0.9 - 4.75 * np.std(covered) / np.sqrt(SEEDS)
    assert np.mean(covered) <= 0.9 + 1 / 41 + 4.75 * np.std(covered) / np.sqrt(SEEDS)


@pytest.mark.parametrize("error", ["mse", "gaussian_nll", "student_t", "quantile"])
def test_intervals_contain_the_target_at_the_configured_coverage(error: str) -> None:
    covered, head = [], HeadConfig(loss=error)
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        std = draw.uniform(0.5, 3, (240, 1))
        targets = draw.standard_t(3, (240, 1)) * std
        steps = {"quantile": [-1.0, 0.1, 0.4], "mse": [0.3]}.get(error, [0.3, 1.0, 3.0])
        parts = np.concatenate([std * step for step in steps], axis=1)[:, None, :]
        edges = compute_reference_bounds(parts, head, mean=0.0, std=1.0)
        margin = fit_conformal_quantile(compute_nonconformity(targets, edges)[:40, 0], 0.8)
        low, high = compute_interval(edges, parts[:, :, len(steps) // 2], [margin])
        covered.append(((low <= targets) & (targets <= high))[40:].mean())

    assert np.mean(covered) >= 0.8 - 4.75 * np.std(covered) / np.sqrt(SEEDS)


@given(
    margin=st.floats(-5, 5),
    quantiles=st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(sorted),
)
def test_an_interval_contains_its_prediction(margin: float, quantiles: list) -> None:
    parts = np.array(quantiles)[None, None, :]
    edges = compute_reference_bounds(parts, HeadConfig(loss="quantile"), mean=0.0, std=1.0)

    low, high = compute_interval(edges, parts[:, :, 1], [margin])

    assert low[0, 0] <= quantiles[1] <= high[0, 0]


def test_a_class_that_is_not_in_training_widens_the_sets() -> None:
    known = np.linspace(0.5, 1, 95)

    narrow = fit_probability_threshold(known, 0.9)
    wide = fit_probability_threshold(np.concatenate([known, np.zeros(15)]), 0.9)

    assert narrow > 0.5
    assert wide == 0.0


def test_a_calibrated_bundle_has_the_same_predictions_after_saving(tmp_path: Path) -> None:
    numbers = Calibration(
        coverage=0.8, rows=50, is_independent=True, exchangeable=False, conformal_quantiles=(0.25,)
    )
    for kind, calibration in (("category", FITTED), ("number", numbers)):
        built = bundle(kind, calibration=calibration)
        save_bundle(built, tmp_path / kind)

        again = load_bundle(tmp_path / kind)

        assert again.calibration == calibration
        assert again.predict(WAVES).equals(built.predict(WAVES))


@pytest.mark.parametrize("error", ["mse", "gaussian_nll", "quantile"])
def test_an_interval_extends_its_quantile_beyond_the_prediction(error: str) -> None:
    calibration = replace(FITTED, conformal_quantiles=(0.5,))
    predictions = bundle("number", error=error, calibration=calibration).predict(WAVES)

    plain = bundle("number", error=error, calibration=None).predict(WAVES)
    assert predictions.columns[-3:] == ["interval_low", "interval_high", "status"]
    assert predictions.select(plain.columns).equals(plain)
    assert predictions["interval_low"].is_null().to_list() == [False, True, False, False]
    std = (
        predictions["standard_deviation"] if error == "gaussian_nll" else np.std([10.0, 20.0, 24.0])
    )
    low = predictions["quantile_0.1"] if error == "quantile" else predictions["prediction"]
    gap = (low - predictions["interval_low"]).drop_nulls()
    half = pl.Series(0.5 * std * np.ones(4)) if error != "gaussian_nll" else 0.5 * std
    np.testing.assert_allclose(gap, half.filter(predictions["prediction"].is_not_null()), rtol=1e-6)


def test_sets_are_in_the_order_of_the_classes_for_every_type() -> None:
    predictions = bundle(
        "category", calibration=replace(FITTED, probability_threshold=0.0)
    ).predict(WAVES)
    no_rows = bundle("category", calibration=FITTED).predict(WAVES.clear())

    every = ["no", "perhaps", "yes"]
    assert predictions["prediction_set"].to_list() == [every, None, every, every]
    assert no_rows.schema == predictions.schema


def test_a_bundle_of_another_format_is_rejected(tmp_path: Path) -> None:
    save_bundle(bundle("category", calibration=None), tmp_path)
    spec = json.loads((tmp_path / "bundle.json").read_text(encoding="utf-8"))
    (tmp_path / "bundle.json").write_text(json.dumps(spec | {"format": 2}), encoding="utf-8")

    with pytest.raises(BundleError, match="has format 2, this version reads 1"):
        load_bundle(tmp_path)


def test_a_damaged_calibration_is_rejected(tmp_path: Path) -> None:
    save_bundle(bundle("category", calibration=FITTED), tmp_path)
    (tmp_path / "calibration.json").write_text('{"conformal_quantiles": 3}', encoding="utf-8")

    with pytest.raises(BundleError, match=r"damaged calibration\.json"):
        load_bundle(tmp_path)


def test_a_coverage_out_of_range_is_rejected() -> None:
    for confidence in (0.2, 1.0):
        with pytest.raises(ValueError, match="interval_coverage"):
            HeadConfig(interval_coverage=confidence)


def test_a_temperature_is_fitted_from_a_hundred_rows_on() -> None:
    logits, targets = draw_logits(np.random.default_rng(2), 100, scale=4.0)

    assert fit_temperature(logits[:99], targets[:99]) == 1.0
    assert fit_temperature(logits, targets) > 2.0


@pytest.mark.parametrize(("scale", "expected"), [(12.0, 12.0), (60.0, 20.0), (0.01, 0.05)])
def test_a_temperature_is_from_a_twentieth_to_twenty(scale: float, expected: float) -> None:
    logits, targets = draw_logits(np.random.default_rng(1), 20_000, scale=scale)

    assert fit_temperature(logits, targets) == pytest.approx(expected, rel=0.05)


def test_the_quantile_is_the_error_of_exactly_the_conformal_rank() -> None:
    errors = np.arange(1.0, 10.0)

    quantiles = [fit_conformal_quantile(errors, coverage) for coverage in (0.5, 0.8, 0.9, 0.95)]
    thresholds = [fit_probability_threshold(errors / 10, coverage) for coverage in (0.5, 0.8, 0.9)]

    assert quantiles == [5.0, 8.0, 9.0, None]
    assert thresholds == [0.5, 0.2, 0.1]


def test_the_unit_of_counts_is_their_standard_deviation() -> None:
    outputs = np.array([[[0.5, 0.25]], [[-100.0, 0.25]]])

    _, _, unit = compute_reference_bounds(
        outputs, HeadConfig(loss="negative_binomial"), mean=10.0, std=4.0
    )

    # A mean of 12 counts, and below 0 hardly any: variance = mean + dispersion * mean^2.
    assert unit[:, 0] == pytest.approx([np.sqrt(12 + 0.25 * 144) / 4, np.sqrt(1e-6) / 4], rel=1e-5)
