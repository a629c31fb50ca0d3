"""The table of `accuracy.py`: scores of jobs beside references.

A record is what was asked of a run and what came out of it, as a line of the results file.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.evaluation.metrics.by_kind import get_metric_sign
from tests.benchmarks.accuracy_sets import get_dataset

Record = dict[str, Any]

METRICS = ("accuracy", "mae", "exact_match", "bleu", "macro_f1")
"""The first one that a report has is the score, unless the dataset names another."""


def read_score(scores: Mapping[str, float], metric: str) -> float | None:
    """Return a metric from a report's scores; None where it is not there."""
    if metric == "mse" and "mse" not in scores and "rmse" in scores:
        return scores["rmse"] ** 2
    return scores.get(metric)


def choose_metric(record: Record) -> str | None:
    """Choose the metric of a run's row."""
    metric = get_dataset(record["dataset"]).metric
    scores = record.get("scores", {})
    choices = (metric, *METRICS) if metric else METRICS
    return next((name for name in choices if read_score(scores, name) is not None), None)


def collect_references(record: Record, metric: str) -> dict[str, float]:
    """Return the references of a run by name: the report's best baseline, and those of our own."""
    sign = get_metric_sign("rmse" if metric == "mse" else metric)
    baselines = score_all(record.get("baselines", {}), metric)
    best = sorted(baselines, key=lambda name: -sign * baselines[name])[:1]
    own = score_all(record.get("references", {}), metric)
    return {f"report's {name}": baselines[name] for name in best} | own


def score_all(scores: Mapping[str, Mapping[str, float]], metric: str) -> dict[str, float]:
    """Return a metric of all models that have it."""
    values = {name: read_score(each, metric) for name, each in scores.items()}
    return {name: value for name, value in values.items() if value is not None}


def format_table(records: Iterable[Record]) -> str:
    """Format the runs as a Markdown table, a row for each dataset and preset: means of seeds."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        settings = " ".join(record["settings"])
        groups.setdefault((record["dataset"], record["preset"], settings), []).append(record)
    names = (
        "dataset", "preset", "metric", "score", "references", "gain", "literature", "decision",
        "parts alone", "recurrent weight", "seconds", "CPU seconds", "notes",
    )  # fmt: skip
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for (dataset, preset, settings), group in groups.items():
        label = f"{preset} {settings}".strip()
        cells = format_group([each for each in group if not each["error"]])
        notes = format_notes(group)
        literature = get_dataset(dataset).literature
        row = (dataset, label, *cells[:4], literature, *cells[4:], notes)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    return "\n".join(lines)


def format_group(runs: Sequence[Record]) -> list[str]:
    """Format what came out of runs that differ by seed; means of the seeds.

    The gain is that over the best reference; above 0 ours is better.
    """
    metric = choose_metric(runs[0]) if runs else None
    if metric is None:
        return ["", "failed", *[""] * 7]
    score = [value for run in runs if (value := read_score(run["scores"], metric)) is not None]
    sign = get_metric_sign("rmse" if metric == "mse" else metric)
    references = collect_references(runs[0], metric)
    best = max((sign * value for value in references.values()), default=None)
    mean = statistics.fmean(score)
    spread = f" (sd {statistics.stdev(score):.3f})" if len(score) > 1 else ""
    weights = [run["recurrent_weight"] for run in runs if run["recurrent_weight"] is not None]
    decisions = [run["decision"] for run in runs]
    return [
        metric,
        f"{mean:.3f}{spread}",
        ", ".join(f"{name} {value:.3f}" for name, value in references.items()),
        "" if best is None else f"{sign * mean - best:+.3f}",
        ", ".join(f"{name} ({decisions.count(name)})" for name in sorted(set(decisions))),
        format_parts(runs, metric),
        f"{statistics.fmean(weights):.2f}" if weights else "",
        f"{statistics.fmean(run['seconds'] for run in runs):.0f}",
        f"{statistics.fmean(run['cpu_seconds'] for run in runs):.0f}",
    ]


def format_parts(runs: Sequence[Record], metric: str) -> str:
    """Format the mean score of the recurrent part and of each branch alone."""
    scores: dict[str, list[float]] = {}
    for run in runs:
        for name, score in score_all(run["parts"], metric).items():
            # The report adds the weight, which differs by seed.
            scores.setdefault(name.partition(" alone")[0], []).append(score)
    return ", ".join(f"{name} {statistics.fmean(values):.3f}" for name, values in scores.items())


def format_notes(group: Sequence[Record]) -> str:
    """Say what failed, and which options `init` does not have."""
    missing = {name for run in group for name in run.get("missing_options", ())}
    notes = [f"init has no {', '.join(sorted(missing))}"] if missing else []
    for run in group:
        if run["error"]:
            notes.append(f"seed {run['seed']}: {run['error']}")
        elif run.get("reference_error"):
            notes.append(f"seed {run['seed']}: {run['reference_error']}")
    return "; ".join(notes)


def format_summary(records: Sequence[Record]) -> str:
    """Say for each preset how often accuracy is at least that of the best reference."""
    lines = []
    for preset in dict.fromkeys(record["preset"] for record in records):
        runs = [run for run in records if run["preset"] == preset and not run["error"]]
        runs = [run for run in runs if choose_metric(run) == "accuracy"]
        scores = [run["scores"]["accuracy"] for run in runs]
        best = [max(collect_references(run, "accuracy").values(), default=0.0) for run in runs]
        if runs:
            level = sum(score >= other for score, other in zip(scores, best, strict=True))
            lines.append(
                f"{preset}: mean accuracy {statistics.fmean(scores):.4f} beside "
                f"{statistics.fmean(best):.4f} of the best references; "
                f"{level} of {len(runs)} runs are at least level"
            )
    return "\n".join(lines)
