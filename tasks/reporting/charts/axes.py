"""The axes of a chart: from values to positions in pixels, with round numbers beside them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.reporting.charts.svg import draw_line, draw_text, estimate_width
from tasks.reporting.formatting import format_number, shorten


class Axis(NamedTuple):
    """What an axis shows."""

    name: str = ""
    is_whole: bool = False
    """Whether only whole numbers are written, as of epochs."""
    is_log: bool = False
    names: Sequence[str] = ()
    """Names of the values 0, 1, 2, ... where they stand for categories."""
    limits: tuple[float, float] | None = None
    """Lowest and highest value that is shown; None for all of them."""


class Scale(NamedTuple):
    """A linear or logarithmic map from values to pixels."""

    low: float
    high: float
    start: float
    """Position of `low`."""
    end: float
    """Position of `high`."""
    is_log: bool = False

    def locate(self, value: float) -> float:
        """Return the position of a value, which may lie beyond the ends."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def contains(self, value: float | None) -> bool:
        """Whether a value can be drawn: it is finite and between the ends."""
        return value is not None and math.isfinite(value) and self.low <= value <= self.high

    def choose_ticks(self, max_ticks: int) -> list[float]:
        """Choose at most about `max_ticks` round values to write beside the axis."""
        if not self.is_log:
            return choose_ticks(self.low, self.high, max_ticks=max_ticks)
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        powers = [10.0**power for power in range(first, last + 1)]
        if len(powers) < 2:
            return choose_ticks(self.low, self.high, max_ticks=max_ticks)
        return powers[:: -(-len(powers) // max_ticks)]


class Frame(NamedTuple):
    """The two scales of a plot."""

    x: Scale
    y: Scale


def fit_scale(
    values: Sequence[float], axis: Axis, start: float, end: float, *, margin: float = 0.0
) -> Scale:
    """Fit a scale around finite values, with a `margin` on both sides as a share of their range."""
    if axis.names:
        return Scale(-0.5, len(axis.names) - 0.5, start, end)
    low, high = axis.limits or (min(values), max(values))
    if axis.is_log:
        low = max(low, 1e-300)
        room = (max(high, low) / low) ** margin if high > low else 2.0
        return Scale(low / room, max(high, low) * room, start, end, True)
    room = 0.0
    if low == high:
        room = (abs(high) * 0.1 or 1.0) if margin else 0.5
    elif axis.limits is None:
        room = (high - low) * margin
    return Scale(low - room, high + room, start, end)


def choose_ticks(low: float, high: float, *, max_ticks: int = 5) -> list[float]:
    """Choose round numbers between two: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max_ticks
    if not rough > 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(multiple * step, 12) for multiple in range(first, last + 1)]


def draw_axes(frame: Frame, x_axis: Axis, y_axis: Axis) -> Markup:
    """Draw a grid with numbers, and the names of the axes."""
    x, y = frame
    body = Markup("")
    for value in y.choose_ticks(5):
        position = y.locate(value)
        body += draw_line((x.start, position), (x.end, position), style="grid")
        body += draw_text(format_number(value), x.start - 8, position + 4, style="end")
    body += _draw_x_ticks(x, x_axis, y.start + 17)
    body += draw_text(x_axis.name, (x.start + x.end) / 2, y.start + 34, style="mid")
    if y_axis.name:
        middle = (y.start + y.end) / 2
        body += draw_text(y_axis.name, x.start - 46, middle, style="mid", is_upright=True)
    return body


def _draw_x_ticks(x: Scale, axis: Axis, y: float) -> Markup:
    """Write the numbers or the names below an axis, at the height `y`."""
    if axis.names:
        letters = max(2, int((x.end - x.start) / len(axis.names) / estimate_width("x")))
        names = [shorten(name, letters) if letters > 5 else name[:letters] for name in axis.names]
        return Markup("").join(
            draw_text(name, x.locate(index), y, style="mid") for index, name in enumerate(names)
        )
    values = x.choose_ticks(max(2, min(8, int((x.end - x.start) / 55))))
    return Markup("").join(
        draw_text(format_number(value), x.locate(value), y, style="mid")
        for value in values
        if not axis.is_whole or value == int(value)
    )
