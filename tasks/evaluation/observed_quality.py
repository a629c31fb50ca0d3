"""How good answers were, where the truth has come to be known.

Only rows that the version has not learned from count.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.evaluation.predictions import Judged
from models.features.config import MINED
from models.features.featurizer import Featurizer
from models.features.target import Target, to_numbers
from tasks.dataset.labels import TestRows, held_labels
from tasks.gate.comparison import GateConfig, metric_name, score_card
from tasks.prediction.predict import LEARNED, OK, TRUTH
from tasks.prediction.test_predictions import judged

MOST_ROWS = 200_000
"""Answers that are judged, the last ones; more would tell the same."""

LEAST_ROWS = 2


def quality_of(work: Path, featurizer: Featurizer, gate: GateConfig) -> dict[str, Any] | None:
    """Score the answers of a dataset; None where none can be.

    Forecasts are told step by step and judged by the monitor.
    """
    lines = pl.scan_parquet(work / "part-*.parquet")
    names = lines.collect_schema().names()
    if TRUTH not in names or LEARNED not in names or featurizer.target.kind == "forecast":
        return None
    fair = lines.filter(pl.col(TRUTH).is_not_null() & ~pl.col(LEARNED) & (pl.col("status") == OK))
    return judge_answers(fair.tail(MOST_ROWS).collect(engine="streaming"), featurizer, gate)


def judge_answers(
    answered: pl.DataFrame, featurizer: Featurizer, gate: GateConfig
) -> dict[str, Any] | None:
    """Score answers beside their truth by every metric, with intervals; None of too few."""
    if len(answered) < LEAST_ROWS:
        return None
    by_time = featurizer.split.by == "time"
    card = score_card(judged_rows(answered, featurizer), gate, by_time=by_time)
    return {
        "metric": metric_name(gate, featurizer.target.kind),
        "rows": len(answered),
        "scores": card,
    }


def judged_rows(answered: pl.DataFrame, featurizer: Featurizer) -> Judged:
    """Put answers beside their truth; what is mined has none.

    Of forecasts nothing is told that needs the series' own past.
    """
    rows, target = np.arange(len(answered)), featurizer.target
    truth = np.zeros(len(rows)) if target.kind in MINED else truth_of(answered[TRUTH], target)
    scale = np.full(len(rows), np.nan)
    return judged(answered, TestRows(rows, rows, truth, None), featurizer, scale)


def truth_of(column: pl.Series, target: Target) -> Any:  # noqa: ANN401 - by the kind
    """Give the truth in the form in which answers are judged."""
    if target.kind == "category":
        return np.nan_to_num(target.encode(column).astype(np.float64), nan=-1.0)
    if target.kind == "number":
        return to_numbers(column)
    if target.kind == "forecast":
        return np.array(column.to_list(), np.float64)
    if target.kind == "tags":
        return held_labels(column, target)
    return column.cast(pl.String)
