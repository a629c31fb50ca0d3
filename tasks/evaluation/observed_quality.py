"""The quality of predictions whose targets have become known.

Only rows that the version was not trained on count.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.evaluation.predictions import ForecastScale, Predictions
from models.features.config import SELF_SUPERVISED
from models.features.featurizer import Featurizer
from models.features.target import read_numbers
from tasks.dataset.labels import TestRows, encode_tags
from tasks.facts import QualityFacts
from tasks.gate.comparison import GateConfig, choose_metric, score_metrics
from tasks.prediction.predict import IN_TRAINING, OK, TARGET
from tasks.prediction.test_predictions import (
    build_column_scales,
    pair_with_targets,
    read_forecast_lists,
)

MAX_ROWS = 200_000
"""Predictions that are scored, the last ones; more would hardly change the scores."""

_MIN_ROWS = 2


def score_dataset(work: Path, featurizer: Featurizer, gate: GateConfig) -> QualityFacts | None:
    """Score the predictions of a dataset; None where none can be scored.

    Those of a forecast are written step by step, and scored by the monitor instead.
    """
    parts = pl.scan_parquet(work / "part-*.parquet")
    names = parts.collect_schema().names()
    if featurizer.target.kind == "forecast" or TARGET not in names or IN_TRAINING not in names:
        return None
    is_valid = pl.col(TARGET).is_not_null() & ~pl.col(IN_TRAINING) & (pl.col("status") == OK)
    rows = parts.filter(is_valid).tail(MAX_ROWS).collect(engine="streaming")
    return score_predictions(rows, featurizer, gate)


def score_predictions(
    predictions: pl.DataFrame, featurizer: Featurizer, gate: GateConfig
) -> QualityFacts | None:
    """Score predictions by every metric, with intervals; None where there are too few."""
    if len(predictions) < _MIN_ROWS:
        return None
    by_time = featurizer.split.by == "time"
    return QualityFacts(
        metric=choose_metric(gate, featurizer.target.kind),
        rows=len(predictions),
        scores=score_metrics(_pair_rows(predictions, featurizer), gate, by_time=by_time),
    )


def _pair_rows(table: pl.DataFrame, featurizer: Featurizer) -> Predictions:
    """Pair predictions with their targets; self-supervised ones have none.

    Metrics of a forecast that need the series' own past are NaN.
    """
    rows, target = np.arange(len(table)), featurizer.target
    targets = np.zeros(len(rows))
    if target.kind not in SELF_SUPERVISED:
        targets = _encode_targets(table, featurizer)
    scale: ForecastScale = np.full(len(rows), np.nan)
    if target.parts:
        entity = featurizer.layout.entity if target.is_scaled_per_entity else None
        unknown_RK = np.full((len(rows), len(target.parts)), np.nan)
        scale = build_column_scales(target, table[entity] if entity else None, unknown_RK)
    return pair_with_targets(table, TestRows(rows, rows, targets, None), featurizer, scale)


def _encode_targets(table: pl.DataFrame, featurizer: Featurizer) -> Any:  # noqa: ANN401 - by the kind
    """Encode the targets in the form in which predictions are scored."""
    target, window = featurizer.target, featurizer.layout.window
    if target.parts and window:
        return read_forecast_lists(table, TARGET, target, window.horizon * len(target.parts))
    column = table[TARGET]
    if target.kind == "category":
        return np.nan_to_num(target.encode(column).astype(np.float64), nan=-1.0)
    if target.kind == "number":
        return read_numbers(column)
    if target.kind == "forecast":
        return np.array(column.to_list(), np.float64)
    if target.kind == "tags":
        return encode_tags(column, target)
    return column.cast(pl.String)
