"""Calibration: the answer stays, and sets and intervals keep what they promise."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import Bundle, load, save
from models.calibration import (
    Calibration,
    compute_conformal_rank,
    compute_interval,
    compute_nonconformity,
    compute_reference_bounds,
    fit_conformal_quantile,
    fit_probability_threshold,
    fit_temperature,
    softmax,
)
from models.errors import BundleError
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tests.support.model_parts import bundle_of, featurizer_of, scale, series_layout, target_of

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
    answers = ["no", "yes", "perhaps"] if kind == "category" else [10.0, 20.0, 24.0]
    featurizer = featurizer_of(series_layout("wave"), scale([0.5], [2.0]), target_of(answers, kind))
    made = bundle_of(featurizer, ModelConfig(hidden_size=6), head=HeadConfig(loss=error))
    return replace(made, calibration=calibration)


def drawn_logits(draw: np.random.Generator, rows: int, *, doubt: float) -> tuple:
    """Logits whose probabilities are right, stretched so that they are too sure of themselves."""
    logits = draw.normal(0, 1.5, (rows, 4))
    truth = (logits + draw.gumbel(size=logits.shape)).argmax(axis=1)
    return (logits * doubt).astype(np.float32), truth


@given(seed=st.integers(0, 2**32 - 1), heat=st.floats(0.05, 20))
@settings(max_examples=50)
def test_no_temperature_changes_the_answer(seed: int, heat: float) -> None:
    made = bundle("category", calibration=None)
    draw = np.random.default_rng(seed)
    outputs = draw.choice([0.0, 1.0, 1.0 + 1e-7, 5.0, 60.0], (8, 3)).astype(np.float32)
    ways = []
    for calibration in (None, replace(FITTED, temperature=heat)):
        own = replace(made, calibration=calibration)
        ways.append(own.tabulate(outputs, np.ones(8, bool), ["ok"] * 8, entities=None))

    assert ways[0]["prediction"].equals(ways[1]["prediction"])
    assert (ways[1]["prediction_set"].list.contains(ways[1]["prediction"])).all()


@pytest.mark.parametrize("doubt", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_stretched_the_logits(doubt: float) -> None:
    logits, truth = drawn_logits(np.random.default_rng(1), 20_000, doubt=doubt)

    assert fit_temperature(logits, truth) == pytest.approx(doubt, rel=0.05)


def test_rows_that_are_all_answered_right_do_not_make_a_model_certain() -> None:
    truth = np.arange(150) % 3
    logits = 4.0 * np.eye(3, dtype=np.float32)[truth]

    chances = softmax(logits, fit_temperature(logits, truth))

    assert 0.98 < chances.max() < 0.999


def test_few_rows_change_nothing() -> None:
    assert fit_temperature(np.eye(3, dtype=np.float32), np.arange(3)) == 1.0
    assert fit_probability_threshold(np.full(8, 0.5), 0.9) is None
    assert fit_conformal_quantile(np.array([1.0] * 8 + [np.nan] * 50), 0.9) is None
    assert compute_conformal_rank(9, 0.9) == 9


def test_sets_hold_the_truth_as_often_as_they_promise() -> None:
    held = []
    for seed in range(SEEDS):
        logits, truth = drawn_logits(np.random.default_rng(seed), 240, doubt=3.0)
        chances = softmax(logits, 1.0)
        own = chances[np.arange(240), truth]
        least = fit_probability_threshold(own[:40], 0.9)
        held.append((own[40:] >= least).mean())

    # The mean over draws is at least 0.9; one in a million draws of these seeds would be lower.
    assert np.mean(held) >= 0.9 - 4.75 * np.std(held) / np.sqrt(SEEDS)
    assert np.mean(held) <= 0.9 + 1 / 41 + 4.75 * np.std(held) / np.sqrt(SEEDS)


@pytest.mark.parametrize("error", ["mse", "gaussian_nll", "student_t", "quantile"])
def test_intervals_hold_the_truth_as_often_as_they_promise(error: str) -> None:
    held, head = [], HeadConfig(loss=error)
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        spread = draw.uniform(0.5, 3, (240, 1))
        truth = draw.standard_t(3, (240, 1)) * spread
        steps = {"quantile": [-1.0, 0.1, 0.4], "mse": [0.3]}.get(error, [0.3, 1.0, 3.0])
        parts = np.concatenate([spread * step for step in steps], axis=1)[:, None, :]
        edges = compute_reference_bounds(parts, head, mean=0.0, spread=1.0)
        margin = fit_conformal_quantile(compute_nonconformity(truth, edges)[:40, 0], 0.8)
        low, high = compute_interval(edges, parts[:, :, len(steps) // 2], [margin])
        held.append(((low <= truth) & (truth <= high))[40:].mean())

    assert np.mean(held) >= 0.8 - 4.75 * np.std(held) / np.sqrt(SEEDS)


@given(
    margin=st.floats(-5, 5),
    quantiles=st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(sorted),
)
def test_an_interval_holds_its_own_answer(margin: float, quantiles: list) -> None:
    parts = np.array(quantiles)[None, None, :]
    edges = compute_reference_bounds(parts, HeadConfig(loss="quantile"), mean=0.0, spread=1.0)

    low, high = compute_interval(edges, parts[:, :, 1], [margin])

    assert low[0, 0] <= quantiles[1] <= high[0, 0]


def test_a_class_that_training_never_showed_widens_the_sets() -> None:
    known = np.linspace(0.5, 1, 95)

    narrow = fit_probability_threshold(known, 0.9)
    wide = fit_probability_threshold(np.concatenate([known, np.zeros(15)]), 0.9)

    assert narrow > 0.5
    assert wide == 0.0


def test_what_is_calibrated_answers_the_same_after_it_was_saved(tmp_path: Path) -> None:
    numbers = Calibration(
        coverage=0.8, rows=50, is_independent=True, exchangeable=False, conformal_quantiles=(0.25,)
    )
    for kind, calibration in (("category", FITTED), ("number", numbers)):
        made = bundle(kind, calibration=calibration)
        save(made, tmp_path / kind)

        again = load(tmp_path / kind)

        assert again.calibration == calibration
        assert again.predict(WAVES).equals(made.predict(WAVES))


@pytest.mark.parametrize("error", ["mse", "gaussian_nll", "quantile"])
def test_an_interval_reaches_its_margin_beyond_the_answer(error: str) -> None:
    fitted = replace(FITTED, conformal_quantiles=(0.5,))
    answers = bundle("number", error=error, calibration=fitted).predict(WAVES)

    plain = bundle("number", error=error, calibration=None).predict(WAVES)
    assert answers.columns[-3:] == ["interval_low", "interval_high", "status"]
    assert answers.select(plain.columns).equals(plain)
    assert answers["interval_low"].is_null().to_list() == [False, True, False, False]
    spread = (
        answers["standard_deviation"] if error == "gaussian_nll" else np.std([10.0, 20.0, 24.0])
    )
    low = answers["quantile_0.1"] if error == "quantile" else answers["prediction"]
    gap = (low - answers["interval_low"]).drop_nulls()
    half = pl.Series(0.5 * spread * np.ones(4)) if error != "gaussian_nll" else 0.5 * spread
    np.testing.assert_allclose(gap, half.filter(answers["prediction"].is_not_null()), rtol=1e-6)


def test_sets_are_told_in_the_order_of_the_classes_and_with_every_type() -> None:
    answers = bundle("category", calibration=replace(FITTED, probability_threshold=0.0)).predict(
        WAVES
    )
    nothing = bundle("category", calibration=FITTED).predict(WAVES.clear())

    every = ["no", "perhaps", "yes"]
    assert answers["prediction_set"].to_list() == [every, None, every, every]
    assert nothing.schema == answers.schema


def test_a_bundle_of_another_format_is_refused(tmp_path: Path) -> None:
    save(bundle("category", calibration=None), tmp_path)
    spec = json.loads((tmp_path / "bundle.json").read_text(encoding="utf-8"))
    (tmp_path / "bundle.json").write_text(json.dumps(spec | {"format": 2}), encoding="utf-8")

    with pytest.raises(BundleError, match="has format 2, this version reads 1"):
        load(tmp_path)


def test_a_damaged_calibration_is_refused(tmp_path: Path) -> None:
    save(bundle("category", calibration=FITTED), tmp_path)
    (tmp_path / "calibration.json").write_text('{"conformal_quantiles": 3}', encoding="utf-8")

    with pytest.raises(BundleError, match=r"damaged calibration\.json"):
        load(tmp_path)


def test_a_confidence_that_promises_nothing_or_all_is_refused() -> None:
    for confidence in (0.2, 1.0):
        with pytest.raises(ValueError, match="interval_coverage"):
            HeadConfig(interval_coverage=confidence)
