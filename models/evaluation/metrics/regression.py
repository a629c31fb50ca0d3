"""Metrics of numbers, forecasts and texts, and of self-supervised errors.

Shapes: R rows, T steps of a forecast, B resamples, F terms, G n-gram lengths.
"""

import numpy as np

from models.evaluation.metrics.additive import (
    AdditiveMetric,
    Floats,
    compute_ratio,
    divide_with_default,
    stack_columns,
)
from models.evaluation.predictions import (
    ForecastPredictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TextPredictions,
)

_MIN_DIVISOR = 1e-200
"""Smallest absolute target that a percentage error divides by."""


def _compute_residuals(predictions: SinglePredictions) -> Floats:
    """Return target minus prediction, [R]; the mean target stands for a missing prediction."""
    missing = np.isnan(predictions.prediction_R)
    filled = np.where(missing, predictions.target_R.mean(), predictions.prediction_R)
    return np.asarray(predictions.target_R - filled)


def _compute_squared_errors(predictions: SinglePredictions) -> Floats:
    """Return the squared error, and 1 for each row."""
    return stack_columns(_compute_residuals(predictions) ** 2, np.ones(len(predictions)))


def _compute_variance_terms(predictions: SinglePredictions) -> Floats:
    """Return squared error, 1, centered target and its square, [R, 4].

    The center is the target nearest to the mean, so that equal targets become exactly zero.
    """
    target_R = predictions.target_R
    centered_R = target_R - target_R[np.argmin(np.abs(target_R - target_R.mean()))]
    return stack_columns(
        _compute_residuals(predictions) ** 2, np.ones(len(predictions)), centered_R, centered_R**2
    )


def _compute_r2(sums_BF: Floats) -> Floats:
    """Share of variance explained: 1 - SSE / SST; 0 where the targets do not vary."""
    error_B, rows_B, sum_B, square_B = sums_BF.T
    variance_B = square_B - sum_B**2 / rows_B
    # The difference of nearly equal sums may be only rounding error.
    variance_B = np.where(variance_B > 1e-13 * square_B, variance_B, 0.0)
    known_B = variance_B > np.finfo(np.float64).tiny
    return np.where(known_B, 1.0 - error_B / np.where(known_B, variance_B, 1.0), 0.0)


def _compute_percentage_errors(predictions: SinglePredictions) -> Floats:
    """Return absolute errors as a share of the target; rows with a target of zero are left out."""
    size_R = np.abs(predictions.target_R)
    size_R = np.where(size_R > _MIN_DIVISOR, size_R, 0.0)
    return stack_columns(
        divide_with_default(np.abs(_compute_residuals(predictions)), size_R, default=0.0),
        size_R > 0,
    )


mae = AdditiveMetric(
    lambda predictions: stack_columns(
        np.abs(_compute_residuals(predictions)), np.ones(len(predictions))
    ),
    compute_ratio,
)
"""Mean absolute error, in the target's unit."""

rmse = AdditiveMetric(_compute_squared_errors, lambda sums_BF: np.sqrt(compute_ratio(sums_BF)))
"""Root of the mean squared error, in the target's unit."""

r2 = AdditiveMetric(_compute_variance_terms, _compute_r2)

mape = AdditiveMetric(_compute_percentage_errors, lambda sums_BF: 100.0 * compute_ratio(sums_BF))
"""Mean absolute error in percent of the target. It explodes for targets near zero, and favors
predictions that are too low."""

forecast_mae = AdditiveMetric(
    lambda forecasts: stack_columns(forecasts.absolute_error_R, forecasts.count_R), compute_ratio
)
"""Mean absolute error over rows and steps, in the target's unit; of several columns over these too,
in standard deviations of each."""

forecast_rmse = AdditiveMetric(
    lambda forecasts: stack_columns(forecasts.squared_error_R, forecasts.count_R),
    lambda sums_BF: np.sqrt(compute_ratio(sums_BF)),
)
"""Root of the mean squared error over rows and steps, in the target's unit."""


def _compute_standardized_squares(forecasts: ForecastPredictions) -> Floats:
    """Return squared errors in standard deviations, of several columns alone."""
    undefined = forecasts.steps.columns is None
    return stack_columns(
        np.full(len(forecasts), np.nan) if undefined else forecasts.squared_error_R,
        forecasts.count_R,
    )


forecast_mse = AdditiveMetric(_compute_standardized_squares, compute_ratio)
"""Mean squared error over rows, steps and columns, standardized by each column's mean and standard
deviation in training, as benchmarks of many columns state it; NaN for a single column."""

