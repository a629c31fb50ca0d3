"""The metrics of each kind of target, with their units and their direction."""

from collections.abc import Sequence

import numpy as np

from models.evaluation.metrics.additive import Metric
from models.evaluation.metrics.classification import (
    accuracy,
    balanced_accuracy,
    hamming_loss,
    log_loss,
    macro_f1,
    mcc,
    micro_f1,
    tag_exact_match,
    tag_macro_f1,
    tag_micro_f1,
    top_3_accuracy,
    weighted_f1,
)
from models.evaluation.metrics.ranking import auroc, average_precision
from models.evaluation.metrics.regression import (
    bleu,
    character_error_rate,
    coverage,
    forecast_mae,
    forecast_mse,
    forecast_rmse,
    mae,
    mape,
    mase,
    pinball,
    r2,
    rmse,
    smape,
    text_exact_match,
    unexplained_variance,
    width,
    word_error_rate,
)
from models.evaluation.predictions import Predictions
from models.features.config import TargetKind

_CATEGORY_METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "micro_f1": micro_f1,
    "weighted_f1": weighted_f1,
    "mcc": mcc,
    "log_loss": log_loss,
    "auroc": auroc,
    "average_precision": average_precision,
    "top_3_accuracy": top_3_accuracy,
}

_SELF_SUPERVISED_METRICS: dict[str, Metric] = {"unexplained_variance": unexplained_variance}

METRICS: dict[TargetKind, dict[str, Metric]] = {
    "category": _CATEGORY_METRICS,
    "number": {"mae": mae, "rmse": rmse, "r2": r2, "mape": mape},
    "tags": {
        "macro_f1": tag_macro_f1,
        "micro_f1": tag_micro_f1,
        "exact_match": tag_exact_match,
        "hamming_loss": hamming_loss,
    },
    "forecast": {
        "mae": forecast_mae,
        "rmse": forecast_rmse,
        "mse": forecast_mse,
        "smape": smape,
        "mase": mase,
        "pinball": pinball,
        "coverage": coverage,
        "width": width,
    },
    "text": {
        "character_error_rate": character_error_rate,
        "word_error_rate": word_error_rate,
        "exact_match": text_exact_match,
        "bleu": bleu,
    },
    "next_step": _SELF_SUPERVISED_METRICS,
    "reconstruction": _SELF_SUPERVISED_METRICS,
}
"""The first metric of each kind is its default, except for a category: macro_f1."""

LOWER_IS_BETTER = {
    "log_loss", "mae", "rmse", "mse", "mape", "hamming_loss", "smape", "mase", "pinball",
    "character_error_rate", "word_error_rate", "unexplained_variance",
}  # fmt: skip

DESCRIPTIVE_METRICS = ("coverage", "width")
"""Metrics of which neither a higher nor a lower value is better in itself."""

_UNITS = {"log_loss": "nats", "mape": "%", "smape": "% (0 to 200)", "bleu": "points (0 to 100)",
          "mse": "variances of each column"}  # fmt: skip

_HIGHEST_SCORES = {"bleu": 100.0}
"""Of metrics of which a higher value is better, where it is not 1."""

_IN_TARGET_UNITS = ("mae", "rmse", "pinball", "width")


def get_metric_units(kind: TargetKind, columns: Sequence[str]) -> dict[str, str]:
    """Return the unit of each metric of a kind; empty for shares and correlations.

    Args:
        kind: of the target.
        columns: with the target; errors of several are in standard deviations.
    """
    unit = f"unit of {', '.join(columns)}"
    if len(columns) > 1:
        unit = f"standard deviations, mean over {len(columns)} columns"
    target_units = dict.fromkeys(_IN_TARGET_UNITS, unit)
    return {name: (_UNITS | target_units).get(name, "") for name in METRICS[kind]}


def get_metric_sign(metric: str) -> float:
    """Return 1 where a higher value is better, -1 where a lower one is."""
    return -1.0 if metric in LOWER_IS_BETTER else 1.0


def get_best_score(metric: str) -> float:
    """Return the score of predictions without any error."""
    return 0.0 if metric in LOWER_IS_BETTER else _HIGHEST_SCORES.get(metric, 1.0)


def compute_metrics(predictions: Predictions) -> dict[str, float]:
    """Compute every metric of the predictions' kind; undefined ones are left out."""
    values = {name: metric(predictions) for name, metric in METRICS[predictions.kind].items()}
    return {name: value for name, value in values.items() if not np.isnan(value)}
