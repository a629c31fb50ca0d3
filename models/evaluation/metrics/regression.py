"""Metrics of answers that are numbers, forecasts, texts, or the errors of what is mined.

Shapes: R rows, T steps of a forecast, B resamples, F numbers that add up.
"""

import numpy as np

from models.evaluation.metrics.additive import (
    AdditiveMetric,
    Floats,
    compute_ratio,
    divide_or,
    stack_columns,
)
from models.evaluation.predictions import (
    ForecastPredictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TextPredictions,
)

NEXT_TO_ZERO = 1e-200
"""What a double can still be divided by."""


def compute_residuals(answers: SinglePredictions) -> Floats:
    """Truth minus answer; an unanswered row counts as answered by the mean of the truth."""
    missing = np.isnan(answers.prediction_R)
    filled = np.where(missing, answers.target_R.mean(), answers.prediction_R)
    return np.asarray(answers.target_R - filled)


def compute_squares(answers: SinglePredictions) -> Floats:
    """Return squared errors, and one a row."""
    return stack_columns(compute_residuals(answers) ** 2, np.ones(len(answers)))


def compute_variance_terms(answers: SinglePredictions) -> Floats:
    """Return squared errors, one a row, and the truth and its square, from a truth near its mean.

    Measured from one of the truths, equal truths are exactly zero.
    """
    target_R = answers.target_R
    centred_R = target_R - target_R[np.argmin(np.abs(target_R - target_R.mean()))]
    return stack_columns(
        compute_residuals(answers) ** 2, np.ones(len(answers)), centred_R, centred_R**2
    )


def compute_r2(sums_BF: Floats) -> Floats:
    """Share of the variance that is explained; 0 for the mean, or where there is no variance."""
    error_B, rows_B, sum_B, square_B = sums_BF.T
    spread_B = square_B - sum_B**2 / rows_B
    # What cancels leaves rounding behind.
    spread_B = np.where(spread_B > 1e-13 * square_B, spread_B, 0.0)
    known_B = spread_B > np.finfo(np.float64).tiny
    return np.where(known_B, 1.0 - error_B / np.where(known_B, spread_B, 1.0), 0.0)


def compute_percentage_errors(answers: SinglePredictions) -> Floats:
    """Return errors as a share of the truth; rows whose truth is zero are left out."""
    size_R = np.abs(answers.target_R)
    size_R = np.where(size_R > NEXT_TO_ZERO, size_R, 0.0)
    return stack_columns(
        divide_or(np.abs(compute_residuals(answers)), size_R, otherwise=0.0), size_R > 0
    )


mae = AdditiveMetric(
    lambda answers: stack_columns(np.abs(compute_residuals(answers)), np.ones(len(answers))),
    compute_ratio,
)
"""Mean absolute error, in the target's unit."""

rmse = AdditiveMetric(compute_squares, lambda sums_BF: np.sqrt(compute_ratio(sums_BF)))
"""Root of the mean squared error, in the target's unit."""

r2 = AdditiveMetric(compute_variance_terms, compute_r2)

mape = AdditiveMetric(compute_percentage_errors, lambda sums_BF: 100.0 * compute_ratio(sums_BF))
"""Mean absolute error in percent of the truth. It blows up where the truth is near zero, and
favours answers that are too low."""

forecast_mae = AdditiveMetric(
    lambda made: stack_columns(made.absolute_R, made.count_R), compute_ratio
)
"""Mean absolute error over rows and steps, in the target's unit."""

forecast_rmse = AdditiveMetric(
    lambda made: stack_columns(made.squared_R, made.count_R),
    lambda sums_BF: np.sqrt(compute_ratio(sums_BF)),
)
"""Root of the mean squared error over rows and steps, in the target's unit."""

smape = AdditiveMetric(
    lambda made: stack_columns(made.share_R, made.count_R),
    lambda sums_BF: 100.0 * compute_ratio(sums_BF),
)
"""Symmetric mean absolute percentage error, 0 to 200, as the M4 competition has it."""


