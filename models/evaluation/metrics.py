"""Metrics of classes and of numbers, cheap enough to be computed on thousands of resamples.

Answers are held as numbers: codes of classes (-1 for one that training never showed), or values
in the target's own unit. Shapes: R rows, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """The truth and what was answered, row by row."""

    truth_R: Floats
    answer_R: Floats
    """NaN where no answer was given."""
    chance_R: Floats
    """Probability that was given to the true class; all NaN for numbers."""
    classes: int
    """Classes that training showed; 0 for a number."""

    def pick(self, rows: NDArray[Any]) -> "Answers":
        """Take these rows, with repetition where an index repeats."""
        return Answers(self.truth_R[rows], self.answer_R[rows], self.chance_R[rows], self.classes)


def confusion(answers: Answers) -> NDArray[np.int64]:
    """Count true class by answered class, [K + 1, K + 1]; the last is unseen or unanswered."""
    size = answers.classes + 1
    truth = np.where(answers.truth_R < 0, answers.classes, answers.truth_R)
    answer = np.where(np.isnan(answers.answer_R), answers.classes, answers.answer_R)
    cells = truth.astype(np.int64) * size + answer.astype(np.int64)
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def accuracy(answers: Answers) -> float:
    """Share of rows answered right; an unanswered row or an unseen class is wrong."""
    return float((answers.truth_R == answers.answer_R).mean())


def balanced_accuracy(answers: Answers) -> float:
    """Mean recall over the classes that occur in these rows."""
    counts = confusion(answers)
    present = counts.sum(axis=1) > 0
    right = np.diag(counts).astype(float)
    right[-1] = 0.0
    return float((right[present] / counts.sum(axis=1)[present]).mean())


def macro_f1(answers: Answers) -> float:
    """Mean F1 over the classes that occur as truth or as answer."""
    counts = confusion(answers)
    right = np.diag(counts).astype(float)
    right[-1] = 0.0
    either = counts.sum(axis=0) + counts.sum(axis=1)
    seen = either > 0
    if counts[-1].sum() == 0:
        seen[-1] = False
    return float((2 * right[seen] / either[seen]).mean())


def log_loss(answers: Answers) -> float:
    """Mean negative logarithm of the true class's probability, in nats."""
    return float(-np.log(np.clip(np.nan_to_num(answers.chance_R), 1e-15, 1.0)).mean())


def mae(answers: Answers) -> float:
    """Mean absolute error, in the target's unit."""
    return float(np.abs(residuals(answers)).mean())


def rmse(answers: Answers) -> float:
    """Root of the mean squared error, in the target's unit."""
    return float(np.sqrt((residuals(answers) ** 2).mean()))


def r2(answers: Answers) -> float:
    """Share of the variance that is explained; 0 for their mean, or where there is no variance."""
    spread = ((answers.truth_R - answers.truth_R.mean()) ** 2).sum()
    if np.ptp(answers.truth_R) == 0.0 or spread < np.finfo(np.float64).tiny:
        return 0.0
    return float(1.0 - (residuals(answers) ** 2).sum() / spread)


def residuals(answers: Answers) -> Floats:
    """Truth minus answer; an unanswered row counts as answered by the mean of the truth."""
    missing = np.isnan(answers.answer_R)
    filled = np.where(missing, answers.truth_R.mean(), answers.answer_R)
    return np.asarray(answers.truth_R - filled)


CATEGORY: dict[str, Callable[[Answers], float]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
}

NUMBER: dict[str, Callable[[Answers], float]] = {"mae": mae, "rmse": rmse, "r2": r2}

LOWER_IS_BETTER = {"log_loss", "mae", "rmse"}


def metrics_for(classes: int) -> dict[str, Callable[[Answers], float]]:
    """Choose the metrics of the target's kind."""
    return CATEGORY if classes else NUMBER


def score(answers: Answers) -> dict[str, float]:
    """Compute every metric of the target's kind."""
    return {name: metric(answers) for name, metric in metrics_for(answers.classes).items()}
