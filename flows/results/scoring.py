"""What a scoring came to, as a page in Prefect and as lines on a terminal."""

from flows.results.mlflow_links import mlflow_pages, version_page
from tasks.records import Facts
from tasks.scoring.score import Scored, Told

LEFT = {"learned", "version", "probabilities", "vector"}
"""Columns for which a page has no room."""

WIDEST = 60
"""Characters of a cell."""


def page(told: Told) -> str:
    """Write counts, quality, the first answers and the first reasons as a page."""
    scored, facts = told.scored, told.scored.facts
    state = "answered" if scored.recomputed else "nothing has changed since the answers of"
    when = "" if scored.recomputed else f" {facts['written_at']}"
    lines = [
        f"# {scored.model}: {facts['rows']} rows {state}{when}",
        "",
        "| what | |",
        "|---|---|",
        f"| version | {version_words(scored)} |",
        f"| rows | {facts['rows']} |",
        f"| not answered | {facts['failed']} |",
        f"| dataset | `{scored.folder}` |",
        f"| snapshot | `{facts['snapshot']}` |",
        f"| seconds | {facts['seconds']} |",
        "",
        *quality_lines(facts),
        "## The first answers",
        "",
        *table_lines([{k: v for k, v in row.items() if k not in LEFT} for row in told.shown]),
    ]
    if facts["errors"]:
        lines += ["## The first rows without an answer", "", *table_lines(facts["errors"])]
    return "\n".join(lines)


def version_words(scored: Scored) -> str:
    """Name the version, with a link where MLflow is a server with pages."""
    pages = mlflow_pages()
    if pages is None:
        return scored.version
    return f"[{scored.version}]({version_page(pages, scored.model, scored.version)})"


def quality_lines(facts: Facts) -> list[str]:
    """Tell how good the answers are, where their truth is known."""
    quality = facts["quality"]
    if quality is None:
        return []
    lines = [f"## Quality on {quality['rows']} rows that the version has not learned from", ""]
    lines += ["| score | value | interval |", "|---|---:|---|"]
    for name, told in quality["scores"].items():
        lines.append(f"| {name} | {told['value']:.4f} | {told['low']:.4f} to {told['high']:.4f} |")
    return [*lines, ""]


def table_lines(rows: list[dict[str, object]]) -> list[str]:
    """Lay rows out as a table of a page."""
    if not rows:
        return ["none", ""]
    names = list(rows[0])
    cells = [[cell(row[name]) for name in names] for row in rows]
    head = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return [*head, *(f"| {' | '.join(row)} |" for row in cells), ""]


def cell(value: object) -> str:
    """Write a value so that it fits a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        shown = ", ".join(cell(each) for each in value[:4])
        return f"[{shown}{', ...' if len(value) > 4 else ''}]"
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def summary(scored: Scored) -> str:
    """Say it on a terminal, in a few lines."""
    facts = scored.facts
    good = facts["rows"] - facts["failed"]
    done = f"{facts['seconds']:.1f} s" if scored.recomputed else "before: nothing has changed"
    lines = [
        f"{scored.model} version {scored.version}: {good} answered, {facts['failed']} not ({done})",
        *(f"  row {row['row']}: {row['status']}" for row in facts["errors"][:3]),
    ]
    if quality := facts["quality"]:
        told = quality["scores"][quality["metric"]]
        lines.append(
            f"  quality   {quality['metric']} {told['value']:.4f} "
            f"({told['low']:.4f} to {told['high']:.4f}) on {quality['rows']} rows with their truth"
        )
    return "\n".join([*lines, f"  answers   {scored.folder}"])