smape = AdditiveMetric(
    lambda forecasts: stack_columns(forecasts.symmetric_error_R, forecasts.count_R),
    lambda sums_BF: 100.0 * compute_ratio(sums_BF),
)
"""Symmetric mean absolute percentage error, 0 to 200, as in the M4 competition:
200 * mean(|y - f| / (|y| + |f|))."""


def _compute_scaled_errors(forecasts: ForecastPredictions) -> Floats:
    """Return errors scaled by the seasonal naive error on the row's past, where that is known."""
    known_R = np.isfinite(forecasts.scaled_error_R)
    return stack_columns(
        np.where(known_R, forecasts.scaled_error_R, 0.0), np.where(known_R, forecasts.count_R, 0.0)
    )


mase = AdditiveMetric(_compute_scaled_errors, compute_ratio)
"""Mean absolute scaled error (Hyndman and Koehler 2006): each row's error divided by the mean
absolute error of the seasonal naive forecast on its past.

That error has a floor where other series change more (`compute_naive_error`). Rows whose past is
unknown, or constant without such a floor, are left out; NaN where none is left."""

pinball = AdditiveMetric(
    lambda forecasts: stack_columns(forecasts.pinball_R, forecasts.count_R), compute_ratio
)
"""Mean quantile loss over the job's quantiles; of a point forecast half its absolute error."""

coverage = AdditiveMetric(
    lambda forecasts: stack_columns(forecasts.covered_R, forecasts.count_R), compute_ratio
)
"""Share of targets between the lowest and the highest quantile; NaN for a point forecast."""

width = AdditiveMetric(
    lambda forecasts: stack_columns(forecasts.width_R, forecasts.count_R), compute_ratio
)
"""Mean distance from the lowest to the highest quantile, in the target's unit; NaN for a point
forecast."""


def _compute_edit_rate(sums_BF: Floats) -> Floats:
    """Divide edits by the target's length, which counts as 1 at least."""
    return np.asarray(sums_BF[:, 0] / np.maximum(sums_BF[:, 1], 1.0))


character_error_rate = AdditiveMetric(
    lambda texts: stack_columns(texts.character_edits_R, texts.target_characters_R),
    _compute_edit_rate,
)
"""Edits (Levenshtein) per character of the targets."""

word_error_rate = AdditiveMetric(
    lambda texts: stack_columns(texts.word_edits_R, texts.target_words_R), _compute_edit_rate
)
"""Edits (Levenshtein) per word of the targets."""

text_exact_match = AdditiveMetric(
    lambda texts: stack_columns(texts.exact_match_R, np.ones(len(texts))), compute_ratio
)
"""Share of texts that are exactly the target."""


def _stack_ngram_counts(texts: TextPredictions) -> Floats:
    """Return BLEU's counts: matched and predicted n-grams, both texts' words, [R, 2 G + 2]."""
    lengths = stack_columns(texts.predicted_length_R, texts.target_length_R)
    return np.concatenate([texts.matched_ngrams_RG, texts.predicted_ngrams_RG, lengths], axis=1)


def _compute_bleu(sums_BF: Floats) -> Floats:
    """100 * min(1, exp(1 - target / prediction length)) * geometric mean of n-gram precisions."""
    grams = (sums_BF.shape[1] - 2) // 2
    matched_BG, predicted_BG = sums_BF[:, :grams], sums_BF[:, grams : 2 * grams]
    predicted_length_B, target_length_B = sums_BF[:, -2], sums_BF[:, -1]
    all_matched_B = np.asarray((matched_BG > 0).all(axis=1))
    precision_BG = divide_with_default(matched_BG, predicted_BG, default=0.0)
    logs_BG = np.log(np.where(all_matched_B[:, None], precision_BG, 1.0))
    log_penalty_B = np.minimum(
        0.0, 1.0 - divide_with_default(target_length_B, predicted_length_B, default=0.0)
    )
    return np.where(all_matched_B, 100.0 * np.exp(log_penalty_B + logs_BG.mean(axis=1)), 0.0)


bleu = AdditiveMetric(_stack_ngram_counts, _compute_bleu)
"""BLEU of the corpus of all rows, 0 to 100 (Papineni et al. 2002), without smoothing."""


def _compute_error_terms(errors: SelfSupervisedErrors) -> Floats:
    """Return each error, and that of predicting the mean, which also counts for unread rows."""
    error_R = np.where(np.isnan(errors.error_R), errors.baseline_R, errors.error_R)
    return stack_columns(np.nan_to_num(error_R), np.nan_to_num(errors.baseline_R))


unexplained_variance = AdditiveMetric(
    _compute_error_terms,
    lambda sums_BF: divide_with_default(sums_BF[:, 0], sums_BF[:, 1], default=1.0),
)
"""The error as a share of the error of always predicting the mean."""
