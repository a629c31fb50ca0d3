"""Charts as inline SVG: no script, no date, and colours of the page, so they are right in the dark.

Every number is rounded, so equal figures give equal bytes. Names are escaped.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from tasks.reporting.formatting import format_number, shorten

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 38

ROW = 30
"""Height of a row of intervals."""

NAMES_WIDTH = 232


class Curve(NamedTuple):
    """A line of a chart."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: str
    """Class of the style sheet: a, b or faint."""


class Interval(NamedTuple):
    """A value and where it may lie."""

    name: str
    value: float
    low: float | None
    high: float | None
    style: str = "a"


class _Frame(NamedTuple):
    """From numbers to places on a chart."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Place along the width."""
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Place along the height."""
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _fit_frame(xs: Sequence[float], ys: Sequence[float]) -> _Frame:
    """Leave room around all points."""
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = min(ys), max(ys)
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    room = (y_high - y_low) * 0.06 or abs(y_high) * 0.1 or 1.0
    return _Frame(x_low, x_high, y_low - room, y_high + room)


def choose_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Choose round numbers between two."""
    rough = (high - low) / most
    if not rough > 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _draw_axes(frame: _Frame, x_name: str, y_name: str, *, whole: bool = False) -> Markup:
    """Draw a grid with numbers and names."""
    parts = []
    for value in choose_ticks(frame.y_low, frame.y_high):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="end" x="{LEFT - 8}" y="{y + 4:.1f}">{format_number(value)}</text>'
        )
    for value in choose_ticks(frame.x_low, frame.x_high, most=8):
        if whole and value != int(value):
            continue
        x = frame.x(value)
        parts.append(
            f'<text class="mid" x="{x}" y="{HEIGHT - BOTTOM + 17}">{format_number(value)}</text>'
        )
    parts.append(f'<text class="mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">')
    return Markup("".join(parts)) + escape(x_name) + Markup("</text>") + _draw_y_label(y_name)  # noqa: S704 - numbers only


def _draw_y_label(name: str) -> Markup:
    """Write the name of the upright axis along it."""
    middle = (TOP + HEIGHT - BOTTOM) / 2
    place = f'transform="rotate(-90 12 {middle})" x="12" y="{middle}"'
    return Markup('<text class="mid" {}>{}</text>').format(Markup(place), name)  # noqa: S704 - numbers only


def _wrap_svg(body: Markup, label: str, *, height: float = HEIGHT) -> Markup:
    """Wrap what is drawn."""
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(WIDTH, round(height, 1), label) + body + Markup("</svg>")


def _draw_curve(frame: _Frame, line: Curve) -> Markup:
    """Draw a line, broken where a number is missing; single points as dots."""
    points = [
        (frame.x(x), frame.y(y))
        for x, y in zip(line.xs, line.ys, strict=True)
        if y is not None and math.isfinite(y)
    ]
    told = " ".join(f"{x},{y}" for x, y in points)
    drawing = f'<polyline class="line {line.style}" points="{told}"/>'
    if len(points) <= 12:
        drawing += "".join(
            f'<circle class="dot {line.style}" cx="{x}" cy="{y}" r="3.5"/>' for x, y in points
        )
    return Markup(drawing)  # noqa: S704 - numbers and our own class names


def draw_curves(
    curves: Sequence[Curve],
    x_name: str,
    y_name: str,
    *,
    mark: float | None = None,
    whole: bool = True,
) -> Markup | None:
    """Draw lines, over whole numbers such as epochs or not; None where there is no point."""
    ys = [y for line in curves for y in line.ys if y is not None and math.isfinite(y)]
    xs = [x for line in curves for x in line.xs]
    if not ys or not xs:
        return None
    frame = _fit_frame(xs, ys)
    body = _draw_axes(frame, x_name, y_name, whole=whole)
    if mark is not None:
        x = frame.x(mark)
        body += Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
            x, TOP, HEIGHT - BOTTOM
        )
    for line in curves:
        body += _draw_curve(frame, line)
    return _wrap_svg(body, f"{y_name} by {x_name}")


def draw_intervals(rows: Sequence[Interval], *, zero: bool, label: str) -> Markup | None:
    """Draw values one below the other, each with its interval."""
    known = [row for row in rows if math.isfinite(row.value)]
    if not known:
        return None
    ends = [end for row in known for end in (row.value, row.low, row.high) if end is not None]
    low, high = min([*ends, *([0.0] if zero else [])]), max([*ends, *([0.0] if zero else [])])
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    bottom = len(known) * ROW + 8

    def x(value: float) -> float:
        share = (value - low) / (high - low)
        return round(NAMES_WIDTH + share * (WIDTH - NAMES_WIDTH - RIGHT), 1)

    parts = [Markup("")]
    for value in choose_ticks(low, high):
        look = "axis" if zero and value == 0 else "grid"
        parts.append(
            Markup(
                '<line class="{0}" x1="{1}" x2="{1}" y1="4" y2="{2}"/>'
                '<text class="mid" x="{1}" y="{3}">{4}</text>'
            ).format(look, x(value), bottom, bottom + 16, format_number(value))
        )
    for place, row in enumerate(known):
        parts.append(_draw_interval(row, y=4 + ROW * (place + 0.5), x=x))
    return _wrap_svg(Markup("").join(parts), label, height=bottom + 22)


def _draw_interval(row: Interval, *, y: float, x: Callable[[float], float]) -> Markup:
    """Draw one value, its interval and its name."""
    name = shorten(row.name, 26)
    body = Markup('<text class="end" x="{}" y="{}">{}</text>').format(NAMES_WIDTH - 12, y + 4, name)
    if row.low is not None and row.high is not None:
        body += Markup('<line class="span {0}" x1="{1}" x2="{2}" y1="{3}" y2="{3}"/>').format(
            row.style, x(row.low), x(row.high), y
        )
    return body + Markup('<circle class="dot {}" cx="{}" cy="{}" r="5"/>').format(
        row.style, x(row.value), y
    )
