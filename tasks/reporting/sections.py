"""The sections of a report: each takes its part of the figures, or says nothing without it.

A section gives what its template shows. What an older or a smaller report lacks is left out.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tasks.reporting import lineage_sections, score_sections
from tasks.reporting.charts import Interval, Line, intervals, lines
from tasks.reporting.explanation_views import shown
from tasks.reporting.formatting import figure

Told = dict[str, Any]
Facts = Mapping[str, Any]

MOST_SLICES = 40
MOST_CLASSES = 40

Build = Callable[[Facts, Facts], Told | None]


class Section(NamedTuple):
    """One part of the page; its template has its key's name."""

    key: str
    title: str
    build: Build


def curves(report: Facts, origin: Facts) -> Told | None:
    """Draw how training went."""
    history = report.get("history")
    if not history:
        return None
    epochs = [entry["epoch"] + 1 for entry in history]
    facts = origin.get("training", {}).get("facts", {})
    best = facts.get("best_epoch")
    chart = lines(
        [
            Line("training", epochs, [entry.get("training_loss") for entry in history], "a"),
            Line("validation", epochs, [entry.get("validation_loss") for entry in history], "b"),
        ],
        "epoch",
        "loss",
        mark=best,
    )
    return {"chart": chart, "best": best, "facts": facts} if chart else None


def search(report: Facts, origin: Facts) -> Told | None:
    """List the networks among which one was chosen."""
    del origin
    found: Told | None = report.get("search")
    return found


def confusion(report: Facts, origin: Facts) -> Told | None:
    """Lay out which class was answered for which."""
    del origin
    found = report.get("confusion")
    if not found or not found.get("counts"):
        return None
    counts, classes = found["counts"], [str(name) for name in found["classes"]]
    if len(classes) > MOST_CLASSES:
        return {"pairs": confused_pairs(counts, classes), "classes": None}
    rows = [
        {
            "name": name,
            "total": sum(row),
            "cells": [
                {"count": count, "share": count / max(1, sum(row)), "right": place == at}
                for at, count in enumerate(row)
            ],
        }
        for place, (name, row) in enumerate(zip(classes, counts, strict=False))
    ]
    return {"classes": classes, "rows": rows, "pairs": confused_pairs(counts, classes)}


def confused_pairs(counts: list[list[int]], classes: list[str]) -> list[Told]:
    """Name what is confused most often."""
    wrong: list[Told] = [
        {"count": count, "truth": classes[row], "answer": classes[column]}
        for row, cells in enumerate(counts[: len(classes)])
        for column, count in enumerate(cells[: len(classes)])
        if count and row != column
    ]
    return sorted(wrong, key=lambda pair: -pair["count"])[:8]


def labels(report: Facts, origin: Facts) -> Told | None:
    """Tell how well each label is found."""
    del origin
    found = report.get("by_label")
    if not found:
        return None
    rows = found if isinstance(found, list) else [{"label": k, **v} for k, v in found.items()]
    columns = [name for name in rows[0] if name != "label"]
    return {"columns": columns, "rows": rows[:MOST_CLASSES], "left": len(rows) - MOST_CLASSES}


def steps(report: Facts, origin: Facts) -> Told | None:
    """Draw the error of each step ahead."""
    del origin
    found = report.get("steps")
    if not found:
        return None
    ahead = [entry["step"] for entry in found]
    chart = lines(
        [Line("error", ahead, [entry["mae"] for entry in found], "a")],
        "steps ahead",
        "mean absolute error",
    )
    covered = None
    if all("coverage" in entry for entry in found):
        drawn = [Line("coverage", ahead, [entry["coverage"] for entry in found], "b")]
        covered = lines(drawn, "steps ahead", "share inside the interval")
    return {"chart": chart, "covered": covered}


def calibration(report: Facts, origin: Facts) -> Told | None:
    """Draw confidence against how often it is right."""
    del origin
    found = report.get("calibration")
    if not found:
        return None
    ways = [(name, found[name]) for name in ("before", "after") if found.get(name)]
    drawings = [Line("perfect", [0.0, 1.0], [0.0, 1.0], "faint")]
    for (name, told), look in zip(ways, ("b", "a"), strict=False):
        bins = [one for one in told.get("bins", []) if one["rows"]]
        confidence = [one["confidence"] for one in bins]
        drawings.append(Line(name, confidence, [one["accuracy"] for one in bins], look))
    chart = lines(drawings, "confidence", "share that is right", whole=False)
    return {"chart": chart, "ways": ways, **{k: found.get(k) for k in ("temperature", "fitted_on")}}


def conformal(report: Facts, origin: Facts) -> Told | None:
    """Tell whether sets and intervals hold what they promise."""
    del origin
    found = report.get("conformal")
    if not found:
        return None
    low, high = found.get("coverage_low"), found.get("coverage_high")
    rows = [
        Interval("promised", found["confidence"], None, None, "b"),
        Interval("held", found["coverage"], low, high),
    ]
    chart = intervals(rows, zero=False, label="Coverage, promised and held")
    return {**found, "chart": chart}


def slices(report: Facts, origin: Facts) -> Told | None:
    """Draw the score of each part of the rows."""
    del origin
    found = report.get("slices")
    if not found:
        return None
    rows = found[:MOST_SLICES]
    drawings = [
        Interval(f"{row['by']}: {row['value']}", row["score"], row.get("low"), row.get("high"))
        for row in rows
    ]
    chart = intervals(drawings, zero=False, label="Score of each slice")
    compared = any(row.get("champion") is not None for row in rows)
    worst = report.get("worst_slice")
    if isinstance(worst, Mapping):
        worst = f"{worst.get('by')}: {worst.get('value')} ({figure(worst.get('score'))})"
    return {
        "chart": chart,
        "rows": rows,
        "left": len(found) - len(rows),
        "worst": worst,
        "compared": compared,
        "metric": report["metric"],
    }


def canaries(report: Facts, origin: Facts) -> Told | None:
    """Tell what the checks on the evaluation itself say."""
    del origin
    found = report.get("canaries")
    return {"rows": found} if found else None


def drift(report: Facts, origin: Facts) -> Told | None:
    """Tell which columns have changed since the champion was trained."""
    del origin
    if report.get("drift") is None:
        return None
    return {"rows": report["drift"]}


def explanations(report: Facts, origin: Facts) -> Told | None:
    """Show why some rows were answered as they were."""
    found = report.get("explanations")
    if not found:
        return None
    kind = origin.get("features", {}).get("target", {}).get("kind", "")
    return {
        "rows": [shown(one) for one in found],
        "method": found[0]["method"],
        "is_number": kind in {"number", "forecast"},
    }


SECTIONS = (
    Section("scores", "Scores", score_sections.table),
    Section("gate", "The gate", score_sections.gate),
    Section("confusion", "Confusion", confusion),
    Section("labels", "Labels", labels),
    Section("steps", "Steps ahead", steps),
    Section("calibration", "Calibration", calibration),
    Section("conformal", "Promised coverage", conformal),
    Section("slices", "Slices", slices),
    Section("canaries", "Canaries", canaries),
    Section("explanations", "Why it answers so", explanations),
    Section("search", "Networks tried", search),
    Section("curves", "Training", curves),
    Section("data", "Data and splits", lineage_sections.data),
    Section("contract", "Contract", lineage_sections.contract),
    Section("drift", "Drift", drift),
    Section("cost", "Cost", lineage_sections.cost),
    Section("provenance", "Provenance", lineage_sections.provenance),
)
