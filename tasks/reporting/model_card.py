"""The model card (Mitchell et al. 2019) in Markdown: what a model is for, and what it is not.

Short, with what matters most first, for a registry may cut it.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader

from tasks.report_record import ReportRecord
from tasks.reporting import formatting, lineage_sections, score_sections
from tasks.reporting.limitations import list_limitations

Lineage = Mapping[str, Any]

SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>|#"})


def render_card(report: ReportRecord, lineage: Lineage) -> str:
    """Render the card.

    Args:
        report: what the evaluation measured.
        lineage: what the stages before it found.
    """
    features = lineage.get("features", {})
    text = (
        _open_template()
        .get_template("model_card.md")
        .render(
            report=report,
            name=lineage.get("name") or "model",
            decision=score_sections.format_decision(report),
            headline=report.headline or report.reason,
            table=score_sections.build_scores(report, lineage),
            target=features.get("target", {}),
            layout=features.get("layout", {}),
            data=lineage_sections.build_data(report, lineage),
            contract=lineage.get("contract", {}),
            training=lineage.get("training", {}),
            provenance=lineage_sections.build_provenance(report, lineage),
            limits=list_limitations(report, lineage),
        )
    )
    return text.strip() + "\n"


@cache
def _open_template() -> Environment:
    """Open the template, which is part of the package."""
    environment = Environment(
        loader=PackageLoader("tasks.reporting"),
        autoescape=False,  # noqa: S701 - Markdown has marks of its own, which `safe` escapes
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formatting.FILTERS, safe=_escape_markdown)
    return environment


def _escape_markdown(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write a value so that Markdown takes it as text."""
    return " ".join(formatting.shorten(value, 80).split()).translate(SPECIAL)
