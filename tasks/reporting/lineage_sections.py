"""The sections about data, splits, contract, training, cost, and how to make a version again."""

from collections.abc import Mapping
from typing import Any

from tasks.report_record import ReportRecord
from tasks.reporting.formatting import shorten

Content = dict[str, Any]
"""The variables of a template."""

Lineage = Mapping[str, Any]

SPLITS = ("training", "validation", "test")

MAX_COLUMNS = 60


def build_data(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Count the rows, and how they are split."""
    del report
    features, snapshot = lineage.get("features", {}), lineage.get("snapshot", {})
    facts, kept = features.get("facts", {}), lineage.get("contract", {}).get("facts", {})
    counts = {name: facts[name] for name in SPLITS if name in facts}
    total = sum(counts.values())
    if not total:
        return None
    schema = snapshot.get("facts", {}).get("schema", {})
    return {
        "rows": snapshot.get("facts", {}).get("rows"),
        "files": snapshot.get("facts", {}).get("files"),
        "cut": snapshot.get("facts", {}).get("cut"),
        "quarantined": kept.get("quarantined"),
        "splits": [{"name": n, "count": c, "share": c / total} for n, c in counts.items()],
        "split": _format_settings(features.get("split", {})),
        "facts": facts,
        "roles": _list_roles(features, schema),
        "left": max(0, len(schema) - MAX_COLUMNS),
        "classes": [str(name) for name in facts.get("classes", [])],
    }


def _list_roles(features: Lineage, schema: Lineage) -> list[Content]:
    """List the columns with what each is used for."""
    layout, target = features.get("layout", {}), features.get("target", {})
    column = layout.get("input", {}).get("column")
    read = [column] if isinstance(column, str) else list(column or [])
    static = [one.get("column") for one in layout.get("statics", [])]
    roles = []
    for name, kind in list(schema.items())[:MAX_COLUMNS]:
        parts = [
            *(["sequence"] if name in read else []),
            *(["static covariate"] if name in static else []),
            *(["target"] if name == target.get("column") else []),
            *(["time"] if name == layout.get("time") else []),
            *(["entity"] if name == layout.get("entity") else []),
        ]
        roles.append({"name": name, "type": kind, "role": ", ".join(parts)})
    return roles


def _format_settings(config: Lineage) -> dict[str, str]:
    """Format the settings that are not empty."""
    return {
        name: shorten(value, 80)
        for name, value in config.items()
        if value not in (None, "", [], {}, False)
    }


def build_contract(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the expectations of the contract, broken ones first."""
    del report
    found = lineage.get("contract", {})
    if not found.get("findings"):
        return None
    findings = sorted(found["findings"], key=lambda one: one["passed"])
    broken = sum(not one["passed"] for one in findings)
    return {"rows": findings, "broken": broken, "facts": found.get("facts", {})}


def build_cost(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Return the cost of training, evaluation and one prediction."""
    del lineage
    return {"cost": report.cost} if report.cost else None


def build_provenance(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Return what is needed to make the version again, and to call it."""
    del report
    if not lineage.get("keys"):
        return None
    training = lineage.get("training", {})
    layout = lineage.get("features", {}).get("layout", {})
    return {
        "name": lineage.get("name", ""),
        "keys": lineage["keys"],
        "snapshot_hash": lineage.get("snapshot", {}).get("hash"),
        "model_hash": lineage.get("model_hash"),
        "code_version": lineage.get("code_version"),
        "settings": {
            "model": _format_settings(training.get("model", {})),
            "head": _format_settings(training.get("head", {})),
            "training": _format_settings(training.get("training", {})),
            "input": _format_settings(layout.get("input", {})),
            "window": _format_settings(layout.get("window") or {}),
        },
    }
