"""The result of a scoring run, as a page in Prefect and as lines on a terminal."""

from dataclasses import asdict

from flows.results.mlflow_links import find_mlflow_url, format_version_url
from tasks.escaping import escape_markdown
from tasks.scoring.output_dataset import ScoringFacts
from tasks.scoring.score import ScoredDataset, ScoringPreview

_HIDDEN_COLUMNS = {"in_training", "version", "probabilities", "vector"}
"""Columns that a page does not show."""

_MAX_CELL_LENGTH = 60
"""Longest text in a cell of a table."""


def format_page(result: ScoringPreview) -> str:
    """Format counts, metrics, the first predictions and the first errors as a Markdown page."""
    scored, facts = result.dataset, result.dataset.facts
    state = "scored" if scored.recomputed else "unchanged since the predictions of"
    written_at = "" if scored.recomputed else f" {facts.written_at}"
    lines = [
        f"# {escape_markdown(scored.model)}: {facts.rows} rows {state}{written_at}",
        "",
        "| what | |",
        "|---|---|",
        f"| version | {_format_version(scored)} |",
        f"| rows | {facts.rows} |",
        f"| not scored | {facts.failed} |",
        f"| dataset | `{scored.folder}` |",
        f"| snapshot | `{facts.snapshot}` |",
        f"| seconds | {facts.seconds} |",
        "",
        *_format_quality(facts),
        "## The first predictions",
        "",
        *_format_table(
            [
                {k: v for k, v in row.items() if k not in _HIDDEN_COLUMNS}
                for row in result.first_rows
            ]
        ),
    ]
    if facts.errors:
        lines += [
            "## The first rows without a prediction",
            "",
            *_format_table([asdict(row) for row in facts.errors]),
        ]
    return "\n".join(lines)


def format_summary(scored: ScoredDataset) -> str:
    """Format the result as a few lines for a terminal."""
    facts = scored.facts
    good = facts.rows - facts.failed
    done = f"{facts.seconds:.1f} s" if scored.recomputed else "unchanged since"
    lines = [
        f"{scored.model} version {scored.version}: {good} scored, {facts.failed} not ({done})",
        *(f"  row {row.row}: {row.status}" for row in facts.errors[:3]),
    ]
    if quality := facts.quality:
        score = quality.scores[quality.metric]
        lines.append(
            f"  metric    {quality.metric} {score.value:.4f} "
            f"({score.low:.4f} to {score.high:.4f}) on {quality.rows} rows whose target is known"
        )
    return "\n".join([*lines, f"  dataset   {scored.folder}"])


def _format_version(scored: ScoredDataset) -> str:
    """Return the version, with a link where MLflow is a server."""
    base_url = find_mlflow_url()
    if base_url is None:
        return scored.version
    return f"[{scored.version}]({format_version_url(base_url, scored.model, scored.version)})"


def _format_quality(facts: ScoringFacts) -> list[str]:
    """Format the metrics of the predictions whose target is known."""
    quality = facts.quality
    if quality is None:
        return []
    lines = [f"## Quality on {quality.rows} rows that are not training rows of the version", ""]
    lines += ["| metric | value | interval |", "|---|---:|---|"]
    for name, score in quality.scores.items():
        lines.append(f"| {name} | {score.value:.4f} | {score.low:.4f} to {score.high:.4f} |")
    return [*lines, ""]


def _format_table(rows: list[dict[str, object]]) -> list[str]:
    """Format rows as a Markdown table."""
    if not rows:
        return ["none", ""]
    names = list(rows[0])
    cells = [[_format_cell(row[name]) for name in names] for row in rows]
    head = [f"| {' | '.join(map(escape_markdown, names))} |", "|" + "---|" * len(names)]
    return [*head, *(f"| {' | '.join(row)} |" for row in cells), ""]


def _format_cell(value: object) -> str:
    """Format a value for a cell of a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        shown = ", ".join(_format_cell(each) for each in value[:4])
        return f"\\[{shown}{', ...' if len(value) > 4 else ''}\\]"
    text = str(value)
    if len(text) > _MAX_CELL_LENGTH:
        text = f"{text[: _MAX_CELL_LENGTH - 3]}..."
    return escape_markdown(text)
