"""Finish a report: what it cost, the page for people, and the model card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.bundle import load
from tasks.dataset.rowset import open_rows
from tasks.records import Facts
from tasks.reporting import CARD, PAGE
from tasks.reporting.html_page import to_html
from tasks.reporting.lineage import Made, origin_of
from tasks.reporting.model_card import to_markdown
from tasks.resource_usage import Meter, folder_bytes, latency
from tasks.serving.model_package import golden_frame
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store


def write_pages(folder: Path, made: Made, store: Store, meter: Meter) -> None:
    """Add the cost to `report.json`, and write `report.html` and `model_card.md` beside it.

    The networks among which one was chosen are a table of their own, `networks.json`.

    Args:
        folder: with the report.
        made: what the report is about.
        store: where that lies.
        meter: that has run since the evaluation began.
    """
    report = read_report(folder)
    report["cost"] = cost_of(made, store, meter)
    if made.choice is not None:
        report["search"] = dict(made.choice.facts)
        write_table(folder / "networks.json", made.choice.facts["networks"])
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    origin = origin_of(made, store)
    pictures = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    (folder / PAGE).write_text(to_html(report, origin, pictures), encoding="utf-8")
    (folder / CARD).write_text(to_markdown(report, origin), encoding="utf-8")


def write_table(path: Path, rows: Sequence[Facts]) -> None:
    """Write rows as MLflow reads a table: columns apart from what they hold."""
    columns = list(rows[0])
    table = {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}
    path.write_text(json.dumps(table, indent=2), encoding="utf-8")


def read_report(folder: Path) -> dict[str, Any]:
    """Read what the evaluation has told."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def cost_of(made: Made, store: Store, meter: Meter) -> Facts:
    """Tell what training, evaluation and one answer cost."""
    bundle_dir, facts = local_dir(store, made.candidate) / "bundle", made.candidate.facts
    bundle = load(bundle_dir)
    frame = golden_frame(bundle, open_rows(store, made.accepted), local_dir(store, made.features))
    asked = latency(bundle, frame)
    spent = meter.spent()
    return {
        "training_seconds": facts["seconds"],
        "evaluation_seconds": spent["seconds"],
        "peak_memory_bytes": max(facts.get("peak_memory_bytes", 0), spent["peak_memory_bytes"]),
        "energy_joules": total(facts.get("energy_joules"), spent["energy_joules"]),
        "parameters": facts["parameters"],
        "model_bytes": folder_bytes(bundle_dir),
        "latency_ms_per_row": asked,
    }


def total(training: float | None, evaluation: float | None) -> float | None:
    """Add what is known; None where neither is."""
    known = [joules for joules in (training, evaluation) if joules is not None]
    return round(sum(known), 3) if known else None
