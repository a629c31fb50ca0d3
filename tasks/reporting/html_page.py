"""The report as one page: nothing is loaded from elsewhere, nothing runs, everything is escaped."""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tasks.reporting import formatting
from tasks.reporting.score_sections import decision_words
from tasks.reporting.sections import SECTIONS

Facts = Mapping[str, Any]


@cache
def environment() -> Environment:
    """Open the templates, which are part of the package."""
    opened = Environment(
        loader=PackageLoader("tasks.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("figure", "signed", "share", "named", "size", "seconds", "joules", "brief"):
        opened.filters[name] = getattr(formatting, name)
    return opened


def to_html(report: Facts, origin: Facts, pictures: Mapping[str, bytes] | None = None) -> str:
    """Render the page.

    Args:
        report: what the evaluation tells.
        origin: what the stages before it told.
        pictures: PNG files by their names, for what has no chart of its own.
    """
    opened = environment()
    shown = []
    for section in SECTIONS:
        told = section.build(report, origin)
        if told is not None:
            body = opened.get_template(f"{section.key}.html").render(told)
            # What a template has rendered is escaped.
            shown.append((section.key, section.title, Markup(body)))  # noqa: S704
    return opened.get_template("page.html").render(
        sections=shown,
        pictures=addresses(report, pictures or {}),
        report=report,
        name=origin.get("name") or "model",
        decision=decision_words(report),
        headline=report.get("headline") or report["reason"],
        tiles=tiles(report),
        code_version=origin.get("code_version", ""),
    )


def tiles(report: Facts) -> list[dict[str, str]]:
    """Say the few numbers that matter most."""
    metric, best = report["metric"], report.get("best_baseline")
    units = report.get("units")
    own = (report.get("intervals") or {}).get(metric, {})
    told = [
        {
            "name": formatting.named(metric),
            "value": formatting.with_unit(report["metrics"][metric], metric, units),
            "more": f"{formatting.figure(own['low'])} to {formatting.figure(own['high'])}"
            if own
            else "",
        }
    ]
    if best:
        value = formatting.with_unit(report["baselines"][best][metric], metric, units)
        told.append({"name": "best baseline", "value": value, "more": best})
    champion = report.get("champion")
    value = formatting.with_unit(champion.get(metric), metric, units) if champion else "none yet"
    told.append(
        {"name": "champion", "value": value, "more": "on the rows new to both" * bool(champion)}
    )
    told.append({"name": "test rows", "value": formatting.figure(report["rows"]), "more": ""})
    return told


def addresses(report: Facts, pictures: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Turn pictures into addresses, but for those that the page draws itself."""
    drawn = {"learning_curve"}
    drawn |= {"confusion"} if report.get("confusion") else set()
    drawn |= {"tags"} if report.get("by_label") else set()
    return [
        (name.replace("_", " "), f"data:image/png;base64,{base64.b64encode(picture).decode()}")
        for name, picture in pictures.items()
        if name not in drawn
    ]
