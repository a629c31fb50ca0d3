"""Tables on a terminal."""

from collections.abc import Callable, Mapping
from typing import Any


def table(rows: list[Mapping[str, Any]] | list[dict[str, Any]], empty: str) -> str:
    """Lay out rows under their keys."""
    if not rows:
        return empty
    names = list(rows[0])
    cells = [names, *[[str(row[name]) for name in names] for row in rows]]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    pad: Callable[[list[str]], str] = lambda line: "  ".join(  # noqa: E731 - one use
        cell.ljust(width) for cell, width in zip(line, widths, strict=True)
    ).rstrip()
    return "\n".join(pad(line) for line in cells)
