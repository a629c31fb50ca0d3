"""The report as one HTML page: it loads no other file, runs no script, and escapes all values."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tasks.report_record import ReportRecord
from tasks.reporting import formatting
from tasks.reporting.charts.fonts import build_font_face
from tasks.reporting.lineage import Lineage
from tasks.reporting.score_sections import format_decision
from tasks.reporting.sections import SECTIONS


def render_page(report: ReportRecord, lineage: Lineage, plots: Sequence[Markup] = ()) -> str:
    """Render the page.

    Args:
        report: what the evaluation measured.
        lineage: what the model was made from.
        plots: of single predictions, which are not in the report.
    """
    templates = _open_templates()
    rendered = []
    for section in SECTIONS:
        content = section.build(report, lineage)
        if content is not None:
            body = templates.get_template(f"{section.key}.html").render(content)
            # What a template has rendered is escaped.
            rendered.append((section.key, section.title, Markup(body)))  # noqa: S704
    page = templates.get_template("page.html").render(
        sections=rendered,
        plots=plots,
        report=report,
        name=lineage.name,
        decision=format_decision(report),
        headline=report.headline or report.reason,
        tiles=_build_tiles(report),
        code_version=lineage.code_version,
    )
    return page.replace("<style>\n", f"<style>\n{build_font_face(page)}", 1)


@cache
def _open_templates() -> Environment:
    """Open the templates of this package."""
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