def compute_scaled_errors(made: ForecastPredictions) -> Floats:
    """Return errors over the seasonal naive error in the row's past, where it is known."""
    known_R = np.isfinite(made.scaled_R)
    return stack_columns(
        np.where(known_R, made.scaled_R, 0.0), np.where(known_R, made.count_R, 0.0)
    )


mase = AdditiveMetric(compute_scaled_errors, compute_ratio)
"""Mean absolute error, each row's by what the seasonal naive forecast errs in its past.

Rows whose past never changes, or is not known, are left out (Hyndman and Koehler 2006); NaN
where that leaves none."""

pinball = AdditiveMetric(lambda made: stack_columns(made.pinball_R, made.count_R), compute_ratio)
"""Mean quantile loss over the job's quantiles; of a point, half its absolute error."""

coverage = AdditiveMetric(lambda made: stack_columns(made.inside_R, made.count_R), compute_ratio)
"""Share of the truth between the lowest and the highest quantile; NaN for a point."""

width = AdditiveMetric(lambda made: stack_columns(made.width_R, made.count_R), compute_ratio)
"""Mean way from the lowest quantile to the highest, in the target's unit; NaN for a point."""


def compute_edit_rate(sums_BF: Floats) -> Floats:
    """Divide edits by parts, which are one at least."""
    return np.asarray(sums_BF[:, 0] / np.maximum(sums_BF[:, 1], 1.0))


character_error_rate = AdditiveMetric(
    lambda texts: stack_columns(texts.edits_R, texts.characters_R), compute_edit_rate
)
"""Edits a character of the right texts."""

word_error_rate = AdditiveMetric(
    lambda texts: stack_columns(texts.word_edits_R, texts.words_R), compute_edit_rate
)
"""Edits a word of the right texts."""

text_exact_match = AdditiveMetric(
    lambda texts: stack_columns(texts.same_R, np.ones(len(texts))), compute_ratio
)
"""Share of texts that are right to the last character."""


def stack_ngram_counts(texts: TextPredictions) -> Floats:
    """Lay side by side what BLEU counts: matches, runs, and the words written and wanted."""
    lengths = stack_columns(texts.predicted_length_R, texts.target_length_R)
    return np.concatenate([texts.matches_RG, texts.runs_RG, lengths], axis=1)


def compute_bleu(sums_BF: Floats) -> Floats:
    """Average the shares of matches geometrically, less what too short a text costs."""
    grams = (sums_BF.shape[1] - 2) // 2
    matches_BG, runs_BG = sums_BF[:, :grams], sums_BF[:, grams : 2 * grams]
    written_B, wanted_B = sums_BF[:, -2], sums_BF[:, -1]
    whole_B = np.asarray((matches_BG > 0).all(axis=1))
    share_BG = divide_or(matches_BG, runs_BG, otherwise=0.0)
    logs_BG = np.log(np.where(whole_B[:, None], share_BG, 1.0))
    short_B = np.minimum(0.0, 1.0 - divide_or(wanted_B, written_B, otherwise=0.0))
    return np.where(whole_B, 100.0 * np.exp(short_B + logs_BG.mean(axis=1)), 0.0)


bleu = AdditiveMetric(stack_ngram_counts, compute_bleu)
"""BLEU of all rows together, 0 to 100 (Papineni et al. 2002), without smoothing."""


def compute_error_terms(mined: SelfSupervisedErrors) -> Floats:
    """Return each error, and that of always saying the usual; unread rows count as that."""
    error_R = np.where(np.isnan(mined.error_R), mined.baseline_R, mined.error_R)
    return stack_columns(np.nan_to_num(error_R), np.nan_to_num(mined.baseline_R))


unexplained_variance = AdditiveMetric(
    compute_error_terms, lambda sums_BF: divide_or(sums_BF[:, 0], sums_BF[:, 1], otherwise=1.0)
)
"""The error as a share of that of always saying the usual."""
