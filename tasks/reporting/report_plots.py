"""The plots of a report: those that fit the kind of target."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from models.evaluation.metrics.classification import build_confusion_table, count_tags
from models.evaluation.predictions import (
    ForecastPredictions,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TagPredictions,
    TextPredictions,
)
from models.features.featurizer import Featurizer
from tasks.dataset.labels import TestRows
from tasks.report_record import ReportRecord
from tasks.reporting.plots import (
    draw_bars,
    draw_confusion,
    draw_forecasts,
    draw_histogram,
    draw_learning_curve,
    draw_predictions,
)

MAX_TEXTS = 50
"""Predicted texts that are written to a file with their targets."""


def draw_plots(
    folder: Path,
    report: ReportRecord,
    challenger: Predictions,
    *,
    prediction_table: pl.DataFrame,
    test: TestRows,
    featurizer: Featurizer,
) -> None:
    """Draw the learning curve and the predictions, as PNG files for MLflow and the page."""
    draw_learning_curve(report.history, folder / "learning_curve.png")
    name = featurizer.target.column
    if isinstance(challenger, SinglePredictions):
        _draw_single(folder, challenger, featurizer)
    if isinstance(challenger, TagPredictions):
        _draw_tags(folder, challenger, featurizer)
    if isinstance(challenger, ForecastPredictions):
        draw_forecasts(challenger.steps, name, folder / "forecasts.png")
    if isinstance(challenger, SelfSupervisedErrors):
        draw_histogram(challenger.error_R, "error of a sequence", folder / "errors.png")
    if isinstance(challenger, TextPredictions):
        shown = pl.DataFrame({"target": test.targets, "prediction": prediction_table["prediction"]})
        pairs = shown.head(MAX_TEXTS).to_dicts()
        text = json.dumps(pairs, indent=2, ensure_ascii=False)
        (folder / "texts.json").write_text(text, encoding="utf-8")


def _draw_tags(folder: Path, challenger: TagPredictions, featurizer: Featurizer) -> None:
    """Draw the F1 of each label."""
    right_K, either_K = count_tags(challenger)
    scores_K = np.divide(2 * right_K, either_K, out=np.zeros_like(right_K), where=either_K > 0)
    names = [str(label) for label in featurizer.target.classes]
    draw_bars(dict(zip(names, scores_K[:-1], strict=True)), "F1", folder / "tags.png")


def _draw_single(folder: Path, challenger: SinglePredictions, featurizer: Featurizer) -> None:
    """Draw the confusion of classes, or predicted numbers over their targets."""
    if not challenger.classes:
        name, path = featurizer.target.column, folder / "predictions.png"
        draw_predictions(challenger.target_R, challenger.prediction_R, name, path)
        return
    names, counts = build_confusion_table(challenger, featurizer.target.classes)
    draw_confusion(counts, names, folder / "confusion.png")
