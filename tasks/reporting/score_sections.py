"""The scores beside baselines and champion, and the gate's decision about them."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from models.evaluation.metrics.by_kind import get_metric_sign
from tasks.report_record import ReportRecord
from tasks.reporting.charts import Interval, draw_intervals
from tasks.reporting.formatting import format_metric_name

Content = dict[str, Any]
"""The variables of a template."""

Lineage = Mapping[str, Any]

DECISIONS = {
    "promote": "Promoted: it serves from now on",
    "keep": "Not promoted: the champion goes on serving",
    "not-comparable": "Not comparable: it cannot be decided which one is better",
    "needs-approval": "Waits for approval by a person",
}


def format_decision(report: ReportRecord) -> str:
    """Describe what the decision means."""
    if report.decision == "keep" and not report.champion:
        return "Not promoted: there is no champion yet"
    return DECISIONS[report.decision]


def build_scores(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Lay out every score of every model, and draw the one that decides."""
    del lineage
    if not report.metrics:
        return None
    models = _collect_scores(report)
    rows = []
    for metric in report.metrics:
        values = {name: scores.get(metric) for name, scores in models.items()}
        known = [value for value in values.values() if value is not None]
        best = max(known, key=lambda value: get_metric_sign(metric) * value)
        rows.append(
            {
                "name": format_metric_name(metric),
                "metric": metric,
                "unit": report.units.get(metric, ""),
                "decides": metric == report.metric,
                "lower": get_metric_sign(metric) < 0,
                "interval": report.intervals.get(metric),
                "values": values,
                "best": best,
            }
        )
    return {"models": list(models), "rows": rows, "chart": _draw_deciding_scores(report, models)}


def build_gate(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw the gains that the gate decided on."""
    del lineage
    gate, metric = report.gate, format_metric_name(report.metric)
    if not gate.comparisons:
        return None
    gains = [
        Interval(f"over {each.name}", each.gain, each.low, each.high)
        for each in gate.comparisons
        if each.gain is not None
    ]
    chart = draw_intervals(gains, zero=True, label=f"Gain by {metric}")
    return {"gate": gate, "chart": chart, "metric": metric}


def _collect_scores(report: ReportRecord) -> dict[str, Mapping[str, float]]:
    """Collect the scores of challenger, champion and baselines, by name."""
    champion = {"champion": report.champion} if report.champion else {}
    return {"challenger": report.metrics, **champion, **report.baselines}


def _draw_deciding_scores(
    report: ReportRecord, models: Mapping[str, Mapping[str, float]]
) -> Markup | None:
    """Draw the deciding score of every model, the challenger's with its interval."""
    metric = report.metric
    own = report.intervals.get(metric)
    rows = []
    for name, scores in models.items():
        if scores.get(metric) is None:
            continue
        is_own = own is not None and name == "challenger"
        low, high = (own.low, own.high) if own is not None and is_own else (None, None)
        style = "a" if name == "challenger" else "b"
        rows.append(Interval(name, scores[metric], low, high, style))
    return draw_intervals(rows, zero=False, label=format_metric_name(metric))
