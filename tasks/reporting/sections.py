"""The sections of the page: each builds the variables of its template, or None to be left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from tasks.report_record import ReportRecord
from tasks.reporting import lineage_sections, score_sections
from tasks.reporting.charts import Curve, Interval, draw_curves, draw_intervals
from tasks.reporting.explanation_views import render_explanation
from tasks.reporting.formatting import format_number

Content = dict[str, Any]
"""The variables of a template."""

Lineage = Mapping[str, Any]

MAX_SLICES = 40
MAX_CLASSES = 40


class Section(NamedTuple):
    """One part of the page; its template has its key's name."""

    key: str
    title: str
    build: Callable[[ReportRecord, Lineage], Content | None]


def _build_curves(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw the loss by epoch."""
    epochs = [entry.epoch + 1 for entry in report.history]
    facts = lineage.get("training", {}).get("facts", {})
    best = facts.get("best_epoch")
    chart = draw_curves(
        [
            Curve("training", epochs, [entry.training_loss for entry in report.history], "a"),
            Curve("validation", epochs, [entry.validation_loss for entry in report.history], "b"),
        ],
        "epoch",
        "loss",
        mark=best,
    )
    return {"chart": chart, "best": best, "facts": facts} if chart else None


def _build_search(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the networks among which one was chosen."""
    del lineage
    return None if report.search is None else {"search": report.search}


def _build_confusion(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Lay out which class was predicted for which."""
    del lineage
    if report.confusion is None or not report.confusion.counts:
        return None
    counts, classes = report.confusion.counts, report.confusion.classes
    pairs = _list_confused_pairs(counts, classes)
    if len(classes) > MAX_CLASSES:
        return {"pairs": pairs, "classes": None}
    rows = [
        {
            "name": name,
            "total": sum(row),
            "cells": [
                {"count": count, "share": count / max(1, sum(row)), "right": true == predicted}
                for predicted, count in enumerate(row)
            ],
        }
        for true, (name, row) in enumerate(zip(classes, counts, strict=False))
    ]
    return {"classes": classes, "rows": rows, "pairs": pairs}


def _list_confused_pairs(
    counts: Sequence[Sequence[int]], classes: Sequence[str]
) -> list[dict[str, int | str]]:
    """List the pairs of classes that are confused most often."""
    wrong = [
        (count, classes[row], classes[column])
        for row, cells in enumerate(counts[: len(classes)])
        for column, count in enumerate(cells[: len(classes)])
        if count and row != column
    ]
    most = sorted(wrong, key=lambda pair: -pair[0])[:8]
    return [{"count": n, "target": target, "prediction": other} for n, target, other in most]


def _build_labels(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List how well each label is found."""
    del lineage
    if not report.by_label:
        return None
    rows = [asdict(each) for each in report.by_label]
    columns = [name for name in rows[0] if name != "label"]
    return {"columns": columns, "rows": rows[:MAX_CLASSES], "left": len(rows) - MAX_CLASSES}


def _build_steps(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw error and coverage of each step ahead."""
    del lineage
    if not report.steps:
        return None
    ahead = [entry.step for entry in report.steps]
    errors = [Curve("error", ahead, [entry.mae for entry in report.steps], "a")]
    chart = draw_curves(errors, "steps ahead", "mean absolute error")
    coverage = [entry.coverage for entry in report.steps if entry.coverage is not None]
    covered = None
    if len(coverage) == len(ahead):
        curves = [Curve("coverage", ahead, coverage, "b")]
        covered = draw_curves(curves, "steps ahead", "share inside the interval")
    return {"chart": chart, "covered": covered}


def _build_calibration(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw accuracy by confidence."""
    del lineage
    found = report.calibration
    if found is None:
        return None
    measured = [("before", found.before, "b"), ("after", found.after, "a")]
    curves = [Curve("perfect", [0.0, 1.0], [0.0, 1.0], "faint")]
    for name, reliability, style in measured:
        known = [
            (each.confidence, each.accuracy)
            for each in reliability.bins
            if each.confidence is not None and each.accuracy is not None
        ]
        confidence, accuracy = [each[0] for each in known], [each[1] for each in known]
        curves.append(Curve(name, confidence, accuracy, style))
    chart = draw_curves(curves, "confidence", "share that is correct", whole=False)
    return {"chart": chart, "calibration": found}


def _build_conformal(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Compare the measured coverage of sets or intervals with the nominal one."""
    del lineage
    found = report.conformal
    if found is None:
        return None
    rows = [Interval("nominal", found.confidence, None, None, "b")]
    if found.coverage is not None:
        rows.append(Interval("measured", found.coverage, found.coverage_low, found.coverage_high))
    chart = draw_intervals(rows, zero=False, label="Coverage, nominal and measured")
    return {"conformal": found, "chart": chart}


def _build_slices(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw the score of each slice of the rows."""
    del lineage
    if not report.slices:
        return None
    rows, worst = report.slices[:MAX_SLICES], report.worst_slice
    scores = [
        Interval(f"{row.by}: {row.value}", row.score, row.low, row.high)
        for row in rows
        if row.score is not None
    ]
    return {
        "chart": draw_intervals(scores, zero=False, label="Score of each slice"),
        "rows": rows,
        "left": len(report.slices) - len(rows),
        "worst": worst and f"{worst.by}: {worst.value} ({format_number(worst.score)})",
        "compared": any(row.champion is not None for row in rows),
        "metric": report.metric,
    }


def _build_leakage_checks(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List what the leakage checks found."""
    del lineage
    return {"rows": report.leakage_checks} if report.leakage_checks else None


def _build_drift(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the columns that have changed since the champion was trained."""
    del lineage
    return None if report.drift is None else {"rows": report.drift}


def _build_explanations(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Show why some rows were predicted as they were."""
    if not report.explanations:
        return None
    kind = lineage.get("features", {}).get("target", {}).get("kind", "")
    return {
        "rows": [render_explanation(each) for each in report.explanations],
        "method": report.explanations[0].method,
        "is_number": kind in {"number", "forecast"},
    }


SECTIONS = (
    Section("scores", "Scores", score_sections.build_scores),
    Section("gate", "The gate", score_sections.build_gate),
    Section("confusion", "Confusion", _build_confusion),
    Section("labels", "Labels", _build_labels),
    Section("steps", "Steps ahead", _build_steps),
    Section("calibration", "Calibration", _build_calibration),
    Section("conformal", "Coverage", _build_conformal),
    Section("slices", "Slices", _build_slices),
    Section("leakage_checks", "Leakage checks", _build_leakage_checks),
    Section("explanations", "Explanations", _build_explanations),
    Section("search", "Networks tried", _build_search),
    Section("curves", "Training", _build_curves),
    Section("data", "Data and splits", lineage_sections.build_data),
    Section("contract", "Contract", lineage_sections.build_contract),
    Section("drift", "Drift", _build_drift),
    Section("cost", "Cost", lineage_sections.build_cost),
    Section("provenance", "Provenance", lineage_sections.build_provenance),
)
