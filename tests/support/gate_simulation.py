"""Answers of two equally good models, drawn at random: who is promoted is so wrongly."""

from collections.abc import Callable

import numpy as np

from models.evaluation.predictions import Answers
from tasks.gate.comparison import Gain, GateConfig, Rival, gain_over
from tasks.gate.rules import Evidence, Verdict, judge

Draw = np.random.Generator
Pair = tuple[Answers, Answers]

RARE = np.array([0.55, 0.30, 0.08, 0.04, 0.03])
EVEN = np.full(4, 0.25)

AHEAD = Gain("majority", False, 1, 1.0, 1.0, 1.0)


def classified(
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
        told.append(Answers(truth.astype(float), best, right, len(shares), chances))
    return told[0], told[1]


def measured(rows: int, noise: Callable[[], np.ndarray]) -> Pair:
    """Two models whose errors have a part in common."""
    truth, nothing, shared = np.zeros(rows), np.full(rows, np.nan), noise()
    one, other = (truth + 0.7 * shared + 0.7 * noise() for _ in range(2))
    return Answers(truth, one, nothing, 0), Answers(truth, other, nothing, 0)


def follows(draw: Draw, rows: int, memory: float) -> np.ndarray:
    """Errors of which each remembers the one before."""
    errors = draw.normal(size=rows)
    for step in range(1, rows):
        errors[step] += memory * errors[step - 1]
    return errors


EQUALS: dict[str, tuple[str, Callable[[Draw, int], Pair]]] = {
    "accuracy, 4 classes": ("accuracy", lambda d, n: classified(d, n, EVEN, skill=1.5)),
    "macro F1, 4 classes": ("macro_f1", lambda d, n: classified(d, n, EVEN, skill=1.5)),
    "macro F1, rare classes": ("macro_f1", lambda d, n: classified(d, n, RARE, skill=2.5)),
    "balanced accuracy, rare": (
        "balanced_accuracy",
        lambda d, n: classified(d, n, RARE, skill=2.5),
    ),
    "log loss, 4 classes": ("log_loss", lambda d, n: classified(d, n, EVEN, skill=1.5)),
    "AUROC, 4 classes": ("auroc", lambda d, n: classified(d, n, EVEN, skill=1.5)),
    "MAE, normal errors": ("mae", lambda d, n: measured(n, lambda: d.normal(size=n))),
    "MAE, heavy tails": ("mae", lambda d, n: measured(n, lambda: d.standard_t(2.2, n))),
    "RMSE, heavy tails": ("rmse", lambda d, n: measured(n, lambda: d.standard_t(2.2, n))),
    "MAE by time, memory 0.5": ("mae", lambda d, n: measured(n, lambda: follows(d, n, 0.5))),
    "MAE by time, memory 0.9": ("mae", lambda d, n: measured(n, lambda: follows(d, n, 0.9))),
}
"""Metric and maker of each case; `by time` is resampled in runs of neighbours."""


def decided(pair: Pair, gate: GateConfig, metric: str, *, by_time: bool = False) -> Verdict:
    """Let the gate judge the first of two as the challenger of the second."""
    rival = Rival("champion v1", True, *pair)
    gain = gain_over(rival, gate, metric=metric, by_time=by_time)
    evidence = Evidence(AHEAD, gain, "champion v1", len(pair[0]), 0)
    return judge(evidence, gate, metric)


def promoted(case: str, rows: int, *, trials: int, gate: GateConfig) -> int:
    """Count how many equal challengers are promoted."""
    metric, make = EQUALS[case]
    verdicts = (
        decided(make(np.random.default_rng(trial), rows), gate, metric, by_time="time" in case)
        for trial in range(trials)
    )
    return sum(verdict.decision == "promote" for verdict in verdicts)
