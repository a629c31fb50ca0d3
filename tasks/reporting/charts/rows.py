"""Values one below the other, each with its name: with intervals, or as bars."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.reporting.charts.axes import Scale, choose_ticks
from tasks.reporting.charts.svg import (
    WIDTH,
    LegendEntry,
    draw_heading,
    draw_line,
    draw_text,
    format_position,
    wrap_svg,
)
from tasks.reporting.formatting import format_number, shorten

_ROW_HEIGHT, _BAR_HEIGHT = 30, 22

_NAMES_WIDTH, _RIGHT = 232, 16
"""Pixels left of the values for their names, and right of them."""

_MAX_LETTERS = 30
"""Letters of a name."""

_MAX_BARS = 30


class Interval(NamedTuple):
    """A value and where it may lie."""

    name: str
    value: float
    low: float | None
    high: float | None
    style: str = "a"
    """Class of the style sheet: a or b."""
    note: str = ""
    """What stands below the name."""


class Bound(NamedTuple):
    """A value that others are compared with."""

    value: float
    name: str


def draw_intervals(
    rows: Sequence[Interval],
    *,
    label: str,
    title: str = "",
    x_name: str = "",
    has_zero: bool = False,
    bound: Bound | None = None,
) -> Markup | None:
    """Draw values with their intervals; None where no value is finite.

    Args:
        rows: from top to bottom; those whose value is not finite are left out.
        label: what screen readers read.
        title: above the picture, if anything.
        x_name: name of the axis.
        has_zero: whether the axis has to show 0, as for differences.
        bound: drawn as a dotted line.
    """
    known = [row for row in rows if math.isfinite(row.value)]
    if not known:
        return None
    ends = [end for row in known for end in (row.value, row.low, row.high) if end is not None]
    ends += [0.0] if has_zero else []
    ends += [bound.value] if bound else []
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    scale = Scale(low - room, high + room, _NAMES_WIDTH, WIDTH - _RIGHT)
    legend = [LegendEntry(bound.name, "line", "faint")] if bound else []
    body, top = draw_heading(title, legend)
    bottom = top + len(known) * _ROW_HEIGHT + 8
    body += _draw_scale(scale, top, bottom, x_name=x_name, axis=0.0 if has_zero else None)
    if bound:
        x = scale.locate(bound.value)
        body += draw_line((x, top + 4), (x, bottom), style="mark")
    for index, row in enumerate(known):
        body += _draw_interval(row, top + 4 + _ROW_HEIGHT * (index + 0.5), scale)
    height = bottom + (44 if x_name else 22)
    return wrap_svg(body, width=WIDTH, height=height, label=label)


def draw_bars(
    values: Mapping[str, float], *, title: str, x_name: str, high: float | None = None
) -> Markup | None:
    """Draw a bar for each name, the highest first; None where there is no name.

    Args:
        values: 0 or more, by name.
        title: above the picture.
        x_name: name of the axis.
        high: where the axis ends; the highest value if not given.
    """
    ordered = sorted(values.items(), key=lambda entry: entry[1], reverse=True)[:_MAX_BARS]
    if not ordered:
        return None
    end = high or max(value for _, value in ordered) or 1.0
    scale = Scale(0.0, end, _NAMES_WIDTH, WIDTH - 4 * _RIGHT)
    body, top = draw_heading(title, ())
    bottom = top + len(ordered) * _BAR_HEIGHT + 6
    body += _draw_scale(scale, top, bottom, x_name=x_name, axis=0.0)
    for index, (name, value) in enumerate(ordered):
        middle = top + 3 + _BAR_HEIGHT * (index + 0.5)
        width = format_position(scale.locate(value) - scale.start)
        bar = Markup('<rect class="column a" x="{}" y="{}" width="{}" height="14"/>')
        body += draw_text(shorten(name, _MAX_LETTERS), _NAMES_WIDTH - 12, middle + 4, style="end")
        body += bar.format(_NAMES_WIDTH, format_position(middle - 7), width)
        body += draw_text(format_number(value, 3), scale.locate(value) + 6, middle + 4)
    if left := len(values) - len(ordered):
        note = f"The {len(ordered)} highest; {left} more are lower."
        body += draw_text(note, 4, bottom + 34, style="small")
    return wrap_svg(body, width=WIDTH, height=bottom + 44, label=title)


def _draw_scale(
    scale: Scale, top: float, bottom: float, *, x_name: str, axis: float | None
) -> Markup:
    """Draw the grid behind the rows, with its numbers below; `axis` is the value of a full line."""
    body = Markup("")
    for value in choose_ticks(scale.low, scale.high):
        x = scale.locate(value)
        body += draw_line((x, top + 4), (x, bottom), style="axis" if value == axis else "grid")
        body += draw_text(format_number(value), x, bottom + 16, style="mid")
    if x_name:
        body += draw_text(x_name, (scale.start + scale.end) / 2, bottom + 34, style="mid")
    return body


def _draw_interval(row: Interval, y: float, scale: Scale) -> Markup:
    """Draw one value, its interval and its name."""
    name_y = y - 2 if row.note else y + 4
    body = draw_text(shorten(row.name, _MAX_LETTERS), _NAMES_WIDTH - 12, name_y, style="end")
    if row.note:
        body += draw_text(row.note, _NAMES_WIDTH - 12, y + 11, style="end small")
    if row.low is not None and row.high is not None:
        ends = (scale.locate(row.low), y), (scale.locate(row.high), y)
        body += draw_line(*ends, style=f"span {row.style}")
    dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="5"/>')
    return body + dot.format(row.style, *map(format_position, (scale.locate(row.value), y)))
