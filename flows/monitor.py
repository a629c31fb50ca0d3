"""Monitor: report data drift since the champion's training, and a drop of its performance.

Nothing is decided here: the events that it emits start `watch` by Prefect automations.
"""

from datetime import UTC, datetime
from pathlib import Path

from prefect import State, flow

from flows.accept_rows import accept_rows
from flows.environment import configure_run
from flows.job.form import JobFile
from flows.job.job import Job, load_job
from flows.notifications.send import notify_finding
from flows.runtime.damaged_artifacts import remake_damaged
from flows.runtime.run_names import build_run_name
from flows.watch import complete_with_message
from tasks.escaping import escape_markdown
from tasks.monitoring.data_drift import DriftResult, detect_drift
from tasks.monitoring.model_quality import ModelQuality, measure_quality
from tasks.records import Accepted
from tasks.task_options import publish_page
from tasks.triggers.limits import TriggersConfig

_DAY_SECONDS = 86_400.0


@flow(name="monitor", flow_run_name=build_run_name("monitor"), persist_result=False)
def monitor(job_file: JobFile) -> State[None]:
    """Compare today's rows with the champion's, and its predictions with the targets known by now.

    Args:
        job_file: Path of the job file, from the folder where the worker runs.
    """
    configure_run()
    job = load_job(Path(job_file))
    triggers = job.triggers or TriggersConfig(drift=_DAY_SECONDS, performance=_DAY_SECONDS)
    messages = remake_damaged(job.store, lambda: _monitor_job(job, triggers))
    return complete_with_message(f"{job.name}: {'; '.join(messages)}")


def _monitor_job(job: Job, triggers: TriggersConfig) -> list[str]:
    """Accept today's rows, monitor what the job asks for, and return the summaries."""
    _, accepted = accept_rows(job, datetime.now(UTC))
    messages, check_both = [], triggers.monitor_interval_seconds is None
    if triggers.drift or check_both:
        messages.append(_monitor_drift(job, accepted, triggers))
    if triggers.performance or check_both:
        messages.append(_monitor_performance(job, accepted, triggers))
    return messages


def _monitor_drift(job: Job, accepted: Accepted, triggers: TriggersConfig) -> str:
    """Measure drift, publish its page, notify if there is any, and return a summary."""
    result: DriftResult = detect_drift(
        accepted,
        name=job.name,
        columns=_list_monitored_columns(job),
        min_severity=triggers.drift_severity,
        store=job.store,
    )
    publish_page(f"{job.name}-drift", _format_drift_page(job.name, result))
    if result.champion is None:
        return "there is no champion's data to compare with"
    if not result.drifted_columns:
        return f"no drift of {result.columns_checked} columns since {result.champion}"
    columns = [f"{each.column} {each.severity}" for each in result.drifted_columns]
    reason = f"drift since version {result.champion}: {', '.join(columns)}"
    notify_finding(job, "drift", reason=reason, key=f"drift-{accepted.facts.rows_key[:32]}")
    return reason


def _monitor_performance(job: Job, accepted: Accepted, triggers: TriggersConfig) -> str:
    """Measure the champion's performance, publish its page, notify of a drop, return a summary."""
    result: ModelQuality = measure_quality(accepted, name=job.name, gate=job.gate, store=job.store)
    publish_page(f"{job.name}-performance", _format_performance_page(job.name, result))
    if result.drop is None:
        return f"performance is unknown: {result.unknown_reason}"
    scores = [each.value for each in (result.reference, result.current) if each]
    change = f"{result.metric} from {scores[0]:.4f} to {scores[1]:.4f} on {result.rows} new rows"
    if not result.drop.low > triggers.min_performance_drop:
        return f"performance of version {result.champion} has not dropped significantly: {change}"
    reason = f"performance of version {result.champion} dropped: {change}"
    key = f"performance-{accepted.facts.rows_key[:32]}"
    notify_finding(job, "performance", reason=reason, key=key)
    return reason


def _format_performance_page(name: str, result: ModelQuality) -> str:
    """Format the measured performance as a Markdown page."""
    if result.drop is None or result.reference is None or result.current is None:
        reason = escape_markdown(result.unknown_reason)
        return f"# {name}: performance is unknown\n\nBecause: {reason}."
    scores = {"reference at registration": result.reference, "on rows since then": result.current}
    lines = [f"# {name}: {result.metric} of version {result.champion}", ""]
    lines += ["| | value | interval |", "|---|---:|---|"]
    for label, score in scores.items():
        interval = f"{score.low:.4f} to {score.high:.4f}"
        lines.append(f"| {label} | {score.value:.4f} | {interval} |")
    drop = result.drop
    lines.append(f"| drop | {drop.drop:+.4f} | {drop.low:+.4f} to {drop.high:+.4f} |")
    return "\n".join([*lines, "", f"On {result.rows} rows whose target is known by now."])


def _list_monitored_columns(job: Job) -> list[str]:
    """List the columns that may drift: inputs and targets, without time, which only ever grows."""
    names = {*job.layout.raw_columns, *job.target.columns} - {job.source.time}
    return sorted(name for name in names if name)


def _format_drift_page(name: str, result: DriftResult) -> str:
    """Format the drifted columns as a Markdown page."""
    if result.champion is None:
        reason = "There is no champion, or its data no longer exists."
        return f"# {name}: nothing to compare with\n\n{reason}"
    count = len(result.drifted_columns)
    lines = [f"# {name}: {count} of {result.columns_checked} columns have drifted", ""]
    lines += [f"Compared with the training rows of version {result.champion}.", ""]
    if count:
        lines += ["| column | severity | change |", "|---|---|---|"]
        lines += [
            f"| {escape_markdown(c.column)} | {c.severity} | {escape_markdown(c.reason)} |"
            for c in result.drifted_columns
        ]
    return "\n".join(lines)
