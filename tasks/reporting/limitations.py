"""What a model cannot be trusted with, as far as its report can tell."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from models.evaluation.metrics.by_kind import sign_of
from tasks.reporting.formatting import figure, named, share

Facts = Mapping[str, Any]

FEW_ROWS = 200
"""Test rows below which scores say little."""

MOST_ECE = 0.05
"""Calibration error above which probabilities should not be taken for what they say."""


def limitations(report: Facts, origin: Facts) -> list[str]:
    """Name every limit that the figures show."""
    return [sentence for tell in TELLERS for sentence in tell(report, origin)]


def about_scores(report: Facts, origin: Facts) -> Iterator[str]:
    """Tell of few rows, and of a gain that may be none."""
    del origin
    if report["rows"] < FEW_ROWS:
        yield f"It was tested on {report['rows']} rows only; the intervals are wide."
    for gain in (report.get("gate") or {}).get("rivals", []):
        if None in gain.values():
            continue
        if gain["high"] < 0:
            yield f"It is worse than {gain['name']}, by {figure(-gain['gain'])}."
        elif gain["low"] <= 0:
            yield (
                f"Its gain over {gain['name']} may be none: the interval goes from "
                f"{figure(gain['low'])} to {figure(gain['high'])}."
            )


def about_classes(report: Facts, origin: Facts) -> Iterator[str]:
    """Name classes that it does not know, or does not find."""
    facts = origin.get("features", {}).get("facts", {})
    if facts.get("classes"):
        yield f"It knows {len(facts['classes'])} classes and answers every row with these alone."
    if unseen := facts.get("unseen_classes"):
        yield f"{unseen} sequences have a class that training never showed."
    found = report.get("confusion")
    if found and found.get("counts"):
        yield from weak_classes(found["counts"], found["classes"])


def weak_classes(counts: list[list[int]], classes: list[Any]) -> Iterator[str]:
    """Name classes of which less than half are found."""
    weak = [
        f"{name} ({row[place]} of {sum(row)})"
        for place, (name, row) in enumerate(zip(classes, counts, strict=False))
        if sum(row) and row[place] * 2 < sum(row)
    ]
    if weak:
        yield f"Less than half of these classes are found: {', '.join(weak[:8])}."


def about_probabilities(report: Facts, origin: Facts) -> Iterator[str]:
    """Tell of probabilities and intervals that do not hold what they say."""
    del origin
    after = (report.get("calibration") or {}).get("after") or {}
    if after.get("ece") is not None and after["ece"] > MOST_ECE:
        yield f"Its probabilities are off by {share(after['ece'])} in the mean."
    held = report.get("conformal") or {}
    if held and held.get("coverage_high") is not None:
        promised = held["confidence"]
        if held["coverage_high"] < promised:
            yield f"Its intervals hold {share(held['coverage'])} where {share(promised)} is said."


def about_slices(report: Facts, origin: Facts) -> Iterator[str]:
    """Name the parts of the rows where it is weaker beyond doubt."""
    del origin
    own = (report.get("intervals") or {}).get(report["metric"], {}).get("value")
    if own is None:
        return
    sign, weak = sign_of(report["metric"]), []
    for row in report.get("slices") or []:
        best = row.get("high") if sign > 0 else row.get("low")
        if best is not None and sign * best < sign * own:
            weak.append(f"{row['by']} {row['value']} ({figure(row['score'])})")
    if weak:
        yield f"It is weaker by {named(report['metric'])} on: {', '.join(weak[:6])}."


def about_data(report: Facts, origin: Facts) -> Iterator[str]:
    """Name data that drifts, promises that broke, checks that rang."""
    contract = origin.get("contract", {}).get("facts", {})
    if contract.get("quarantined"):
        yield f"{contract['quarantined']} rows broke their contract and were left out."
    if report.get("drift"):
        names = ", ".join(str(row["column"]) for row in report["drift"][:8])
        yield f"These columns have changed since the champion was trained: {names}."
    for row in report.get("canaries") or []:
        if row["verdict"] != "quiet":
            yield f"Canary '{row['name']}' says {row['verdict']}: {row.get('words', '')}"


Teller = Callable[[Facts, Facts], Iterator[str]]

TELLERS: tuple[Teller, ...] = (
    about_scores,
    about_classes,
    about_probabilities,
    about_slices,
    about_data,
)
