"""The model card in Markdown: intended use, scores, limitations, data, provenance.

After Mitchell et al. 2019. What matters most comes first, because a registry may cut it.
"""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader

from tasks.escaping import escape_markdown
from tasks.report_record import ReportRecord
from tasks.reporting import formatting, lineage_sections, score_sections
from tasks.reporting.limitations import list_limitations
from tasks.reporting.lineage import Lineage


def render_card(report: ReportRecord, lineage: Lineage) -> str:
    """Render the model card.

    Args:
        report: what the evaluation measured.
        lineage: what the model was made from.
    """
    text = (
        _open_template()
        .get_template("model_card.md")
        .render(
            report=report,
            name=lineage.name,
            decision=score_sections.format_decision(report),
            headline=report.headline or report.reason,
            table=score_sections.build_scores(report, lineage),
            target=lineage.target,
            layout=lineage.layout,
            data=lineage_sections.build_data(report, lineage),
            contract=lineage.accepted.facts,
            training=lineage.candidate.facts,
            provenance=lineage_sections.build_provenance(report, lineage),
            limitations=list_limitations(report, lineage),
        )
    )
    return text.strip() + "\n"


@cache
def _open_template() -> Environment:
    """Open the templates of this package."""
    environment = Environment(
        loader=PackageLoader("tasks.reporting"),
        autoescape=False,  # noqa: S701 - `safe` and `text` escape Markdown
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formatting.FILTERS, safe=_escape_short, text=escape_markdown)
    return environment


def _escape_short(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Shorten a value and escape it for Markdown."""
    return escape_markdown(formatting.shorten(value, 80))
