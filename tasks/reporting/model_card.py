"""The model card (Mitchell et al. 2019) in Markdown: what a model is for, and what it is not.

Short, with what matters most first, for a registry may cut it.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader

from tasks.reporting import formatting, lineage_sections, score_sections
from tasks.reporting.limitations import limitations

Facts = Mapping[str, Any]

SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>|#"})


def safe(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write a name so that Markdown takes it for a name."""
    return " ".join(formatting.brief(value, 80).split()).translate(SPECIAL)


@cache
def environment() -> Environment:
    """Open the template, which is part of the package."""
    opened = Environment(
        loader=PackageLoader("tasks.reporting"),
        autoescape=False,  # noqa: S701 - Markdown has marks of its own, which `safe` escapes
        trim_blocks=True,
        lstrip_blocks=True,
    )
    opened.filters["safe"] = safe
    for name in ("figure", "signed", "share", "named", "size", "seconds", "joules"):
        opened.filters[name] = getattr(formatting, name)
    return opened


def to_markdown(report: Facts, origin: Facts) -> str:
    """Write the card.

    Args:
        report: what the evaluation tells.
        origin: what the stages before it told.
    """
    features = origin.get("features", {})
    text = (
        environment()
        .get_template("model_card.md")
        .render(
            report=report,
            name=origin.get("name") or "model",
            decision=score_sections.decision_words(report),
            headline=report.get("headline") or report["reason"],
            table=score_sections.table(report, origin),
            target=features.get("target", {}),
            layout=features.get("layout", {}),
            data=lineage_sections.data(report, origin),
            contract=origin.get("contract", {}),
            training=origin.get("training", {}),
            provenance=lineage_sections.provenance(report, origin),
            limits=limitations(report, origin),
        )
    )
    return text.strip() + "\n"
