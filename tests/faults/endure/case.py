"""What a case is, and the rules by which the end of a command is judged."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.faults.endure.workshop import Workshop

MAX_MESSAGE = 2_000
"""Characters that a message may have."""
MAX_SECONDS = 60.0
"""Seconds after which a command on a small input counts as hanging."""
MAX_MEMORY = 2 << 30
"""Bytes of resident memory that a command on a small input may take."""

_TRACEBACK = "Traceback (most recent call last)"
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b")
_SHOWN = 300


class Case(NamedTuple):
    """One fault, and the rule that says whether the product held."""

    kind: str
    name: str
    """Unique in its kind; with the seed it is all that is needed to repeat the case."""
    judge: Callable[["Workshop"], str | None]
    """Brings the fault about, and returns how the product failed; None where it held."""


class Outcome(NamedTuple):
    """What came of a case."""

    kind: str
    name: str
    failure: str | None
    """How the product failed; None where it held."""
    seconds: float
    skipped: bool = False
    """Whether this machine cannot bring the fault about; `failure` says why."""


class CannotRun(Exception):
    """This machine cannot bring the fault about."""


class NoSuchCase(Exception):
    """What the case is about does not exist, such as a file of a number that there is not."""


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    """Exit code; the negative number of the signal that ended it."""
    output: str
    errors: str
    """What it wrote to stderr."""
    seconds: float
    memory: int
    """Bytes of resident memory at its peak."""
    timed_out: bool


def judge_ended(ended: Ended, codes: Collection[int], names: Sequence[str] = ()) -> str | None:
    """Judge how a command has ended.

    Args:
        ended: the command.
        codes: exit codes that are right.
        names: of which a message of an error has to contain one, such as a key or a file.

    Returns:
        The first rule that is broken; None where all hold.
    """
    message = ended.errors.strip()
    if ended.timed_out:
        return f"it did not end in {ended.seconds:.0f} s"
    if _TRACEBACK in ended.output + ended.errors:
        return f"a traceback: {find_error_line(ended.errors or ended.output)}"
    if ended.code not in codes:
        return f"exit code {ended.code}: {shorten(message or ended.output)}"
    if ended.memory > MAX_MEMORY:
        return f"{ended.memory / 2**30:.1f} GiB of memory, exit code {ended.code}"
    return judge_message(message, names) if ended.code else None


def judge_message(message: str, names: Sequence[str]) -> str | None:
    """Judge the message of an error: it is there, short, and names what is wrong."""
    if not message:
        return "an error without a message"
    if len(message) > MAX_MESSAGE:
        return f"a message of {len(message):,} characters: {shorten(message)}"
    if names and not any(name in message for name in names):
        return f"the message names none of {', '.join(names)}: {shorten(message)}"
    return None


def find_error_line(text: str) -> str:
    """Return the last line that begins with the name of an error; the last line where none does."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no output"]
    errors = [line for line in lines if _ERROR.match(line)]
    return shorten((errors or lines)[-1])


def shorten(text: str) -> str:
    """Return the text as one line of a bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 60]} ... {line[-55:]}"
