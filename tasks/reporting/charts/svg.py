"""The frame of a chart: an SVG that stands in a page, and in a file of its own.

A chart runs no script, holds no date and rounds every position, so equal values give equal bytes.
Its colours come from a style sheet for light and dark: the page has it once, a file carries it.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from unicodedata import east_asian_width

from markupsafe import Markup

from tasks.reporting.charts.fonts import build_font_face

_STYLE_FILES = ("colors.css", "chart.css")
"""Templates that make up the style of a file; the page includes the same ones."""

WIDTH = 640
"""Default width of a chart, in pixels."""

_LETTER_WIDTH = 6.7
"""Mean width of a letter, in pixels; the font of the reader is not known."""

_ILLEGAL = re.compile("[^\t\n\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""Characters that no XML document may hold, not even escaped (XML 1.0, 2.2)."""


class LegendEntry(NamedTuple):
    """A name with the sample that stands before it."""

    name: str
    shape: str
    """line, dot or band."""
    style: str
    """Class of the style sheet: a, b or faint."""


def wrap_svg(body: Markup, *, width: float, height: float, label: str) -> Markup:
    """Wrap what is drawn into an SVG of `width` x `height` pixels; screen readers read `label`."""
    head = Markup(
        '<svg class="chart" xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" '
        'viewBox="0 0 {0} {1}" role="img" aria-label="{2}">'
        '<rect class="background" width="{0}" height="{1}"/>'
    )
    size = format_position(width), format_position(height)
    return head.format(*size, _clean_text(label)) + body + Markup("</svg>")


def write_svg(chart: Markup, path: Path) -> None:
    """Write a chart as a file that needs no page: with its style inside."""
    head, _, body = chart.partition(">")
    style = _load_style() + build_font_face(body)
    path.write_text(f"{head}><style>\n{style}</style>{body}\n", encoding="utf-8")


def read_svg(path: Path) -> Markup:
    """Read a chart that `write_svg` wrote, for a page: without its style."""
    head, _, rest = path.read_text(encoding="utf-8").partition("<style>")
    return Markup(head + rest.partition("</style>")[2].rstrip("\n"))  # noqa: S704 - escaped when drawn


def draw_text(
    text: str, x: float, y: float, *, style: str = "", is_upright: bool = False
) -> Markup:
    """Write text at a position; upright, it is turned by 90 degrees to the left around it."""
    position = Markup('x="{}" y="{}"').format(format_position(x), format_position(y))
    if is_upright:
        turn = Markup(' transform="rotate(-90 {} {})"')
        position += turn.format(format_position(x), format_position(y))
    style = f'class="{style}" ' if style else ""
    return Markup("<text {}{}>{}</text>").format(Markup(style), position, _clean_text(text))  # noqa: S704 - our own class names


def draw_line(start: tuple[float, float], end: tuple[float, float], *, style: str) -> Markup:
    """Draw a straight line between two positions (x, y)."""
    line = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    return line.format(style, *map(format_position, (*start, *end)))


def draw_heading(title: str, legend: Sequence[LegendEntry]) -> tuple[Markup, float]:
    """Draw title and legend on top of a chart, and return them with the height that they take."""
    body, height = Markup(""), 0.0
    if title:
        body, height = draw_text(title, 4, 18, style="title"), 28.0
    x = 4.0
    for entry in legend:
        body += _draw_sample(entry, x, height + 9) + draw_text(entry.name, x + 28, height + 13)
        x += 28 + estimate_width(entry.name) + 18
    return body, height + (24 if legend else 0)


def draw_message(title: str, message: str) -> Markup:
    """Draw a title with a message, for a chart that has no values."""
    body, height = draw_heading(title, ())
    body += draw_text(message, 4, height + 18)
    return wrap_svg(body, width=WIDTH, height=height + 34, label=f"{title}: {message}")


def estimate_width(text: str) -> float:
    """Estimate the width of a text, in pixels; full-width characters are twice as wide."""
    wide = sum(east_asian_width(letter) in "WF" for letter in text)
    return _LETTER_WIDTH * (len(text) + wide)


def format_position(value: float) -> str:
    """Format a position in pixels, with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")


@cache
def _load_style() -> str:
    """Load the style sheet of a file."""
    folder = files("tasks.reporting") / "templates"
    return "".join((folder / name).read_text(encoding="utf-8") for name in _STYLE_FILES)


def _draw_sample(entry: LegendEntry, x: float, y: float) -> Markup:
    """Draw the sample before a name of the legend, 22 pixels wide."""
    drawings = {
        "line": '<path class="line {2}" d="M{0},{1}h22"/>',
        "dot": '<circle class="dot {2}" cx="{3}" cy="{1}" r="4"/>',
        "band": '<rect class="band {2}" x="{0}" y="{4}" width="22" height="10"/>',
    }
    numbers = (format_position(value) for value in (x + 11, y - 5))
    return Markup(drawings[entry.shape]).format(  # noqa: S704 - the constants above
        format_position(x), format_position(y), entry.style, *numbers
    )


def _clean_text(text: str) -> str:
    """Replace what no XML document may hold by a question mark."""
    return _ILLEGAL.sub("?", text)
