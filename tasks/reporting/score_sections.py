"""The sections on scores, compared with baselines and champion, and on the gate's decision."""

from collections.abc import Mapping

from markupsafe import Markup

from models.evaluation.metrics.by_kind import get_metric_sign
from tasks.facts import ReportFacts
from tasks.report_record import ReportRecord
from tasks.reporting.advice import list_advice
from tasks.reporting.charts.rows import Interval, draw_intervals
from tasks.reporting.formatting import Content, format_metric_name
from tasks.reporting.lineage import Lineage
from tasks.reporting.plots import draw_gains

_DECISION_MESSAGES = {
    "promote": "Promoted: it is the champion now",
    "keep": "Not promoted: the champion stays",
    "not-comparable": "Not comparable with the champion",
    "needs-approval": "Waits for approval by a person",
}


def format_decision(report: ReportRecord) -> str:
    """Describe the gate's decision in one line."""
    if report.fallback and report.decision == "promote":
        return "A baseline that serves until a network beats it"
    if report.decision == "keep" and report.gate.champion is None:
        if report.gate.fallback == "baseline":
            return "Not promoted: a baseline serves until a network beats it"
        return "Not promoted: there is no champion yet"
    if report.gate.is_tie:
        return "Promoted on a tie with the best baseline: it is the champion now"
    return _DECISION_MESSAGES[report.decision]


def build_scores(report: ReportRecord, lineage: Lineage) -> Content | None:
    """List the scores of every model by metric, and draw those of the gate's metric."""
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
    return {
        "models": list(models),
        "rows": rows,
        "chart": _draw_deciding_scores(report, models),
        "rows_note": describe_score_rows(report),
    }


def describe_score_rows(report: ReportFacts) -> str | None:
    """Describe which scores are of fewer rows than the others; None where all are of the same."""
    gate = report.gate
    if not (report.champion and gate.excluded_rows):
        return None
    return (
        f"The champion's scores are on {gate.rows} test rows, because it was trained on the other "
        f"{gate.excluded_rows}; all others are on {report.rows}. The gate compares on the "
        f"{gate.rows} rows alone."
    )


def build_gate(report: ReportRecord, lineage: Lineage) -> Content | None:
    """Draw the gains over baseline and champion that the gate decided by."""
    gate, metric = report.gate, format_metric_name(report.metric)
    if not gate.comparisons:
        return None
    training = lineage.settings.training
    advice = list_advice(report, lineage.candidate.facts, training) if training else []
    return {"gate": gate, "chart": draw_gains(gate), "metric": metric, "advice": advice}


def _collect_scores(report: ReportRecord) -> dict[str, Mapping[str, float]]:
    """Collect the scores of challenger, champion and baselines, by name."""
    champion = {"champion": report.champion} if report.champion else {}
    return {"challenger": report.metrics, **report.parts, **champion, **report.baselines}


def _draw_deciding_scores(
    report: ReportRecord, models: Mapping[str, Mapping[str, float]]
) -> Markup | None:
    """Draw the score of every model by the gate's metric, the challenger's with its interval."""
    metric = report.metric
    own = report.intervals.get(metric)
    rows = []
    for name, scores in models.items():
        if scores.get(metric) is None:
            continue
        is_challenger = name == "challenger"
        low, high = (own.low, own.high) if own is not None and is_challenger else (None, None)
        style = "a" if is_challenger else "b"
        rows.append(Interval(name, scores[metric], low, high, style))
    return draw_intervals(rows, label=format_metric_name(metric))
