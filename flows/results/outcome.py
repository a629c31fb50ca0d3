"""Report the outcome of a run: the record, the page in Prefect, notifications, links."""

import time
from dataclasses import replace
from typing import NamedTuple

from flows.job.job import Job
from flows.notifications.send import notify_outcome
from flows.results.mlflow_links import find_mlflow_url, format_version_url
from flows.results.serving_baseline import ServingBaseline, describe_serving
from tasks.escaping import escape_markdown, fence_markdown
from tasks.facts import FeatureFacts, ReportFacts
from tasks.gate_record import GateRecord
from tasks.records import (
    Accepted,
    Candidate,
    Choice,
    Features,
    Outcome,
    Report,
    Snapshot,
    Version,
)
from tasks.reporting.advice import list_advice, list_training_warnings
from tasks.reporting.formatting import format_metric_name
from tasks.reporting.score_sections import describe_score_rows
from tasks.task_options import publish_page


class RunArtifacts(NamedTuple):
    """The artifact of each stage of a run."""

    snapshot: Snapshot
    accepted: Accepted
    features: Features
    choice: Choice | None
    """None unless the job has `model: auto`."""
    candidate: Candidate
    report: Report


def report_outcome(
    job: Job,
    version: Version,
    artifacts: RunArtifacts,
    start_time: float,
    *,
    serving: ServingBaseline | None = None,
) -> Outcome:
    """Build the outcome, publish it as a page in Prefect, and send the notifications.

    Args:
        job: the job that was run.
        version: the registered version.
        artifacts: the artifact of each stage.
        start_time: start of the run, of `time.perf_counter`.
        serving: the baseline that serves where no network has beaten it.
    """
    recomputed = [each.stage for each in artifacts if each is not None and each.recomputed]
    facts = artifacts.report.facts
    best = facts.best_baseline
    outcome = Outcome(
        job=job.name,
        version=version.version,
        decision=version.decision,
        reason=version.reason,
        metrics=facts.metrics,
        baseline={"name": best, facts.metric: facts.baselines[best][facts.metric]},
        recomputed=recomputed
        + (["register"] if version.recomputed else [])
        + (["fallback"] if serving and serving.is_new else []),
        seconds=round(time.perf_counter() - start_time, 3),
        links=_build_links(version),
        headline=facts.headline,
        warnings=[
            *facts.warnings,
            *list_training_warnings(artifacts.candidate.facts, artifacts.features.facts),
        ],
        test_rows=facts.rows,
        advice=list_advice(facts, artifacts.candidate.facts, job.training),
        serving=describe_serving(serving, facts) if serving else "",
        serving_version=serving.version_number if serving else None,
    )
    warnings = notify_outcome(
        job,
        outcome,
        champion=facts.champion,
        baseline=facts.baselines[best],
        fresh=version.recomputed,
        rows_note=describe_score_rows(facts),
    )
    outcome = replace(outcome, warnings=[*outcome.warnings, *warnings])
    page = format_page(outcome, facts)
    page += _format_gate(facts.gate) + _format_data(artifacts)
    publish_page(f"{job.name}-result", page)
    return outcome


def format_summary(outcome: Outcome) -> str:
    """Format the outcome as a few lines for a terminal."""
    scores = ", ".join(f"{name} {value:.4f}" for name, value in outcome.metrics.items())
    baseline = ", ".join(
        f"{value:.4f}" if isinstance(value, float) else value for value in outcome.baseline.values()
    )
    done = ", ".join(outcome.recomputed) or "nothing: data and job are unchanged"
    return "\n".join(
        [
            f"{outcome.job} version {outcome.version}: {outcome.decision}",
            *([f"  {outcome.headline}"] if outcome.headline else []),
            *(f"  warning: {warning}" for warning in outcome.warnings),
            f"  why       {outcome.reason}",
            *([f"  serving   {outcome.serving}"] if outcome.serving else []),
            *(f"  advice    {advice}" for advice in outcome.advice),
            f"  metrics   {scores} on all {outcome.test_rows} test rows",
            f"  baseline  {baseline} on the same rows",
            f"  done      {done} ({outcome.seconds:.1f} s)",
        ]
    )


def _build_links(version: Version) -> dict[str, str]:
    """Return links to the version in the MLflow UI, where MLflow is a server."""
    base_url = find_mlflow_url()
    if base_url is None:
        return {}
    run = f"{base_url}/#/experiments/{version.experiment_id}/runs/{version.run_id}"
    return {
        "model version": format_version_url(base_url, version.name, version.version),
        "run": run,
        "report": f"{run}/artifacts/report.html",
        "data docs": f"{run}/artifacts/data_docs.html",
    }


