"""The sections on data, contract, cost, and provenance; each returns None where it has no data."""

import json
from collections.abc import Mapping

from tasks.report_record import ReportRecord
from tasks.reporting.formatting import Content, shorten
from tasks.reporting.lineage import Lineage
from tasks.storage.artifacts import to_plain

_MAX_COLUMNS = 60


def build_data(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Count the rows and the sequences of each split, and list the columns with their roles."""
    del report
    facts, snapshot = lineage.features.facts, lineage.snapshot.facts
    counts = {"training": facts.training, "validation": facts.validation, "test": facts.test}
    total = sum(counts.values())
    if not total:
        return None
    return {
        "rows": snapshot.rows,
        "files": snapshot.files,
        "cut": snapshot.cut,
        "quarantined": lineage.accepted.facts.quarantined,
        "splits": [{"name": n, "count": c, "share": c / total} for n, c in counts.items()],
        "split": _format_settings(lineage.split),
        "facts": facts,
        "roles": _list_roles(lineage),
        "left": max(0, len(snapshot.schema) - _MAX_COLUMNS),
        "classes": [str(name) for name in facts.classes],
    }


def _list_roles(lineage: Lineage) -> list[Mapping[str, str]]:
    """List name, type and role of the first columns of the snapshot."""
    layout = lineage.layout
    roles: list[tuple[str, object]] = [
        *(("sequence", name) for name in layout.input.columns),
        *(("static covariate", static.column) for static in layout.static_inputs),
        *(("target", name) for name in lineage.target.columns),
        ("time", layout.time),
        ("entity", layout.entity),
    ]
    return [
        {
            "name": name,
            "type": dtype,
            "role": ", ".join(dict.fromkeys(role for role, column in roles if column == name)),
        }
        for name, dtype in list(lineage.snapshot.facts.schema.items())[:_MAX_COLUMNS]
    ]


def _format_settings(config: object) -> Mapping[str, str]:
    """Format the settings of a config that are not empty, by name."""
    plain = json.loads(json.dumps(to_plain(config)))
    return {
        name: shorten(value, 80)
        for name, value in plain.items()
        if value not in (None, "", [], {}, False)
    }


def build_contract(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the findings on the contract's expectations, broken ones first."""
    del report
    if not lineage.findings:
        return None
    findings = sorted(lineage.findings, key=lambda finding: finding.passed)
    return {"rows": findings, "broken": sum(not finding.passed for finding in findings)}


def build_cost(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Return the cost of training, evaluation and one prediction."""
    del lineage
    return {"cost": report.cost} if report.cost else None


def build_provenance(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Return what is needed to reproduce the version, and to call it."""
    del report
    settings, layout = lineage.settings, lineage.layout
    return {
        "name": lineage.name,
        "keys": {
            "snapshot": lineage.snapshot.key,
            "accepted rows": lineage.accepted.key,
            "features": lineage.features.key,
            "model": lineage.candidate.key,
        },
        "snapshot_hash": lineage.snapshot.content_hash,
        "model_hash": lineage.candidate.content_hash,
        "code_version": lineage.code_version,
        "settings": {
            "model": _format_settings(settings.model) if settings.model else {},
            "head": _format_settings(settings.head),
            "training": _format_settings(settings.training) if settings.training else {},
            "input": _format_settings(layout.input),
            "window": _format_settings(layout.window) if layout.window else {},
        },
    }
