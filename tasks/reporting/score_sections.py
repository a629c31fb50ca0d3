"""The scores beside baselines and champion, and what the gate made of them."""

from collections.abc import Mapping
from typing import Any

from models.evaluation.metrics.by_kind import sign_of
from tasks.reporting.charts import Interval, intervals
from tasks.reporting.formatting import named

Told = dict[str, Any]
Facts = Mapping[str, Any]

DECISIONS = {
    "promote": "Promoted: it serves from now on",
    "keep": "Kept back: what serves goes on serving",
    "not-comparable": "Not comparable: nobody can tell which is better",
    "needs-approval": "Waits for somebody's approval",
}


def decision_words(report: Facts) -> str:
    """Say what the decision means."""
    if report["decision"] == "keep" and not report.get("champion"):
        return "Kept back: nothing serves yet"
    return DECISIONS.get(report["decision"], str(report["decision"]))


def everybody(report: Facts) -> dict[str, Facts]:
    """Name all that were scored."""
    champion = report.get("champion")
    told = {"challenger": report["metrics"], **({"champion": champion} if champion else {})}
    return {**told, **report.get("baselines", {})}


def table(report: Facts, origin: Facts) -> Told | None:
    """Lay out every score of everybody, and draw the one that decides."""
    del origin
    if not report.get("metrics"):
        return None
    everyone, card = everybody(report), report.get("intervals") or {}
    rows = []
    for metric in report["metrics"]:
        values = {name: told.get(metric) for name, told in everyone.items()}
        known = [value for value in values.values() if value is not None]
        best = max(known, key=lambda value: sign_of(metric) * value)
        rows.append(
            {
                "name": named(metric),
                "metric": metric,
                "unit": (report.get("units") or {}).get(metric, ""),
                "decides": metric == report["metric"],
                "lower": sign_of(metric) < 0,
                "interval": card.get(metric),
                "values": values,
                "best": best,
            }
        )
    return {"who": list(everyone), "rows": rows, "chart": deciding(report, everyone)}


def deciding(report: Facts, everyone: Mapping[str, Facts]) -> Any:  # noqa: ANN401 - markup or none
    """Draw the deciding score of everybody, the challenger's with its interval."""
    metric = report["metric"]
    own = (report.get("intervals") or {}).get(metric, {})
    drawings = []
    for name, told in everyone.items():
        if told.get(metric) is None:
            continue
        ours = name == "challenger"
        low, high = (own.get("low"), own.get("high")) if ours else (None, None)
        drawings.append(Interval(name, told[metric], low, high, "a" if ours else "b"))
    return intervals(drawings, zero=False, label=named(metric))


def gate(report: Facts, origin: Facts) -> Told | None:
    """Draw the gains that the gate looked at."""
    del origin
    held = report.get("gate") or {}
    if not (rivals := held.get("rivals")):
        return None
    drawings = [
        Interval(f"over {row['name']}", row["gain"], row.get("low"), row.get("high"))
        for row in rivals
        if row["gain"] is not None
    ]
    metric = report["metric"]
    return {
        "decision": report["decision"],
        "reason": report["reason"],
        "rivals": rivals,
        "chart": intervals(drawings, zero=True, label=f"Gain by {named(metric)}"),
        "metric": named(metric),
        "guards": held.get("guards") or [],
        "held": held,
    }
