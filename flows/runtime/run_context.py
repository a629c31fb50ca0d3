"""How a command of ours runs flows in its own process: readily, quietly, with their own pulse."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags

from flows.notifications.events import tags_of
from flows.runtime.heartbeat import own_pulse
from flows.runtime.log_filter import hush


@contextmanager
def at_work(name: str) -> Iterator[None]:
    """Run the flows of a job, or of a model of its name, within."""
    hush()
    with own_pulse(), tags(*tags_of(name), name):
        yield
