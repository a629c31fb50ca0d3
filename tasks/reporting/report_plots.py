"""The pictures of a report: what fits the kind of answer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.evaluation.metrics.by_kind import confusion_table, tag_counts
from models.evaluation.predictions import Answers, Forecasts, Judged, Mined, Tags, Texts
from models.features.featurizer import Featurizer
from tasks.dataset.labels import TestRows
from tasks.reporting.plots import (
    answers_against_truth,
    bars,
    confusion_matrix,
    forecasts,
    histogram,
    learning_curve,
)

SHOWN_TEXTS = 50
"""Texts that are written out beside the right ones."""


def draw(
    folder: Path,
    report: Mapping[str, Any],
    challenger: Judged,
    *,
    answered: pl.DataFrame,
    test: TestRows,
    featurizer: Featurizer,
) -> None:
    """Draw the learning curve and the answers."""
    learning_curve(report["history"], folder / "learning_curve.png")
    name = featurizer.target.column
    if isinstance(challenger, Answers):
        draw_single(folder, challenger, featurizer)
    if isinstance(challenger, Tags):
        draw_tags(folder, challenger, featurizer)
    if isinstance(challenger, Forecasts):
        forecasts(challenger.steps, name, folder / "forecasts.png")
    if isinstance(challenger, Mined):
        histogram(challenger.error_R, "error of a sequence", folder / "errors.png")
    if isinstance(challenger, Texts):
        shown = pl.DataFrame({"right": test.truth, "written": answered["prediction"]})
        pairs = shown.head(SHOWN_TEXTS).to_dicts()
        text = json.dumps(pairs, indent=2, ensure_ascii=False)
        (folder / "texts.json").write_text(text, encoding="utf-8")


def draw_tags(folder: Path, challenger: Tags, featurizer: Featurizer) -> None:
    """Draw how well each label is found."""
    right_K, either_K = tag_counts(challenger)
    scores_K = np.divide(2 * right_K, either_K, out=np.zeros_like(right_K), where=either_K > 0)
    names = [str(label) for label in featurizer.target.classes]
    bars(dict(zip(names, scores_K[:-1], strict=True)), "F1", folder / "tags.png")


def draw_single(folder: Path, challenger: Answers, featurizer: Featurizer) -> None:
    """Draw which class was answered for which, or numbers over the truth."""
    if not challenger.classes:
        name, path = featurizer.target.column, folder / "answers.png"
        answers_against_truth(challenger.truth_R, challenger.answer_R, name, path)
        return
    names, counts = confusion_table(challenger, featurizer.target.classes)
    confusion_matrix(counts, names, folder / "confusion.png")
