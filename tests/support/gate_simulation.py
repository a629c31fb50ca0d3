"""Answers of two equally good models, drawn at random: who is promoted is so wrongly."""

from collections.abc import Callable

import numpy as np

from models.evaluation.predictions import SinglePredictions
from tasks.gate.comparison import Comparison, Gain, GateConfig, measure_gain
from tasks.gate.rules import Evidence, Verdict, apply_rules

Draw = np.random.Generator
Pair = tuple[SinglePredictions, SinglePredictions]

RARE = np.array([0.55, 0.30, 0.08, 0.04, 0.03])
EVEN = np.full(4, 0.25)

AHEAD = Gain("majority", False, 1, 1.0, 1.0, 1.0)


def simulate_classifiers(
    draw: Draw, rows: int, shares: np.ndarray, *, skill: float, better: float = 0.0
) -> Pair:
    """Two models that see the same signal, each with noise of its own; one may see it better."""
    codes, truth = np.arange(len(shares)), draw.choice(len(shares), rows, p=shares)
    shared = 0.7 * draw.normal(size=(rows, len(shares)))
    told = []
    for seen in (skill + better, skill):
        odds = seen * (codes == truth[:, None]) + shared + np.log(shares)
        odds += 0.7 * draw.normal(size=odds.shape)
        chances = np.exp(odds - odds.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        right = chances[np.arange(rows), truth]
        best = chances.argmax(axis=1).astype(float)
        told.append(SinglePredictions(truth.astype(float), best, right, len(shares), chances))
    return told[0], told[1]


def simulate_regressors(rows: int, noise: Callable[[], np.ndarray]) -> Pair:
    """Two models whose errors have a part in common."""
    truth, nothing, shared = np.zeros(rows), np.full(rows, np.nan), noise()
    one, other = (truth + 0.7 * shared + 0.7 * noise() for _ in range(2))
    return SinglePredictions(truth, one, nothing, 0), SinglePredictions(truth, other, nothing, 0)


def draw_autocorrelated_errors(draw: Draw, rows: int, memory: float) -> np.ndarray:
    """Errors of which each remembers the one before."""
    errors = draw.normal(size=rows)
    for step in range(1, rows):
        errors[step] += memory * errors[step - 1]
    return errors


EQUAL_PAIRS: dict[str, tuple[str, Callable[[Draw, int], Pair]]] = {
    "accuracy, 4 classes": ("accuracy", lambda d, n: simulate_classifiers(d, n, EVEN, skill=1.5)),
    "macro F1, 4 classes": ("macro_f1", lambda d, n: simulate_classifiers(d, n, EVEN, skill=1.5)),
    "macro F1, rare classes": (
        "macro_f1",
        lambda d, n: simulate_classifiers(d, n, RARE, skill=2.5),
    ),
    "balanced accuracy, rare": (
        "balanced_accuracy",
        lambda d, n: simulate_classifiers(d, n, RARE, skill=2.5),
    ),
    "log loss, 4 classes": ("log_loss", lambda d, n: simulate_classifiers(d, n, EVEN, skill=1.5)),
    "AUROC, 4 classes": ("auroc", lambda d, n: simulate_classifiers(d, n, EVEN, skill=1.5)),
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
"""Metric and maker of each case; `by time` is resampled in runs of neighbours."""


def decide_pair(pair: Pair, gate: GateConfig, metric: str, *, by_time: bool = False) -> Verdict:
    """Let the gate judge the first of two as the challenger of the second."""
    rival = Comparison("champion v1", True, *pair)
    gain = measure_gain(rival, gate, metric=metric, by_time=by_time)
    evidence = Evidence(AHEAD, gain, "champion v1", len(pair[0]), 0)
    return apply_rules(evidence, gate, metric)


def count_promotions(case: str, rows: int, *, trials: int, gate: GateConfig) -> int:
    """Count how many equal challengers are promoted."""
    metric, make = EQUAL_PAIRS[case]
    verdicts = (
        decide_pair(make(np.random.default_rng(trial), rows), gate, metric, by_time="time" in case)
        for trial in range(trials)
    )
    return sum(verdict.decision == "promote" for verdict in verdicts)
