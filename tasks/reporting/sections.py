"""The sections of the report's page, in their order.

Each has a function that returns the variables of its template, or None to leave the section out.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

from markupsafe import Markup

from tasks.pretraining_record import PretrainingFacts
from tasks.report_record import ReportRecord
from tasks.reporting import lineage_sections, score_sections
from tasks.reporting.charts.axes import Axis
from tasks.reporting.charts.plots import Curve, Plot, draw_plot
from tasks.reporting.charts.rows import Interval, draw_bars, draw_intervals
from tasks.reporting.explanation_views import render_explanation
from tasks.reporting.formatting import Content, format_number
from tasks.reporting.lineage import Lineage
from tasks.reporting.plots import draw_confusion, draw_label_scores, draw_learning_curve

_MAX_SLICES = 40
_MAX_LABELS = 40


class Section(NamedTuple):
    """One section of the page."""

    key: str
    """Name of its template, and its anchor on the page."""
    title: str
    build: Callable[[ReportRecord, Lineage], Content | None]
    """Return the template's variables; None leaves the section out."""


def _build_curves(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw training and validation loss by epoch."""
    facts = lineage.candidate.facts
    chart = draw_learning_curve(report.history, facts.best_epoch)
    pretraining = facts.pretraining and _draw_pretraining(facts.pretraining)
    return {"chart": chart, "facts": facts, "pretraining": pretraining} if chart else None


def _draw_pretraining(facts: PretrainingFacts) -> Markup | None:
    """Draw the metric of pretraining on the held-out rows, by epoch."""
    epochs = [float(epoch) for epoch in range(1, len(facts.values) + 1)]
    return draw_plot(
        Plot(
            layers=[Curve("", epochs, list(facts.values), "b")],
            x_axis=Axis("epoch of pretraining", is_whole=True),
            y_axis=Axis(f"{facts.metric}, held-out rows"),
        )
    )


def _build_search(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the networks that `model: auto` tried."""
    del lineage
    return None if report.search is None else {"search": report.search}


_SELECTION_METHODS = {
    "single": "the best part alone",
    "default": "the job's own network and the branches, as without a library",
    "equal": "the best networks equally, joined with the branches",
    "greedy": "greedy selection with replacement",
}


def _build_library(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the networks and branches that an ensemble was selected from."""
    del report
    facts = lineage.candidate.facts
    if not facts.library or facts.selection is None:
        return None
    losses = sorted(facts.selection_losses.items(), key=lambda item: -item[1])
    return {
        "rows": facts.library,
        "used": sum(part.weight > 0 for part in facts.library),
        "method": _SELECTION_METHODS[facts.selection],
        "losses": [(_SELECTION_METHODS[name], loss) for name, loss in losses],
    }


def _build_confusion(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw the confusion matrix, and list the pairs of classes that are confused most often."""
    del lineage
    if report.confusion is None or not report.confusion.counts:
        return None
    counts, classes = report.confusion.counts, report.confusion.classes
    pairs = _list_confused_pairs(counts, classes)
    return {"chart": draw_confusion(report.confusion), "pairs": pairs}


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
    """Draw and list precision, recall and F1 of each label."""
    del lineage
    if not report.by_label:
        return None
    rows = [asdict(each) for each in report.by_label]
    columns = [name for name in rows[0] if name != "label"]
    return {
        "chart": draw_label_scores(report.by_label),
        "columns": columns,
        "rows": rows[:_MAX_LABELS],
        "left": len(rows) - _MAX_LABELS,
    }


def _build_columns(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the errors of each of several columns that are forecast together, and draw them."""
    del lineage
    if not report.by_column:
        return None
    rows = [asdict(each) for each in report.by_column]
    errors = {each.column: each.standardized_mae for each in report.by_column}
    return {
        "chart": draw_bars(
            errors,
            title="Standardized mean absolute error of each column on the test rows",
            x_name="mean absolute error in standard deviations",
            high=max(errors.values()),
        ),
        "columns": [name for name in rows[0] if name != "column"],
        "rows": rows[:_MAX_LABELS],
        "left": len(rows) - _MAX_LABELS,
    }


def _build_steps(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw a forecast's error and coverage by step ahead."""
    del lineage
    if not report.steps:
        return None
    ahead = [entry.step for entry in report.steps]
    x_axis = Axis("steps ahead", is_whole=True)
    errors = Curve("", ahead, [entry.mae for entry in report.steps], "a")
    chart = draw_plot(Plot(layers=[errors], x_axis=x_axis, y_axis=Axis("mean absolute error")))
    coverage = [entry.coverage for entry in report.steps if entry.coverage is not None]
    coverage_chart = None
    if len(coverage) == len(ahead):
        curve, y_axis = Curve("", ahead, coverage, "b"), Axis("share inside the interval")
        coverage_chart = draw_plot(Plot(layers=[curve], x_axis=x_axis, y_axis=y_axis))
    return {"chart": chart, "coverage_chart": coverage_chart}


def _build_calibration(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw accuracy by confidence, before and after temperature scaling."""
    del lineage
    calibration = report.calibration
    if calibration is None:
        return None
    measured = [("before", calibration.before, "b"), ("after", calibration.after, "a")]
    curves = [Curve("perfect", [0.0, 1.0], [0.0, 1.0], "faint")]
    for name, reliability, style in measured:
        known = [
            (each.confidence, each.accuracy)
            for each in reliability.bins
            if each.confidence is not None and each.accuracy is not None
        ]
        confidence, accuracy = [each[0] for each in known], [each[1] for each in known]
        curves.append(Curve(name, confidence, accuracy, style))
    plot = Plot(layers=curves, x_axis=Axis("confidence"), y_axis=Axis("share that is correct"))
    chart = draw_plot(plot)
    return {"chart": chart, "calibration": calibration}


def _build_conformal(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw nominal and measured coverage of prediction sets or intervals."""
    del lineage
    conformal = report.conformal
    if conformal is None:
        return None
    rows = [Interval("nominal", conformal.confidence, None, None, "b")]
    if conformal.coverage is not None:
        low, high = conformal.coverage_low, conformal.coverage_high
        rows.append(Interval("measured", conformal.coverage, low, high))
    chart = draw_intervals(rows, label="Coverage, nominal and measured")
    unit = " standard deviations of the column" if report.by_column else ""
    return {"conformal": conformal, "chart": chart, "unit": unit}


def _build_slices(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw the score of each slice of the test rows."""
    del lineage
    if not report.slices:
        return None
    rows, worst = report.slices[:_MAX_SLICES], report.worst_slice
    scores = [
        Interval(f"{row.by}: {row.value}", row.score, row.low, row.high)
        for row in rows
        if row.score is not None
    ]
    return {
        "chart": draw_intervals(scores, label="Score of each slice"),
        "rows": rows,
        "left": len(report.slices) - len(rows),
        "worst": worst and f"{worst.by}: {worst.value} ({format_number(worst.score)})",
        "compared": any(row.champion is not None for row in rows),
        "metric": report.metric,
    }


def _build_leakage_checks(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the results of the leakage checks."""
    del lineage
    return {"rows": report.leakage_checks} if report.leakage_checks else None


def _build_drift(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the columns that have changed since the champion was trained."""
    del lineage
    return None if report.drift is None else {"rows": report.drift}


def _build_explanations(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Show what each step of some test rows adds to the prediction."""
    if not report.explanations:
        return None
    return {
        "rows": [render_explanation(each) for each in report.explanations],
        "method": report.explanations[0].method,
        "is_number": lineage.target.kind in {"number", "forecast"},
    }


SECTIONS = (
    Section("scores", "Scores", score_sections.build_scores),
    Section("gate", "The gate", score_sections.build_gate),
    Section("confusion", "Confusion", _build_confusion),
    Section("labels", "Labels", _build_labels),
    Section("columns", "Columns", _build_columns),
    Section("steps", "Steps ahead", _build_steps),
    Section("calibration", "Calibration", _build_calibration),
    Section("conformal", "Coverage", _build_conformal),
    Section("slices", "Slices", _build_slices),
    Section("leakage_checks", "Leakage checks", _build_leakage_checks),
    Section("explanations", "Explanations", _build_explanations),
    Section("search", "Networks tried", _build_search),
    Section("library", "Ensemble", _build_library),
    Section("curves", "Training", _build_curves),
    Section("data", "Data and splits", lineage_sections.build_data),
    Section("contract", "Contract", lineage_sections.build_contract),
    Section("drift", "Drift", _build_drift),
    Section("cost", "Cost", lineage_sections.build_cost),
    Section("provenance", "Provenance", lineage_sections.build_provenance),
)
