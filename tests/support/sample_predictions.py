"""Predictions with their targets, given or drawn at random, for tests of metrics."""

import numpy as np

from models.evaluation.baselines.single import (
    choose_likeliest_class,
)
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TagPredictions,
)


def make_classes(targets, predictions, num_classes: int = 4, probability=None) -> SinglePredictions:
    """Return predicted classes; by default a correct one has probability 0.9, a wrong one 0.1."""
    if probability is None:
        probability = np.where(np.asarray(targets) == np.asarray(predictions), 0.9, 0.1)
    return SinglePredictions(
        np.asarray(targets, float), np.asarray(predictions, float), probability, num_classes
    )


def make_numbers(targets, predictions) -> SinglePredictions:
    """Return predicted numbers."""
    nothing = np.full(len(targets), np.nan)
    return SinglePredictions(np.asarray(targets, float), np.asarray(predictions, float), nothing, 0)


def draw_class_predictions(
    rng: np.random.Generator, rows: int, num_classes: int
) -> SinglePredictions:
    """Predictions better than chance, with some tied probabilities."""
    targets = rng.integers(0, num_classes, rows)
    weights = rng.integers(1, 6, (rows, num_classes)) + 3.0 * (
        np.arange(num_classes) == targets[:, None]
    )
    return choose_likeliest_class(
        weights / weights.sum(axis=1, keepdims=True), targets.astype(float)
    )


def draw_predictions(kind: str, seed: int, rows: int = 40) -> Predictions:
    """Predictions of a kind, good and bad ones."""
    rng = np.random.default_rng(seed)
    if kind == "category":
        return draw_class_predictions(rng, rows, 5)
    if kind == "number":
        targets = rng.normal(3, 2, rows)
        return SinglePredictions(targets, targets + rng.normal(size=rows), np.full(rows, np.nan), 0)
    if kind == "tags":
        return TagPredictions(*(rng.random((2, rows, 4)) < 0.4))
    if kind == "forecast":
        targets = rng.normal(5, 1, (rows, 3))
        targets[rng.random(targets.shape) < 0.1] = np.nan
        predicted = rng.normal(5, 1, (rows, 3))
        return summarize_forecasts(
            ForecastSteps(
                targets, predicted, (predicted - 1, predicted, predicted + 1), (0.1, 0.5, 0.9)
            ),
            rng.random(rows),
        )
    if kind == "text":
        words = np.array(["a", "b", "of", "the", "."])
        pairs = [[" ".join(rng.choice(words, 6)) for _ in range(rows)] for _ in range(2)]
        return compare_texts(*pairs)
    return SelfSupervisedErrors(rng.random(rows), rng.random(rows))
