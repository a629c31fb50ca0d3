"""Monitor: compare today's rows with those that the champion learned from, and tell of drift.

What follows from it is not decided here: the event starts `watch` by a Prefect automation.
"""

from datetime import UTC, datetime
from pathlib import Path

from prefect import State, flow
from prefect.runtime import flow_run

from flows.form import JobFile
from flows.home import settle_run
from flows.job import Job, load_job
from flows.notices import tell_drift
from flows.rows import accept_rows
from flows.watch import said
from tasks.brakes import TriggersConfig
from tasks.shift import Drifted, measure_drift
from tasks.stage import show


def run_name() -> str:
    """Name a run after its job and its start."""
    start = flow_run.scheduled_start_time
    return f"monitor-{Path(flow_run.parameters['job_file']).stem}-{start:%Y%m%d-%H%M%S}"


@flow(name="monitor", flow_run_name=run_name, persist_result=False)
def monitor(job_file: JobFile) -> State[None]:
    """Compare today's rows with the champion's, and tell of drift by an event.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
    """
    settle_run()
    job = load_job(Path(job_file))
    triggers = job.triggers or TriggersConfig(drift=86_400.0)
    _, accepted = accept_rows(job, datetime.now(UTC))
    found = measure_drift(
        accepted, name=job.name, columns=watched(job), least=triggers.drift_from, store=job.store
    )
    show(f"{job.name}-drift", page(job.name, found))
    if found.champion is None:
        return said(f"{job.name}: there is no champion's data to compare with")
    if not found.columns:
        return said(f"{job.name}: no drift of {found.looked_at} columns since {found.champion}")
    told = [f"{each.column} {each.verdict}" for each in found.columns]
    why = f"drift since version {found.champion}: {', '.join(told)}"
    tell_drift(job, why=why, key=f"drift-{accepted.facts['rows_key'][:32]}")
    return said(f"{job.name}: {why}")


def watched(job: Job) -> list[str]:
    """Name the columns that may drift; time only ever grows."""
    names = {*job.layout.raw_columns, *job.target.columns} - {job.source.time}
    return sorted(name for name in names if name)


def page(name: str, found: Drifted) -> str:
    """Write what was found as a page."""
    if found.champion is None:
        return f"# {name}: nothing to compare with\n\nThere is no champion, or its data is gone."
    lines = [f"# {name}: {len(found.columns)} of {found.looked_at} columns have drifted", ""]
    lines += [f"Compared with the rows that version {found.champion} learned from.", ""]
    if found.columns:
        lines += ["| column | how far | what |", "|---|---|---|"]
        lines += [f"| {each.column} | {each.verdict} | {each.reason} |" for each in found.columns]
    return "\n".join(lines)
