"""Say what a run came to: the outcome record, Prefect's result artifact, links."""

import os
from collections.abc import Sequence
from urllib.parse import quote

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext

from flows.job import Job
from tasks.artifacts import Artifact, Outcome, Version


def announce(
    job: Job, version: Version, *, artifacts: Sequence[Artifact], seconds: float
) -> Outcome:
    """Build the outcome and leave it in the Prefect UI."""
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
        seconds=round(seconds, 3),
        links=links(version),
    )
    if FlowRunContext.get() is not None:
        create_markdown_artifact(
            markdown(outcome, facts["baselines"], facts["champion"]), key=f"{slug(job.name)}-result"
        )
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
            f"  why       {outcome.reason}",
            f"  scores    {scores}",
            f"  baseline  {baseline}",
            f"  done      {done} ({outcome.seconds:.1f} s)",
        ]
    )


def slug(name: str) -> str:
    """Write a job's name as Prefect wants an artifact's key."""
    return name.lower().replace("_", "-")


def links(version: Version) -> dict[str, str]:
    """Where the version is shown, when MLflow is a server with pages."""
    base = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not base.startswith("http"):
        return {}
    return {
        "model version": f"{base}/#/models/{quote(version.name)}/versions/{version.version}",
        "run": f"{base}/#/experiments/{version.experiment_id}/runs/{version.run_id}",
    }


def markdown(
    outcome: Outcome,
    baselines: dict[str, dict[str, float]],
    champion: dict[str, float] | None,
) -> str:
    """Write the result as a page."""
    names = list(outcome.metrics)
    columns = {"challenger": outcome.metrics, **({"champion": champion} if champion else {})}
    columns |= baselines
    lines = [
        f"# {outcome.job}: {outcome.decision}",
        "",
        f"Version {outcome.version}: {outcome.reason}.",
        "",
        "| on the test rows | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for who, scores in columns.items():
        lines.append(f"| {who} | " + " | ".join(f"{scores[name]:.4f}" for name in names) + " |")
    done = ", ".join(outcome.recomputed) or "nothing: data and job are unchanged"
    lines += ["", f"Done in this run: {done}. {outcome.seconds:.1f} s.", ""]
    lines += [f"- [{name}]({link})" for name, link in outcome.links.items()]
    return "\n".join(lines)
