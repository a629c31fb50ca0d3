"""How a command of ours runs flows in its own process: readily, quietly, with their own pulse."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags

from flows.pulse import own_pulse
from flows.quiet import hush


@contextmanager
def at_work(*names: str) -> Iterator[None]:
    """Run flows within; the names are tags of theirs."""
    hush()
    with own_pulse(), tags("ostinato", *names):
        yield
