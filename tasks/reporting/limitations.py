"""The limitations of a model that its measurements show, for the model card."""

from collections.abc import Callable, Iterator

from models.evaluation.metrics.by_kind import get_metric_sign
from tasks.report_record import Confusion, ReportRecord
from tasks.reporting.advice import list_training_warnings
from tasks.reporting.formatting import format_metric_name, format_number, format_share
from tasks.reporting.lineage import Lineage

_FEW_ROWS = 200
"""Test rows below which scores are uncertain."""

_MAX_ECE = 0.05
"""Calibration error above which probabilities should not be taken literally."""


def list_limitations(report: ReportRecord, lineage: Lineage) -> list[str]:
    """List the limitations that the measurements show, one sentence each."""
    return [sentence for describe in _DESCRIBERS for sentence in describe(report, lineage)]


def _describe_scores(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Describe a small test set, and gains that are not significant."""
    del lineage
    if report.rows < _FEW_ROWS:
        yield f"It was tested on {report.rows} rows only; the intervals are wide."
    for each in report.gate.comparisons:
        is_same = report.fallback is not None and not each.is_champion
        if is_same or each.gain is None or each.low is None or each.high is None:
            continue
        if each.high < 0:
            yield f"It is worse than {each.name}, by {format_number(-each.gain)}."
        elif each.low <= 0:
            yield (
                f"Its gain over {each.name} may be none: the interval goes from "
                f"{format_number(each.low)} to {format_number(each.high)}."
            )


def _describe_training(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Describe a training that could hardly teach anything."""
    del report
    for warning in list_training_warnings(lineage.candidate.facts, lineage.features.facts):
        yield f"A warning of its training: {warning}."


def _describe_classes(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Describe classes that it does not know, or recalls rarely."""
    facts = lineage.features.facts
    if facts.classes:
        yield f"It knows {len(facts.classes)} classes and can predict these alone."
    if facts.unseen_classes:
        yield f"{facts.unseen_classes} sequences have a class that is not in the training rows."
    if report.confusion and report.confusion.counts:
        yield from _describe_weak_classes(report.confusion)


def _describe_weak_classes(confusion: Confusion) -> Iterator[str]:
    """Name the classes with a recall below one half."""
    weak = [
        f"{name} ({row[index]} of {sum(row)})"
        for index, (name, row) in enumerate(zip(confusion.classes, confusion.counts, strict=False))
        if sum(row) and row[index] * 2 < sum(row)
    ]
    if weak:
        yield f"It finds less than half of the rows of these classes: {', '.join(weak[:8])}."


def _describe_probabilities(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Describe miscalibrated probabilities, and intervals that cover too little."""
    del lineage
    if report.calibration and report.calibration.after.ece > _MAX_ECE:
        error = format_share(report.calibration.after.ece)
        yield f"Its probabilities are off by {error} on average."
    conformal = report.conformal
    if conformal is None or conformal.coverage_high is None:
        return
    if conformal.coverage_high < conformal.confidence:
        measured, nominal = format_share(conformal.coverage), format_share(conformal.confidence)
        yield f"Its intervals cover {measured} where {nominal} is nominal."


def _describe_slices(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Name the slices of the test rows whose score is significantly worse."""
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
    """Describe quarantined rows, drifted columns, and leakage checks that did not pass."""
    if quarantined := lineage.accepted.facts.quarantined:
        yield f"{quarantined} rows broke the contract and were quarantined."
    if report.drift:
        names = ", ".join(each.column for each in report.drift[:8])
        yield f"These columns have changed since the champion was trained: {names}."
    for check in report.leakage_checks:
        if check.status != "passed":
            yield f"Leakage check '{check.name}' has the status {check.status}: {check.message}"


def _describe_baseline(report: ReportRecord, lineage: Lineage) -> Iterator[str]:
    """Describe that it is a baseline, and which better one cannot serve."""
    del report
    baseline = lineage.candidate.facts.baseline
    if baseline is None:
        return
    yield f"It is a baseline, {baseline.name}: no network has beaten it yet."
    if baseline.better:
        yield (
            f"{baseline.better} is better on the {baseline.rows} rows of the choice, but cannot "
            "serve: it reads the target's past from outside the inputs, or is too large."
        )


_Describer = Callable[[ReportRecord, Lineage], Iterator[str]]

_DESCRIBERS: tuple[_Describer, ...] = (
    _describe_baseline,
    _describe_scores,
    _describe_training,
    _describe_classes,
    _describe_probabilities,
    _describe_slices,
    _describe_data,
)
