"""A confusion matrix: names and counts of few classes, shades of many.

Shapes: K classes, the true one in rows and the predicted one in columns.
"""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tasks.reporting.charts.svg import (
    draw_heading,
    draw_text,
    estimate_width,
    format_position,
    wrap_svg,
)
from tasks.reporting.formatting import shorten

MAX_NAMED_CLASSES = 30
"""Classes up to which a matrix has their names and counts."""

_MAX_CELLS = 60
"""Cells of a side: more classes than these share cells."""

_SHADES = 20
"""Different opacities of the cells."""

_MAX_LETTERS = 16

Counts = NDArray[np.int64]


def draw_confusion_matrix(counts_KK: Counts, classes: Sequence[str], *, title: str) -> Markup:
    """Draw how often each true class was predicted as each class, shaded by share of the row."""
    body, top = draw_heading(title, ())
    if len(classes) > MAX_NAMED_CLASSES:
        return _draw_shaded(counts_KK, body, top, title=title)
    side = min(46.0, max(24.0, 460 / len(classes)))
    names = [shorten(name, _MAX_LETTERS) for name in classes]
    longest = max(estimate_width(name) for name in names)
    left, size = longest + 34, side * len(classes)
    body += _draw_cells(counts_KK, left, top, side)
    is_upright = longest > side
    for index, name in enumerate(names):
        middle = side * (index + 0.5)
        body += draw_text(name, left - 6, top + middle + 4, style="end")
        y, style = (top + size + 6, "end") if is_upright else (top + size + 16, "mid")
        x = left + middle + (4 if is_upright else 0)
        body += draw_text(name, x, y, style=style, is_upright=is_upright)
        body += _draw_counts(counts_KK[index], left, top + middle, side)
    bottom = top + size + (longest + 10 if is_upright else 20)
    body += _draw_names_of_sides(left, top, size, bottom)
    return wrap_svg(body, width=max(280, left + size + 16), height=bottom + 26, label=title)


def _draw_shaded(counts_KK: Counts, body: Markup, top: float, *, title: str) -> Markup:
    """Draw many classes by shades alone; neighbours share a cell where there are too many."""
    classes = len(counts_KK)
    group = math.ceil(classes / _MAX_CELLS)
    starts = np.arange(0, classes, group)
    summed = np.add.reduceat(np.add.reduceat(counts_KK, starts, axis=0), starts, axis=1)
    left, size = 34.0, 480.0
    body += _draw_cells(summed, left, top, size / len(starts))
    body += Markup('<rect class="outline" x="{0}" y="{1}" width="{2}" height="{2}"/>').format(
        *map(format_position, (left, top, size))
    )
    note = f"{classes:,} classes in their order"
    note += f"; each cell is {group} by {group} of them." if group > 1 else "."
    body += _draw_names_of_sides(left, top, size, top + size)
    body += draw_text(note, left, top + size + 40, style="small")
    return wrap_svg(body, width=left + size + 16, height=top + size + 50, label=title)


def _draw_cells(counts: Counts, left: float, top: float, side: float) -> Markup:
    """Shade the cells that are not empty: one path for each shade, so that the file stays small."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    levels = np.ceil(shares * _SHADES).astype(int)
    is_correct = np.eye(len(counts), dtype=bool)
    gap = 2.0 if side > 20 else 0.0
    edge = format_position(side - gap)
    body = Markup("")
    for style, mask in (("for", is_correct), ("against", ~is_correct)):
        for level in range(1, _SHADES + 1):
            cells = "".join(
                f"M{format_position(left + side * column)},{format_position(top + side * row)}"
                f"h{edge}v{edge}h-{edge}z"
                for row, column in np.argwhere(mask & (levels == level)).tolist()
            )
            if cells:
                opacity = round(0.04 + 0.8 * level / _SHADES, 2)
                cell = Markup('<path class="cell {}" style="--a:{}" d="{}"/>')
                body += cell.format(style, opacity, cells)
    return body


def _draw_counts(counts_K: NDArray[np.int64], left: float, y: float, side: float) -> Markup:
    """Write the counts of one row that are not 0."""
    style = "mid count" if side > 30 else "mid count small"
    return Markup("").join(
        draw_text(_format_count(count), left + side * (index + 0.5) - 1, y + 3, style=style)
        for index, count in enumerate(counts_K.tolist())
        if count
    )


def _format_count(count: int) -> str:
    """Format a count in at most four letters."""
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 1e6 else f"{count / 1e6:.0f}M"


def _draw_names_of_sides(left: float, top: float, size: float, bottom: float) -> Markup:
    """Write what rows and columns are."""
    below = draw_text("predicted class", left + size / 2, bottom + 18, style="mid")
    return below + draw_text("true class", 14, top + size / 2, style="mid", is_upright=True)
