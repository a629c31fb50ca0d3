"""How a command of ours runs flows in its own process: readily, quietly, with their own pulse."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags

from flows.pulse import own_pulse
from flows.quiet import hush


@contextmanager
def at_work(name: str) -> Iterator[None]:
    """Run the flows of a job within."""
    hush()
    with own_pulse(), tags("ostinato", name):
        yield
