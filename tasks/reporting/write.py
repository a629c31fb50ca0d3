"""Complete a report: its cost, the HTML page, and the model card."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from models.bundle import load_bundle
from tasks.dataset.rowset import open_rows
from tasks.facts import TriedNetwork
from tasks.report_record import Cost, Latency, read_report, write_report
from tasks.reporting import CARD, PAGE
from tasks.reporting.charts.svg import read_svg
from tasks.reporting.html_page import render_page
from tasks.reporting.lineage import ReportInputs, collect_lineage
from tasks.reporting.model_card import render_card
from tasks.reporting.plots import PREDICTION_PLOTS, write_report_plots
from tasks.resource_usage import Meter, count_folder_bytes, measure_latency
from tasks.serving.model_package import choose_golden_rows
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store


def write_pages(folder: Path, inputs: ReportInputs, store: Store, meter: Meter) -> None:
    """Add the cost to `report.json`; write plots, `report.html` and `model_card.md` next to it.

    The networks that `model: auto` tried are written as a table, `networks.json`.

    Args:
        folder: with the report.
        inputs: the artifacts that the report is about.
        store: where they are.
        meter: started when the evaluation began.

    Raises:
        StoreError: an artifact is missing or damaged.
    """
    report = replace(read_report(folder), cost=_measure_cost(inputs, store, meter))
    if inputs.choice is not None:
        report = replace(report, search=inputs.choice.facts)
        _write_table(folder / "networks.json", inputs.choice.facts.networks)
    write_report(report, folder)
    lineage = collect_lineage(inputs, store)
    write_report_plots(folder, report, best_epoch=inputs.candidate.facts.best_epoch)
    paths = [folder / f"{name}.svg" for name in PREDICTION_PLOTS]
    plots = [read_svg(path) for path in paths if path.exists()]
    (folder / PAGE).write_text(render_page(report, lineage, plots), encoding="utf-8")
    (folder / CARD).write_text(render_card(report, lineage), encoding="utf-8")


def _write_table(path: Path, networks: Sequence[TriedNetwork]) -> None:
    """Write networks in MLflow's table format: names of columns, and values by row."""
    rows = [asdict(network) for network in networks]
    columns = list(rows[0])
    table = {"columns": columns, "data": [[row[name] for name in columns] for row in rows]}
    path.write_text(json.dumps(table, indent=2), encoding="utf-8")


def _measure_cost(inputs: ReportInputs, store: Store, meter: Meter) -> Cost:
    """Measure the cost of training, evaluation and one prediction."""
    bundle_dir, facts = local_dir(store, inputs.candidate) / "bundle", inputs.candidate.facts
    rows, features_dir = open_rows(store, inputs.accepted), local_dir(store, inputs.features)
    bundle = load_bundle(bundle_dir)
    times = measure_latency(bundle, choose_golden_rows(bundle, rows, features_dir))
    usage = meter.measure()
    return Cost(
        training_seconds=facts.seconds,
        evaluation_seconds=usage.seconds,
        peak_memory_bytes=max(facts.peak_memory_bytes, usage.peak_memory_bytes),
        energy_joules=sum_known(facts.energy_joules, usage.energy_joules),
        parameters=facts.parameters,
        model_bytes=count_folder_bytes(bundle_dir),
        latency_ms_per_row=Latency(p50=times["p50"], p95=times["p95"]) if times else None,
    )


def sum_known(training: float | None, evaluation: float | None) -> float | None:
    """Add two energies in joules; None where both are unknown."""
    known = [joules for joules in (training, evaluation) if joules is not None]
    return round(sum(known), 3) if known else None
