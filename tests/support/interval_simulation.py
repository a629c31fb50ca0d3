"""Predictions of two equally good models, of every kind: how often do intervals cover the truth?"""

from collections.abc import Callable

import numpy as np

from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    TagPredictions,
)
from tests.support.gate_simulation import draw_autocorrelated_errors, simulate_classifiers
from tests.support.sample_predictions import make_numbers

Pair = tuple[Predictions, Predictions]

_WORDS = np.array(["a", "b", "of", "the", "on", "cat"])


def draw_classes(draw: np.random.Generator, rows: int) -> Pair:
    return simulate_classifiers(draw, rows, np.full(6, 1 / 6), skill=1.5)


def draw_numbers(draw: np.random.Generator, rows: int) -> Pair:
    targets, common = draw.normal(6, 1, rows), draw.normal(size=rows)
    one, other = (targets + 0.5 * common + 0.5 * draw.normal(size=rows) for _ in range(2))
    return make_numbers(targets, one), make_numbers(targets, other)


def draw_tags(draw: np.random.Generator, rows: int) -> Pair:
    targets = draw.random((rows, 4)) < 0.4
    targets[:, -1] = False
    one, other = (targets ^ (draw.random((rows, 4)) < 0.15) for _ in range(2))
    return TagPredictions(targets, one), TagPredictions(targets, other)


def draw_forecasts(draw: np.random.Generator, rows: int) -> Pair:
    targets_RT, scale_R = draw.normal(6, 1, (rows, 3)), 0.5 + draw.random(rows)

    def forecast() -> Predictions:
        center_RT = targets_RT + draw.normal(0, 0.5, (rows, 1)) + draw.normal(0, 0.5, (rows, 3))
        reach_R1 = draw.uniform(0.5, 1.1, (rows, 1))
        quantiles = (center_RT - reach_R1, center_RT, center_RT + reach_R1)
        steps = ForecastSteps(targets_RT, center_RT, quantiles, (0.1, 0.5, 0.9))
        return summarize_forecasts(steps, scale_R)

    return forecast(), forecast()


def draw_texts(draw: np.random.Generator, rows: int) -> Pair:
    targets = draw.choice(_WORDS, (rows, 6))

    def read() -> Predictions:
        is_wrong = draw.random((rows, 6)) < 0.12
        texts = np.where(is_wrong, draw.choice(_WORDS, (rows, 6)), targets)
        return compare_texts(*([" ".join(row) for row in words] for words in (targets, texts)))

    return read(), read()


def draw_masked_steps(draw: np.random.Generator, rows: int) -> Pair:
    baseline = 1 + draw.random(rows)
    one, other = (
        SelfSupervisedErrors(baseline * draw.gamma(2, 0.25, rows), baseline) for _ in range(2)
    )
    return one, other


PAIRS: dict[str, Callable[[np.random.Generator, int], Pair]] = {
    "category": draw_classes,
    "number": draw_numbers,
    "tags": draw_tags,
    "forecast": draw_forecasts,
    "text": draw_texts,
    "next_step": draw_masked_steps,
}
"""By kind of target: draws so many rows, with the predictions of two models of equal skill."""


def draw_numbers_in_time(draw: np.random.Generator, rows: int) -> Pair:
    """Draw numbers whose errors depend on those of the rows before."""
    targets = draw.normal(6, 1, rows)
    one, other = (targets + draw_autocorrelated_errors(draw, rows, 0.5) for _ in range(2))
    return make_numbers(targets, one), make_numbers(targets, other)
