"""The context in which a command runs flows in its own process: tags, heartbeats, log filter."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags

from flows.notifications.events import list_tags
from flows.runtime.crashed_runs import build_process_tag, sweep_crashed_runs
from flows.runtime.heartbeat import use_own_heartbeat
from flows.runtime.log_filter import hide_tracebacks


@contextmanager
def run_context(name: str) -> Iterator[None]:
    """Run flows of a job, or of the model of its name, within this context.

    Earlier runs of it whose process was killed are marked as crashed.
    """
    hide_tracebacks()
    sweep_crashed_runs(name)
    with use_own_heartbeat(), tags(*list_tags(name), name, build_process_tag()):
        yield