def _format_gate(gate: GateRecord) -> str:
    """Format the comparisons and guardrails of the gate's decision."""
    metric, confidence = gate.metric, f"{gate.confidence:.0%}"
    lines = ["", "## Gate", "", f"| {metric} gain over | rows | gain | {confidence} interval |"]
    lines.append("|---|---:|---:|---|")
    for each in gate.comparisons:
        low, gain, high = map(_format_number, (each.low, each.gain, each.high))
        lines.append(f"| {escape_markdown(each.name)} | {each.rows} | {gain} | {low} to {high} |")
    lines.append("")
    if gate.is_tie:
        lines.append("- promoted as a tie: not better than the best baseline, but as good")
    if gate.champion is None and gate.require_baseline:
        lines.append(f"- bound of a first version over the best baseline: {gate.bound:+.3g}")
    if gate.excluded_rows:
        lines.append(
            f"- excluded, because they are training rows of the champion: {gate.excluded_rows}"
        )
    lines += [
        f"- failed: {escape_markdown(guardrail.name)} {_format_number(guardrail.value)}, "
        f"limit {guardrail.limit}"
        for guardrail in gate.guardrails
        if not guardrail.passed
    ]
    holdout = gate.holdout
    lines.append(f"- evaluations on these test rows: {holdout.uses} (limit {holdout.limit})")
    if holdout.warning:
        lines.append(f"- warning: {escape_markdown(holdout.warning)}")
    return "\n".join([*lines, ""])


def _format_number(value: float | None) -> str:
    """Format a difference with its sign; `unknown` where there is none."""
    return "unknown" if value is None else f"{value:+.4f}"


def _format_data(artifacts: RunArtifacts) -> str:
    """Format the counts of rows and sequences, the broken expectations and the drift."""
    accepted, drift = artifacts.accepted.facts, artifacts.report.facts.drift
    features = artifacts.features.facts
    counts = f"{features.training} training, {features.validation} validation, {features.test}"
    lines = [
        "",
        "## Data",
        "",
        f"- rows: {accepted.rows} accepted, {accepted.quarantined} quarantined",
        f"- expectations: {accepted.expectations - accepted.broken} met, {accepted.broken} broken",
        f"- sequences: {counts} test",
        *_format_unreadable(features),
        *(f"- {kind}, removed: {count}" for kind, count in features.duplicates.items()),
        "",
    ]
    if accepted.warnings:
        lines += [fence_markdown(accepted.warnings), ""]
    if drift is None:
        lines.append("Drift: there is no champion's data to compare with.")
    elif not drift:
        lines.append("Drift: none against the champion's data.")
    else:
        lines += ["| drifted column | severity | change |", "|---|---|---|"]
        lines += [
            f"| {escape_markdown(row.column)} | {row.severity} | {escape_markdown(row.reason)} |"
            for row in drift
        ]
    return "\n".join(lines)


def _format_unreadable(features: FeatureFacts) -> list[str]:
    """Format the count of rows that no sequence could be made of, with the first reason."""
    if not features.unreadable:
        return []
    first = f"the first: {escape_markdown(features.first_unreadable)}"
    return [f"- rows that cannot be read: {features.unreadable} (quarantined), {first}"]


def format_page(outcome: Outcome, facts: ReportFacts) -> str:
    """Format the outcome as a Markdown page."""
    champion = {"champion": facts.champion} if facts.champion else {}
    columns = {"challenger": outcome.metrics, **champion, **facts.baselines}
    lines = [
        f"# {escape_markdown(outcome.job)}: {outcome.decision}",
        "",
        *([f"**{escape_markdown(outcome.headline)}.**", ""] if outcome.headline else []),
        *(
            line
            for warning in outcome.warnings
            for line in (f"> Warning: {escape_markdown(warning)}", "")
        ),
        f"Version {outcome.version}: {escape_markdown(outcome.reason)}.",
        "",
        *([f"**Serving: {escape_markdown(outcome.serving)}.**", ""] if outcome.serving else []),
        *(
            line
            for advice in outcome.advice
            for line in (f"> Advice: {escape_markdown(advice)}.", "")
        ),
        f"| on {facts.rows} test rows | " + " | ".join(map(escape_markdown, columns)) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name in outcome.metrics:
        # Some are of one model alone: a point forecast has no coverage.
        scores = [each.get(name) for each in columns.values()]
        values = ["-" if score is None else f"{score:.4f}" for score in scores]
        lines.append(
            f"| {escape_markdown(format_metric_name(name))} | " + " | ".join(values) + " |"
        )
    if note := describe_score_rows(facts):
        lines += ["", escape_markdown(note)]
    done = ", ".join(outcome.recomputed) or "nothing: data and job are unchanged"
    lines += ["", f"Done in this run: {done}. {outcome.seconds:.1f} s.", ""]
    lines += [f"- [{name}]({link})" for name, link in outcome.links.items()]
    return "\n".join(lines)
