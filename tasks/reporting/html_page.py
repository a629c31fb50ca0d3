"""The report as one page: nothing is loaded from elsewhere, nothing runs, everything is escaped."""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tasks.report_record import ReportRecord
from tasks.reporting import formatting
from tasks.reporting.score_sections import format_decision
from tasks.reporting.sections import SECTIONS

Lineage = Mapping[str, Any]


def render_page(
    report: ReportRecord, lineage: Lineage, plots: Mapping[str, bytes] | None = None
) -> str:
    """Render the page.

    Args:
        report: what the evaluation measured.
        lineage: what the stages before it found.
        plots: PNG files by name, for what has no chart of its own.
    """
    templates = _open_templates()
    rendered = []
    for section in SECTIONS:
        content = section.build(report, lineage)
        if content is not None:
            body = templates.get_template(f"{section.key}.html").render(content)
            # What a template has rendered is escaped.
            rendered.append((section.key, section.title, Markup(body)))  # noqa: S704
    return templates.get_template("page.html").render(
        sections=rendered,
        pictures=_encode_plots(report, plots or {}),
        report=report,
        name=lineage.get("name") or "model",
        decision=format_decision(report),
        headline=report.headline or report.reason,
        tiles=_build_tiles(report),
        code_version=lineage.get("code_version", ""),
    )


@cache
def _open_templates() -> Environment:
    """Open the templates, which are part of the package."""
    environment = Environment(
        loader=PackageLoader("tasks.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formatting.FILTERS)
    return environment


def _build_tiles(report: ReportRecord) -> list[dict[str, str]]:
    """Build the few numbers on top of the page."""
    metric, best, champion = report.metric, report.best_baseline, report.champion
    own = report.intervals.get(metric)
    score = formatting.format_with_unit(report.metrics[metric], metric, report.units)
    low, high = (formatting.format_number(end) for end in (own.low, own.high)) if own else ("", "")
    baseline = formatting.format_with_unit(report.baselines[best][metric], metric, report.units)
    current = "none yet"
    if champion:
        current = formatting.format_with_unit(champion.get(metric), metric, report.units)
    rows = formatting.format_number(report.rows)
    return [
        {
            "name": formatting.format_metric_name(metric),
            "value": score,
            "more": f"{low} to {high}" if own else "",
        },
        {"name": "best baseline", "value": baseline, "more": best},
        {
            "name": "champion",
            "value": current,
            "more": "on the rows new to both" if champion else "",
        },
        {"name": "test rows", "value": rows, "more": ""},
    ]


def _encode_plots(report: ReportRecord, plots: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Encode plots as data addresses, except those that the page draws itself."""
    drawn = {"learning_curve"}
    drawn |= {"confusion"} if report.confusion else set()
    drawn |= {"tags"} if report.by_label else set()
    return [
        (name.replace("_", " "), f"data:image/png;base64,{base64.b64encode(plot).decode()}")
        for name, plot in plots.items()
        if name not in drawn
    ]
