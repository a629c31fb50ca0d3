"""What a model cannot be trusted with, as far as its report shows it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from models.evaluation.metrics.by_kind import get_metric_sign
from tasks.report_record import Confusion, ReportRecord
from tasks.reporting.formatting import format_metric_name, format_number, format_share

Lineage = Mapping[str, Any]

FEW_ROWS = 200
"""Test rows below which scores are uncertain."""

MAX_ECE = 0.05
"""Calibration error above which probabilities should not be taken literally."""


def list_limitations(report: ReportRecord, lineage: Lineage) -> list[str]:
    """List every limitation that the measurements show, one sentence each."""
    return [sentence for describe in _DESCRIBERS for sentence in describe(report, lineage)]


def _describe_scores(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Describe few rows, and a gain that may be none."""
    del lineage
    if report.rows < FEW_ROWS:
        yield f"It was tested on {report.rows} rows only; the intervals are wide."
    for each in report.gate.comparisons:
        if each.gain is None or each.low is None or each.high is None:
            continue
        if each.high < 0:
            yield f"It is worse than {each.name}, by {format_number(-each.gain)}."
        elif each.low <= 0:
            yield (
                f"Its gain over {each.name} may be none: the interval goes from "
                f"{format_number(each.low)} to {format_number(each.high)}."
            )


def _describe_classes(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Name classes that it does not know, or does not find."""
    facts = lineage.get("features", {}).get("facts", {})
    if facts.get("classes"):
        yield f"It knows {len(facts['classes'])} classes and can predict these alone."
    if unseen := facts.get("unseen_classes"):
        yield f"{unseen} sequences have a class that is not in the training rows."
    if report.confusion and report.confusion.counts:
        yield from _describe_weak_classes(report.confusion)


def _describe_weak_classes(confusion: Confusion) -> Iterator[str]:
    """Name classes of which less than half of the rows are found."""
    weak = [
        f"{name} ({row[index]} of {sum(row)})"
        for index, (name, row) in enumerate(zip(confusion.classes, confusion.counts, strict=False))
        if sum(row) and row[index] * 2 < sum(row)
    ]
    if weak:
        yield f"Less than half of these classes are found: {', '.join(weak[:8])}."


def _describe_probabilities(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Describe probabilities and intervals that are not what they claim to be."""
    del lineage
    if report.calibration and report.calibration.after.ece > MAX_ECE:
        error = format_share(report.calibration.after.ece)
        yield f"Its probabilities are off by {error} on average."
    found = report.conformal
    if found and found.coverage_high is not None and found.coverage_high < found.confidence:
        measured, nominal = format_share(found.coverage), format_share(found.confidence)
        yield f"Its intervals cover {measured} where {nominal} is nominal."


def _describe_slices(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Name the parts of the rows where it is significantly weaker."""
    del lineage
    own = report.intervals.get(report.metric)
    if own is None:
        return
    sign, weak = get_metric_sign(report.metric), []
    for each in report.slices:
        best = each.high if sign > 0 else each.low
        if best is not None and sign * best < sign * own.value:
            weak.append(f"{each.by} {each.value} ({format_number(each.score)})")
    if weak:
        yield f"It is weaker by {format_metric_name(report.metric)} on: {', '.join(weak[:6])}."


def _describe_data(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Name columns that drift, expectations that broke, leakage checks that fail."""
    facts = lineage.get("contract", {}).get("facts", {})
    if facts.get("quarantined"):
        yield f"{facts['quarantined']} rows broke their contract and were left out."
    if report.drift:
        names = ", ".join(each.column for each in report.drift[:8])
        yield f"These columns have changed since the champion was trained: {names}."
    for check in report.leakage_checks:
        if check.status != "passed":
            yield f"Leakage check '{check.name}' gives {check.status}: {check.message}"


_Describer = Callable[[ReportRecord, Lineage], Iterator[str]]

_DESCRIBERS: tuple[_Describer, ...] = (
    _describe_scores,
    _describe_classes,
    _describe_probabilities,
    _describe_slices,
    _describe_data,
)
