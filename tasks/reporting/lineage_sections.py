"""What was read, promised, split and trained, what it cost, and how to make it again."""

from collections.abc import Mapping
from typing import Any

from tasks.reporting.formatting import brief

Told = dict[str, Any]
Facts = Mapping[str, Any]

SPLITS = ("training", "validation", "test")

MOST_COLUMNS = 60


def data(report: Facts, origin: Facts) -> Told | None:
    """Count the rows, and how they are split."""
    del report
    features, snapshot = origin.get("features", {}), origin.get("snapshot", {})
    facts, kept = features.get("facts", {}), origin.get("contract", {}).get("facts", {})
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
        "split": used(features.get("split", {})),
        "facts": facts,
        "roles": roles(features, schema),
        "left": max(0, len(schema) - MOST_COLUMNS),
        "classes": [str(name) for name in facts.get("classes", [])],
    }


def roles(features: Facts, schema: Facts) -> list[Told]:
    """Say of each column what it is for."""
    layout, target = features.get("layout", {}), features.get("target", {})
    column = layout.get("input", {}).get("column")
    read = [column] if isinstance(column, str) else list(column or [])
    beside = [one.get("column") for one in layout.get("statics", [])]
    told = []
    for name, kind in list(schema.items())[:MOST_COLUMNS]:
        parts = [
            *(["sequence"] if name in read else []),
            *(["beside it"] if name in beside else []),
            *(["answer"] if name == target.get("column") else []),
            *(["time"] if name == layout.get("time") else []),
            *(["entity"] if name == layout.get("entity") else []),
        ]
        told.append({"name": name, "type": kind, "role": ", ".join(parts)})
    return told


def used(config: Facts) -> dict[str, str]:
    """Tell settings that say something."""
    return {
        name: brief(value, 80)
        for name, value in config.items()
        if value not in (None, "", [], {}, False)
    }


def contract(report: Facts, origin: Facts) -> Told | None:
    """Tell which promises the data kept."""
    del report
    found = origin.get("contract", {})
    if not found.get("findings"):
        return None
    findings = sorted(found["findings"], key=lambda one: one["kept"])
    broken = sum(not one["kept"] for one in findings)
    return {"rows": findings, "broken": broken, "facts": found.get("facts", {})}


def cost(report: Facts, origin: Facts) -> Told | None:
    """Tell what the model cost."""
    del origin
    found = report.get("cost")
    return dict(found) if found else None


def provenance(report: Facts, origin: Facts) -> Told | None:
    """Tell what it takes to make the version again, and to call it."""
    del report
    if not origin.get("keys"):
        return None
    training = origin.get("training", {})
    layout = origin.get("features", {}).get("layout", {})
    return {
        "name": origin.get("name", ""),
        "keys": origin["keys"],
        "snapshot_hash": origin.get("snapshot", {}).get("hash"),
        "model_hash": origin.get("model_hash"),
        "code_version": origin.get("code_version"),
        "settings": {
            "model": used(training.get("model", {})),
            "head": used(training.get("head", {})),
            "training": used(training.get("training", {})),
            "input": used(layout.get("input", {})),
            "window": used(layout.get("window") or {}),
        },
    }
