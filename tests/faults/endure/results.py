"""The table of the endurance harness, and its place in a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.endure.case import Outcome

BEGIN, END = "<!-- endure: begin -->", "<!-- endure: end -->"
"""Markers of the table's place in a file."""

_MAX_NAME = 160


def format_table(outcomes: Mapping[str, Sequence[Outcome]], *, seed: int, minutes: float) -> str:
    """Format the outcomes of each kind as a table, and the cases that failed as a list."""
    rows = [
        "| kind | tried | held | failed | not possible here | minutes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind, part in outcomes.items():
        skipped = sum(each.skipped for each in part)
        failed = sum(bool(each.failure) for each in part) - skipped
        tried = len(part) - skipped
        spent = sum(each.seconds for each in part) / 60
        rows.append(
            f"| {kind} | {tried} | {tried - failed} | {failed} | {skipped or ''} | {spent:.1f} |"
        )
    faults = [each for part in outcomes.values() for each in part if each.failure]
    lines = [f"- {escape(each.kind)}, {escape(each.name)}: {escape(each.failure or '')}"
             for each in faults if not each.skipped]  # fmt: skip
    ending = ["", "Failed:", "", *lines] if lines else []
    return "\n".join([f"Seed {seed}, {minutes:.0f} minutes.", "", *rows, *ending])


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, in one short line."""
    line = " ".join("".join(c if c.isprintable() else "?" for c in text).split())
    for sign in "\\`*_<>[]|":
        line = line.replace(sign, f"\\{sign}")
    return line if len(line) <= _MAX_NAME else f"{line[: _MAX_NAME - 4]} ..."


def write_table(path: Path, table: str) -> None:
    """Replace what is between the markers of a file.

    Raises:
        ValueError: the file has no such markers.
    """
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no markers {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")
