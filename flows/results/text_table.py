"""Tables of plain text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_table(rows: Sequence[Mapping[str, Any]], empty: str) -> str:
    """Align rows under their keys.

    Args:
        rows: all with the same keys, which become the header.
        empty: the text where there are no rows.
    """
    if not rows:
        return empty
    names = list(rows[0])
    cells = [names, *[[str(row[name]) for name in names] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "\n".join(lines)
