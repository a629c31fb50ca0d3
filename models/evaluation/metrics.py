"""Metrics of answers, cheap enough to be computed on thousands of resamples.

Shapes: R rows, K classes or labels, T steps of a forecast, Q quantiles.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.judged import Answers, Floats, Forecasts, Judged, Mined, Tags, Texts
from models.features import Answer


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


def tag_counts(tags: Tags) -> tuple[Floats, Floats]:
    """Count of each label how often it was found, and how often it was said or true."""
    right_K = (tags.truth_RK & tags.answer_RK).sum(axis=0).astype(np.float64)
    either_K = (tags.truth_RK.sum(axis=0) + tags.answer_RK.sum(axis=0)).astype(np.float64)
    return right_K, either_K


def tag_macro_f1(tags: Tags) -> float:
    """Mean F1 over the labels that occur as truth or as answer; 1 where none does."""
    right_K, either_K = tag_counts(tags)
    seen = either_K > 0
    return float((2 * right_K[seen] / either_K[seen]).mean()) if seen.any() else 1.0


def tag_micro_f1(tags: Tags) -> float:
    """F1 of all labels together; 1 where none occurs."""
    right_K, either_K = tag_counts(tags)
    return float(2 * right_K.sum() / either_K.sum()) if either_K.any() else 1.0


def same_tags(tags: Tags) -> float:
    """Share of rows whose labels are all right, and no others."""
    return float((tags.truth_RK == tags.answer_RK).all(axis=1).mean())


def hamming_loss(tags: Tags) -> float:
    """Share of wrong decisions over rows and labels."""
    return float((tags.truth_RK != tags.answer_RK).mean())


def forecast_mae(forecasts: Forecasts) -> float:
    """Mean absolute error over rows and steps, in the target's unit."""
    return float(forecasts.absolute_R.sum() / forecasts.count_R.sum())


def forecast_rmse(forecasts: Forecasts) -> float:
    """Root of the mean squared error over rows and steps, in the target's unit."""
    return float(np.sqrt(forecasts.squared_R.sum() / forecasts.count_R.sum()))


def smape(forecasts: Forecasts) -> float:
    """Symmetric mean absolute percentage error, 0 to 200, as the M4 competition has it."""
    return float(100.0 * forecasts.share_R.sum() / forecasts.count_R.sum())


def mase(forecasts: Forecasts) -> float:
    """Mean absolute error, each row's by what the seasonal naive forecast errs in its past.

    Rows whose past never changes, or is not known, are left out (Hyndman and Koehler 2006); NaN
    where that leaves none.
    """
    known = np.isfinite(forecasts.scaled_R)
    if not known.any():
        return float("nan")
    return float(forecasts.scaled_R[known].sum() / forecasts.count_R[known].sum())


def pinball(forecasts: Forecasts) -> float:
    """Mean quantile loss over the job's quantiles; of a point, half its absolute error."""
    return float(forecasts.pinball_R.sum() / forecasts.count_R.sum())


def coverage(forecasts: Forecasts) -> float:
    """Share of the truth between the lowest and the highest quantile; NaN for a point."""
    return float(forecasts.inside_R.sum() / forecasts.count_R.sum())


def character_error_rate(texts: Texts) -> float:
    """Edits a character of the right texts."""
    return float(texts.edits_R.sum() / max(texts.characters_R.sum(), 1.0))


def word_error_rate(texts: Texts) -> float:
    """Edits a word of the right texts."""
    return float(texts.word_edits_R.sum() / max(texts.words_R.sum(), 1.0))


def same_texts(texts: Texts) -> float:
    """Share of texts that are right to the last character."""
    return float(texts.same_R.mean())


def bleu(texts: Texts) -> float:
    """BLEU of all rows together, 0 to 100 (Papineni et al. 2002), without smoothing."""
    matches_G, runs_G = texts.matches_RG.sum(axis=0), texts.runs_RG.sum(axis=0)
    if not matches_G.all():
        return 0.0
    short = min(0.0, 1.0 - texts.wanted_R.sum() / texts.written_R.sum())
    return float(100.0 * np.exp(short + np.log(matches_G / runs_G).mean()))


def unexplained(mined: Mined) -> float:
    """Give the error as a share of that of always saying the usual; unread rows count as that."""
    error_R = np.where(np.isnan(mined.error_R), mined.usual_R, mined.error_R)
    usual = np.nansum(mined.usual_R)
    return float(np.nansum(error_R) / usual) if usual > 0 else 1.0


Metric = Callable[[Any], float]

CATEGORY: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
}

MINING: dict[str, Metric] = {"unexplained": unexplained}

METRICS: dict[Answer, dict[str, Metric]] = {
    "category": CATEGORY,
    "number": {"mae": mae, "rmse": rmse, "r2": r2},
    "tags": {
        "macro_f1": tag_macro_f1,
        "micro_f1": tag_micro_f1,
        "exact_match": same_tags,
        "hamming_loss": hamming_loss,
    },
    "forecast": {
        "mae": forecast_mae,
        "rmse": forecast_rmse,
        "smape": smape,
        "mase": mase,
        "pinball": pinball,
        "coverage": coverage,
    },
    "text": {
        "character_error_rate": character_error_rate,
        "word_error_rate": word_error_rate,
        "exact_match": same_texts,
        "bleu": bleu,
    },
    "next_step": MINING,
    "reconstruction": MINING,
}
"""The first of each kind decides, where a job says nothing else; but macro_f1 for a category."""

LOWER_IS_BETTER = {
    "log_loss", "mae", "rmse", "hamming_loss", "smape", "mase", "pinball",
    "character_error_rate", "word_error_rate", "unexplained",
}  # fmt: skip


def score(judged: Judged) -> dict[str, float]:
    """Compute every metric of the answers' kind that can be told."""
    values = {name: metric(judged) for name, metric in METRICS[judged.kind].items()}
    return {name: value for name, value in values.items() if not np.isnan(value)}
