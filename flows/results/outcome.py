"""Say what a run came to: the outcome record, Prefect's result artifact, links."""

import time
from collections.abc import Sequence
from dataclasses import replace

from flows.job.job import Job
from flows.notifications.send import tell_outcome
from flows.results.mlflow_links import mlflow_pages, version_page
from tasks.records import Artifact, Facts, Outcome, Version
from tasks.reporting.formatting import named
from tasks.task_options import show


def announce(job: Job, version: Version, made: Sequence[Artifact | None], began: float) -> Outcome:
    """Build the outcome, leave it in the Prefect UI, and tell whoever wants to know.

    Args:
        job: that was run.
        version: that it came to.
        made: what each stage left, None where it was not needed; the report last.
        began: of `time.perf_counter`.
    """
    artifacts = [artifact for artifact in made if artifact is not None]
    recomputed = [artifact.stage for artifact in artifacts if artifact.recomputed]
    facts = artifacts[-1].facts
    best = facts["best_baseline"]
    outcome = Outcome(
        job=job.name,
        version=version.version,
        decision=version.decision,
        reason=version.reason,
        metrics=facts["metrics"],
        baseline={"name": best, facts["metric"]: facts["baselines"][best][facts["metric"]]},
        recomputed=recomputed + (["register"] if version.recomputed else []),
        seconds=round(time.perf_counter() - began, 3),
        links=links(version),
        headline=facts.get("headline", ""),
        warnings=facts.get("warnings", []),
    )
    doubts = tell_outcome(
        job,
        outcome,
        champion=facts["champion"],
        baseline=facts["baselines"][best],
        fresh=version.recomputed,
    )
    outcome = replace(outcome, warnings=[*outcome.warnings, *doubts])
    page = markdown(outcome, facts["baselines"], facts["champion"])
    page += gate_words(facts.get("gate")) + data_words(artifacts)
    show(f"{job.name}-result", page)
    return outcome


def summary(outcome: Outcome) -> str:
    """Say it on a terminal, in a few lines."""
    scores = ", ".join(f"{name} {value:.4f}" for name, value in outcome.metrics.items())
    baseline = ", ".join(
        f"{value:.4f}" if isinstance(value, float) else value for value in outcome.baseline.values()
    )
    done = ", ".join(outcome.recomputed) or "nothing, for data and job are unchanged"
    return "\n".join(
        [
            f"{outcome.job} version {outcome.version}: {outcome.decision}",
            *([f"  {outcome.headline}"] if outcome.headline else []),
            *(f"  warning: {words}" for words in outcome.warnings),
            f"  why       {outcome.reason}",
            f"  scores    {scores}",
            f"  baseline  {baseline}",
            f"  done      {done} ({outcome.seconds:.1f} s)",
        ]
    )


def links(version: Version) -> dict[str, str]:
    """Where the version is shown, when MLflow is a server with pages."""
    pages = mlflow_pages()
    if pages is None:
        return {}
    run = f"{pages}/#/experiments/{version.experiment_id}/runs/{version.run_id}"
    return {
        "model version": version_page(pages, version.name, version.version),
        "run": run,
        "report": f"{run}/artifacts/report.html",
        "data docs": f"{run}/artifacts/data_docs.html",
    }


def gate_words(gate: Facts | None) -> str:
    """Tell what the gate decided on; reports of older versions tell nothing."""
    if gate is None:
        return ""
    metric, sure = gate["metric"], f"{gate['confidence']:.0%}"
    lines = ["", "## Gate", "", f"| {metric} gain over | rows | gain | {sure} interval |"]
    lines.append("|---|---:|---:|---|")
    for rival in gate["rivals"]:
        low, gain, high = (number(rival[name]) for name in ("low", "gain", "high"))
        lines.append(f"| {rival['name']} | {rival['rows']} | {gain} | {low} to {high} |")
    lines.append("")
    if gate["excluded_rows"]:
        lines.append(f"- left out, for the champion has learned from them: {gate['excluded_rows']}")
    lines += [
        f"- broken: {guard['name']} {number(guard['value'])}, bound {guard['bound']}"
        for guard in gate["guards"]
        if not guard["held"]
    ]
    window = gate["window"]
    lines.append(f"- evaluations on these test rows: {window['uses']} (bound {window['bound']})")
    if window["warning"]:
        lines.append(f"- warning: {window['warning']}")
    return "\n".join([*lines, ""])


def number(value: float | None) -> str:
    """Write a gain or a loss; what could not be told as such."""
    return "unknown" if value is None else f"{value:+.4f}"


def data_words(artifacts: Sequence[Artifact]) -> str:
    """Tell about the data: rows, quarantine, drift."""
    facts = {artifact.stage: artifact.facts for artifact in artifacts}
    held, drifted = facts["validate"], facts["evaluate"]["drift"]
    read = facts["featurize"]
    counts = f"{read['training']} training, {read['validation']} validation, {read['test']}"
    lines = [
        "",
        "## Data",
        "",
        f"- rows: {held['rows']} accepted, {held['quarantined']} in quarantine",
        f"- promises: {held['promises'] - held['broken']} kept, {held['broken']} broken",
        f"- sequences: {counts} test",
        *unreadable_words(read),
        *(f"- {words}, taken out: {count}" for words, count in read["duplicates"].items()),
        "",
    ]
    if held["warnings"]:
        lines += ["```", held["warnings"], "```", ""]
    if drifted is None:
        lines.append("Drift: there is no champion's data to compare with.")
    elif not drifted:
        lines.append("Drift: none against the champion's data.")
    else:
        lines += ["| drifted column | how far | what |", "|---|---|---|"]
        lines += [f"| {row['column']} | {row['verdict']} | {row['reason']} |" for row in drifted]
    return "\n".join(lines)


def unreadable_words(read: Facts) -> list[str]:
    """Tell about rows that no sequence could be made of."""
    if not read["unreadable"]:
        return []
    first = f"the first: {read['first_unreadable']}"
    return [f"- rows that cannot be read: {read['unreadable']} (in quarantine), {first}"]


def markdown(
    outcome: Outcome,
    baselines: dict[str, dict[str, float]],
    champion: dict[str, float] | None,
) -> str:
    """Write the result as a page."""
    columns = {"challenger": outcome.metrics, **({"champion": champion} if champion else {})}
    columns |= baselines
    lines = [
        f"# {outcome.job}: {outcome.decision}",
        "",
        *([f"**{outcome.headline}.**", ""] if outcome.headline else []),
        *(line for words in outcome.warnings for line in (f"> Warning: {words}", "")),
        f"Version {outcome.version}: {outcome.reason}.",
        "",
        "| on the test rows | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name in outcome.metrics:
        told = [f"{scores[name]:.4f}" for scores in columns.values()]
        lines.append(f"| {named(name)} | " + " | ".join(told) + " |")
    done = ", ".join(outcome.recomputed) or "nothing: data and job are unchanged"
    lines += ["", f"Done in this run: {done}. {outcome.seconds:.1f} s.", ""]
    lines += [f"- [{name}]({link})" for name, link in outcome.links.items()]
    return "\n".join(lines)
