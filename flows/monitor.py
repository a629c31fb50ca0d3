"""Monitor: tell when the data has drifted from what the champion learned from, or its answers fell.

What follows from it is not decided here: the events start `watch` by Prefect automations.
"""

from datetime import UTC, datetime
from pathlib import Path

from prefect import State, flow

from flows.accept_rows import accept_rows
from flows.environment import settle_run
from flows.job.form import JobFile
from flows.job.job import Job, load_job
from flows.notifications.send import tell_found
from flows.runtime.run_names import named
from flows.watch import said
from tasks.monitoring.data_drift import Drifted, measure_drift
from tasks.monitoring.model_quality import Quality, measure_quality
from tasks.records import Accepted
from tasks.task_options import show
from tasks.triggers.limits import TriggersConfig


@flow(name="monitor", flow_run_name=named("monitor"), persist_result=False)
def monitor(job_file: JobFile) -> State[None]:
    """Compare today's rows with the champion's, and its answers with their truth; tell by events.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
    """
    settle_run()
    job = load_job(Path(job_file))
    triggers = job.triggers or TriggersConfig(drift=86_400.0, performance=86_400.0)
    _, accepted = accept_rows(job, datetime.now(UTC))
    words, both = [], triggers.monitored is None
    if triggers.drift or both:
        words.append(see_drift(job, accepted, triggers))
    if triggers.performance or both:
        words.append(see_quality(job, accepted, triggers))
    return said(f"{job.name}: {'; '.join(words)}")


def see_drift(job: Job, accepted: Accepted, triggers: TriggersConfig) -> str:
    """Compare today's rows with the champion's, and say what came of it."""
    found = measure_drift(
        accepted,
        name=job.name,
        columns=watched(job),
        least=triggers.drift_severity,
        store=job.store,
    )
    show(f"{job.name}-drift", page(job.name, found))
    if found.champion is None:
        return "there is no champion's data to compare with"
    if not found.columns:
        return f"no drift of {found.looked_at} columns since {found.champion}"
    told = [f"{each.column} {each.verdict}" for each in found.columns]
    why = f"drift since version {found.champion}: {', '.join(told)}"
    tell_found(job, "drift", why=why, key=f"drift-{accepted.facts['rows_key'][:32]}")
    return why


def see_quality(job: Job, accepted: Accepted, triggers: TriggersConfig) -> str:
    """Compare the champion's answers with what it promised, and say what came of it."""
    found = measure_quality(accepted, name=job.name, gate=job.gate, store=job.store)
    show(f"{job.name}-quality", quality_page(job.name, found))
    if found.fall is None:
        return f"quality is not known: {found.unknown}"
    scores = [card["value"] for card in (found.promised, found.now) if card]
    moved = f"{found.metric} from {scores[0]:.4f} to {scores[1]:.4f} on {found.rows} new rows"
    if not found.fall.low > triggers.min_performance_drop:
        return f"quality of version {found.champion} has not fallen beyond doubt: {moved}"
    why = f"quality of version {found.champion} fell: {moved}"
    tell_found(job, "quality", why=why, key=f"quality-{accepted.facts['rows_key'][:32]}")
    return why


def quality_page(name: str, found: Quality) -> str:
    """Write what was found about the champion's answers as a page."""
    if found.fall is None or found.promised is None or found.now is None:
        return f"# {name}: quality is not known\n\nBecause: {found.unknown}."
    cards = {"promised at registration": found.promised, "on rows that came since": found.now}
    lines = [f"# {name}: {found.metric} of version {found.champion}", ""]
    lines += ["| | value | interval |", "|---|---:|---|"]
    for what, card in cards.items():
        lines.append(f"| {what} | {card['value']:.4f} | {card['low']:.4f} to {card['high']:.4f} |")
    fall = found.fall
    lines.append(f"| fall | {fall.fall:+.4f} | {fall.low:+.4f} to {fall.high:+.4f} |")
    return "\n".join([*lines, "", f"On {found.rows} rows whose truth is known by now."])


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
