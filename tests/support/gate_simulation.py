"""Predictions of two equally good models, drawn at random: each promotion is an error."""

from collections.abc import Callable

import numpy as np

from models.evaluation.predictions import SinglePredictions
from tasks.gate.comparison import Comparison, Gain, GateConfig, measure_gain
from tasks.gate.rules import Evidence, Verdict, apply_rules

Draw = np.random.Generator
Pair = tuple[SinglePredictions, SinglePredictions]

UNEVEN_SHARES = np.array([0.55, 0.30, 0.08, 0.04, 0.03])
EVEN_SHARES = np.full(4, 0.25)

AHEAD = Gain("majority", False, 1, 1.0, 1.0, 1.0, 1.0, 0.0)


def simulate_classifiers(
    draw: Draw, rows: int, shares: np.ndarray, *, skill: float, better: float = 0.0
) -> Pair:
    """Draw predictions of two models that see one signal with different noise.

    The first sees it with `skill + better`, the second with `skill`.
    """
    codes, targets = np.arange(len(shares)), draw.choice(len(shares), rows, p=shares)
    common_noise = 0.7 * draw.normal(size=(rows, len(shares)))
    predictions = []
    for signal in (skill + better, skill):
        logits = signal * (codes == targets[:, None]) + common_noise + np.log(shares)
        logits += 0.7 * draw.normal(size=logits.shape)
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        target_probabilities = probabilities[np.arange(rows), targets]
        best = probabilities.argmax(axis=1).astype(float)
        predictions.append(
            SinglePredictions(
                targets.astype(float), best, target_probabilities, len(shares), probabilities
            )
        )
    return predictions[0], predictions[1]


def simulate_regressors(rows: int, noise: Callable[[], np.ndarray]) -> Pair:
    """Draw predictions of two models whose errors are correlated with 0.5."""
    targets, no_probabilities, common_noise = np.zeros(rows), np.full(rows, np.nan), noise()
    one, other = (targets + 0.7 * common_noise + 0.7 * noise() for _ in range(2))
    return SinglePredictions(targets, one, no_probabilities, 0), SinglePredictions(
        targets, other, no_probabilities, 0
    )


def draw_autocorrelated_errors(draw: Draw, rows: int, memory: float) -> np.ndarray:
    """Draw errors of a first-order autoregressive process with the coefficient `memory`."""
    errors = draw.normal(size=rows)
    for step in range(1, rows):
        errors[step] += memory * errors[step - 1]
    return errors


EQUAL_PAIRS: dict[str, tuple[str, Callable[[Draw, int], Pair]]] = {
    "accuracy, 4 classes": (
        "accuracy",
        lambda d, n: simulate_classifiers(d, n, EVEN_SHARES, skill=1.5),
    ),
    "macro F1, 4 classes": (
        "macro_f1",
        lambda d, n: simulate_classifiers(d, n, EVEN_SHARES, skill=1.5),
    ),
    "macro F1, rare classes": (
        "macro_f1",
        lambda d, n: simulate_classifiers(d, n, UNEVEN_SHARES, skill=2.5),
    ),
    "balanced accuracy, rare": (
        "balanced_accuracy",
        lambda d, n: simulate_classifiers(d, n, UNEVEN_SHARES, skill=2.5),
    ),
    "log loss, 4 classes": (
        "log_loss",
        lambda d, n: simulate_classifiers(d, n, EVEN_SHARES, skill=1.5),
    ),
    "AUROC, 4 classes": ("auroc", lambda d, n: simulate_classifiers(d, n, EVEN_SHARES, skill=1.5)),
    "MAE, normal errors": ("mae", lambda d, n: simulate_regressors(n, lambda: d.normal(size=n))),
    "MAE, heavy tails": ("mae", lambda d, n: simulate_regressors(n, lambda: d.standard_t(2.2, n))),
    "RMSE, heavy tails": (
        "rmse",
        lambda d, n: simulate_regressors(n, lambda: d.standard_t(2.2, n)),
    ),
    "MAE by time, memory 0.5": (
        "mae",
        lambda d, n: simulate_regressors(n, lambda: draw_autocorrelated_errors(d, n, 0.5)),
    ),
    "MAE by time, memory 0.9": (
        "mae",
        lambda d, n: simulate_regressors(n, lambda: draw_autocorrelated_errors(d, n, 0.9)),
    ),
}
"""Metric and drawing function of each case; "by time" resamples blocks of neighbors."""


def decide_pair(pair: Pair, gate: GateConfig, metric: str, *, by_time: bool = False) -> Verdict:
    """Return the gate's verdict on the first as the challenger of the second."""
    comparison = Comparison("champion v1", True, *pair)
    gain = measure_gain(comparison, gate, metric=metric, by_time=by_time)
    evidence = Evidence(AHEAD, gain, "champion v1", len(pair[0]), 0)
    return apply_rules(evidence, gate, metric)


def count_promotions(case: str, rows: int, *, trials: int, gate: GateConfig) -> int:
    """Return how many of `trials` equally good challengers the gate promotes."""
    metric, draw_pair = EQUAL_PAIRS[case]
    verdicts = (
        decide_pair(
            draw_pair(np.random.default_rng(trial), rows), gate, metric, by_time="time" in case
        )
        for trial in range(trials)
    )
    return sum(verdict.decision == "promote" for verdict in verdicts)
