"""Plots over two axes: curves, points, bands and columns, alone or as panels side by side."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from tasks.reporting.charts.axes import Axis, Frame, draw_axes, fit_scale
from tasks.reporting.charts.svg import (
    WIDTH,
    LegendEntry,
    draw_heading,
    draw_line,
    draw_text,
    format_position,
    wrap_svg,
)

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 12, 44
"""Pixels around a plot, for its numbers and names."""

_PANEL_WIDTH, _PANEL_HEIGHT = 292, 204

_PLAIN = Axis()

_MAX_DOTS = 12
"""Points of a curve up to which each one has a dot."""


class Curve(NamedTuple):
    """A line through points, broken where a value is missing."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    style: str
    """Class of the style sheet: a, b (dashed) or faint (dotted)."""
    is_step: bool = False
    """Whether a value holds until the next one, as of the best so far."""

    @property
    def values(self) -> Iterable[float | None]:
        """Everything that the y axis has to show."""
        return self.ys


class Points(NamedTuple):
    """Points that no line joins."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: str

    @property
    def values(self) -> Iterable[float]:
        """Everything that the y axis has to show."""
        return self.ys


class Band(NamedTuple):
    """The area between two curves."""

    name: str
    xs: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    style: str

    @property
    def values(self) -> Iterable[float]:
        """Everything that the y axis has to show."""
        return [*self.lows, *self.highs]


class Columns(NamedTuple):
    """Counts of values between edges, as of a histogram; one edge more than counts."""

    xs: Sequence[float]
    counts: Sequence[float]
    style: str = "a"
    name: str = ""

    @property
    def values(self) -> Iterable[float]:
        """Everything that the y axis has to show."""
        return self.counts


Layer = Curve | Points | Band | Columns


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """Layers over the same axes, the first one lowest."""

    layers: Sequence[Layer]
    x_axis: Axis = _PLAIN
    y_axis: Axis = _PLAIN
    title: str = ""
    mark: tuple[float, str] | None = None
    """A value of the x axis with a name, drawn as a dotted line."""
    note: str = ""
    """A sentence below the plot."""


def draw_plot(plot: Plot, *, width: float = WIDTH, height: float = 264) -> Markup | None:
    """Draw a plot; None where it has no finite point.

    Args:
        plot: what is drawn.
        width: in pixels, with everything.
        height: in pixels, without title, legend and note.
    """
    if not _has_points(plot):
        return None
    heading, top = draw_heading(plot.title, _list_legend(plot.layers, plot.mark))
    body = heading + _draw_area(plot, 0, top, width=width, height=height)
    if plot.note:
        body += draw_text(plot.note, _LEFT, top + height + 12, style="small")
    full = top + height + (22 if plot.note else 0)
    label = plot.title or f"{plot.y_axis.name} by {plot.x_axis.name}"
    return wrap_svg(body, width=width, height=full, label=label)


def draw_panels(
    plots: Sequence[Plot], *, title: str, columns: int = 3, note: str = ""
) -> Markup | None:
    """Draw several plots side by side under one title, with the legend of all; None for none."""
    plots = [plot for plot in plots if _has_points(plot)]
    if not plots:
        return None
    layers = [layer for plot in plots for layer in plot.layers]
    heading, top = draw_heading(title, _list_legend(layers, None))
    body = heading
    for index, plot in enumerate(plots):
        row, column = divmod(index, columns)
        left, upper = column * _PANEL_WIDTH, top + row * _PANEL_HEIGHT
        body += _draw_area(plot, left, upper, width=_PANEL_WIDTH, height=_PANEL_HEIGHT)
    bottom = top + _PANEL_HEIGHT * -(-len(plots) // columns)
    if note:
        body += draw_text(note, _LEFT, bottom + 12, style="small")
    width = _PANEL_WIDTH * min(columns, max(2, len(plots)))
    return wrap_svg(body, width=width, height=bottom + (22 if note else 0), label=title)


def _has_points(plot: Plot) -> bool:
    """Whether there is anything to draw."""
    return any(len(layer.xs) and list(_select_finite(layer.values)) for layer in plot.layers)


def _select_finite(values: Iterable[float | None]) -> Iterable[float]:
    """Leave out what is missing."""
    return (value for value in values if value is not None and math.isfinite(value))


def _list_legend(layers: Sequence[Layer], mark: tuple[float, str] | None) -> list[LegendEntry]:
    """List each name once, in the order of the layers."""
    shapes = {Curve: "line", Points: "dot", Band: "band", Columns: "band"}
    entries = [LegendEntry(each.name, shapes[type(each)], each.style) for each in layers]
    if mark is not None:
        entries.append(LegendEntry(mark[1], "line", "faint"))
    return [entry for entry in dict.fromkeys(entries) if entry.name]


def _draw_area(plot: Plot, left: float, top: float, *, width: float, height: float) -> Markup:
    """Draw axes and layers into a rectangle of the chart, in pixels."""
    xs = list(_select_finite(x for layer in plot.layers for x in layer.xs))
    ys = list(_select_finite(y for layer in plot.layers for y in layer.values))
    frame = Frame(
        fit_scale(xs, plot.x_axis, left + _LEFT, left + width - _RIGHT),
        fit_scale(ys, plot.y_axis, top + height - _BOTTOM, top + _TOP, margin=0.06),
    )
    body = draw_axes(frame, plot.x_axis, plot.y_axis)
    if plot.mark is not None and frame.x.contains(plot.mark[0]):
        x = frame.x.locate(plot.mark[0])
        body += draw_line((x, frame.y.end), (x, frame.y.start), style="mark")
    return body + Markup("").join(_draw_layer(frame, layer) for layer in plot.layers)


def _draw_layer(frame: Frame, layer: Layer) -> Markup:
    """Draw one layer; what lies outside the frame is left out."""
    if isinstance(layer, Curve):
        return _draw_curve(frame, layer)
    if isinstance(layer, Points):
        return _draw_points(frame, layer)
    if isinstance(layer, Band):
        return _draw_band(frame, layer)
    return _draw_columns(frame, layer)


def _locate(frame: Frame, x: float, y: float | None) -> tuple[str, str] | None:
    """Return the position of a point; None where it cannot be drawn."""
    if y is None or not frame.x.contains(x) or not frame.y.contains(y):
        return None
    return format_position(frame.x.locate(x)), format_position(frame.y.locate(y))


def _draw_curve(frame: Frame, curve: Curve) -> Markup:
    """Draw a line; few points have dots, and a point alone is one in any case."""
    parts, previous, count = [], None, 0
    for x, y in zip(curve.xs, curve.ys, strict=True):
        point = _locate(frame, x, y)
        if point is not None and previous is None:
            parts.append(f"M{point[0]},{point[1]}h0")
        elif point is not None:
            parts.append(f"H{point[0]}V{point[1]}" if curve.is_step else f"L{point[0]},{point[1]}")
        previous, count = point, count + (point is not None)
    line = Markup('<path class="line {}" d="{}"/>').format(curve.style, "".join(parts))
    if count > _MAX_DOTS or curve.is_step:
        return line
    return line + _draw_dots(frame, curve, 3.5)


def _draw_dots(frame: Frame, layer: Curve | Points, radius: float) -> Markup:
    """Draw a dot at each point."""
    located = (_locate(frame, x, y) for x, y in zip(layer.xs, layer.ys, strict=True))
    dots = "".join(
        f'<circle cx="{point[0]}" cy="{point[1]}" r="{radius:g}"/>' for point in located if point
    )
    return Markup('<g class="dot {}">{}</g>').format(layer.style, Markup(dots))  # noqa: S704 - numbers only


def _draw_points(frame: Frame, points: Points) -> Markup:
    """Draw points, the smaller and the more transparent the more there are."""
    many = len(points.xs) > 100
    dots = _draw_dots(frame, points, 2 if many else 3.5)
    return Markup('<g class="points">{}</g>').format(dots) if many else dots


def _draw_band(frame: Frame, band: Band) -> Markup:
    """Draw the area between two curves."""
    pairs = [
        (_locate(frame, x, low), _locate(frame, x, high))
        for x, low, high in zip(band.xs, band.lows, band.highs, strict=True)
    ]
    known = [(low, high) for low, high in pairs if low and high]
    outline = [high for _, high in known] + [low for low, _ in reversed(known)]
    points = " ".join(f"{x},{y}" for x, y in outline)
    return Markup('<polygon class="band {}" points="{}"/>').format(band.style, points)


def _draw_columns(frame: Frame, columns: Columns) -> Markup:
    """Draw a column for each count above 0, from edge to edge."""
    parts, bottom = [], format_position(frame.y.start)
    for left, right, count in zip(columns.xs, columns.xs[1:], columns.counts, strict=False):
        if count > 0:
            ends = (frame.x.locate(left), frame.y.locate(count), frame.x.locate(right))
            x, y, end = map(format_position, ends)
            parts.append(f"M{x},{bottom}V{y}H{end}V{bottom}z")
    return Markup('<path class="column {}" d="{}"/>').format(columns.style, "".join(parts))
