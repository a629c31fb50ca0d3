"""Explained rows on the page: coloured tokens, series, pixels, trees, matrices.

What speaks for the prediction is blue, what speaks against it orange; the opacity of a
colour is relative to the largest share of the row. Images are PNG files inside the page, with
transparent colours that suit a light page and a dark one.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tasks.report_record import Explanation, ExplanationStep
from tasks.reporting.formatting import format_number, shorten
from tasks.reporting.tree_view import draw_tree

_Pixels = NDArray[np.uint8]

_FOR, _AGAINST = (31, 119, 210), (222, 106, 18)
"""Red, green and blue of the style sheet's colours of the same names."""

_MAX_CHANNELS = 4
"""Channels of a series that are drawn, those with the largest shares."""

_MAX_SYMBOLS, _MAX_ATTENDED_STEPS = 24, 40
"""Rows and columns of a matrix of attention weights."""

_STRIP_WIDTH, _STRIP_HEIGHT = 560, 74
"""Size of the drawing of a channel, in pixels."""


def render_explanation(row: Explanation) -> dict[str, Any]:
    """Prepare one explained row for its template."""
    view = _choose_view(row)
    return {
        "explanation": row,
        "target": shorten(row.target, 160),
        "prediction": shorten(row.prediction, 160),
        "has_target": row.target is not None,
        "view": _render_input_image(row) + (_VIEWS[view](row) if row.steps else Markup("")),
        "view_name": view,
    }


def _choose_view(row: Explanation) -> str:
    """Choose how a row is shown, by the fields that its steps have."""
    first = row.steps[0] if row.steps else ExplanationStep()
    if first.attention is not None:
        return "attention"
    if first.symbol is not None:
        return "output"
    if first.pixels is not None:
        return "pixels"
    if first.parent is not None:
        return "tree"
    if first.token is None:
        return "sound" if row.kind == "audio" else "series"
    return "tokens"


def _compute_opacity(share: float, largest: float) -> float:
    """Compute the opacity of a share, 0 to 1."""
    return round(min(1.0, abs(share) / largest), 2) if largest > 0 else 0.0


def _find_largest(values: Sequence[float]) -> float:
    """Find the largest absolute share."""
    return max((abs(value) for value in values), default=0.0)


def _render_token(
    text: str, share: float, largest: float, *, title: str = "", style: str = ""
) -> Markup:
    """Colour one token."""
    direction = "for" if share >= 0 else "against"
    return Markup('<span class="token {}{}" style="--a:{}" title="{}">{}</span>').format(
        direction,
        style,
        round(0.85 * _compute_opacity(share, largest), 2),
        title or format_number(share, 3),
        text,
    )


def _render_tokens(row: Explanation) -> Markup:
    """Colour the tokens of a text."""
    largest = _find_largest([step.share or 0.0 for step in row.steps])
    marks = [
        _render_token(
            step.token or " ",
            step.share or 0.0,
            largest,
            title="unknown to training" if step.unknown else "",
            style=" unknown" if step.unknown else "",
        )
        for step in row.steps
    ]
    close = _find_longest(row.steps) <= 2
    style, between = (" close", Markup("")) if close else ("", Markup(" "))
    return Markup('<p class="tokens{}">{}</p>').format(style, between.join(marks))


def _find_longest(steps: Sequence[ExplanationStep]) -> int:
    """Find the length of the longest token."""
    return max(len(step.token or "") for step in steps)


def _render_ctc_steps(row: Explanation) -> Markup:
    """Show the symbol that each step writes, the darker the more probable."""
    marks = [
        _render_token(step.symbol or ".", step.share or 0.0 if step.symbol else 0.0, 1.0)
        for step in row.steps
    ]
    return Markup('<p class="tokens close">{}</p>').format(Markup("").join(marks))


def _render_attention(row: Explanation) -> Markup:
    """Show the attention of each symbol on each step, one row for each symbol."""
    symbols, steps = (row.symbols or ())[:_MAX_SYMBOLS], row.steps[:_MAX_ATTENDED_STEPS]
    head = Markup("").join(
        Markup('<th scope="col"><span>{}</span></th>').format(shorten(step.token, 14))
        for step in steps
    )
    body = Markup("").join(
        Markup("<tr><th>{}</th>{}</tr>").format(
            symbol,
            Markup("").join(
                Markup('<td style="--a:{}"></td>').format(round((step.attention or ())[index], 2))
                for step in steps
            ),
        )
        for index, symbol in enumerate(symbols)
    )
    return Markup(
        '<div class="wide"><table class="looks"><thead><tr><th></th>{}</tr></thead>{}</table></div>'
    ).format(head, body)


def _encode_png(pixels: _Pixels) -> str:
    """Encode pixels as the data address of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _color_attributions(shares: NDArray[np.float64]) -> _Pixels:
    """Colour shares, clear where there is none."""
    largest = float(np.abs(shares).max()) or 1.0
    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where(shares[..., None] >= 0, _FOR, _AGAINST)
    pixels[..., 3] = (255 * np.sqrt(np.abs(shares) / largest)).round().astype(np.uint8)
    return pixels


def _render_pair(
    image: _Pixels, shares: NDArray[np.float64], description: str, *, style: str
) -> Markup:
    """Show an image, and the shares of its pixels beside it."""
    return Markup(
        '<div class="pictures {}"><img alt="{}" src="{}"><img alt="what speaks for the prediction '
        'and what against it" src="{}"></div>'
    ).format(style, description, _encode_png(image), _encode_png(_color_attributions(shares)))


def _render_pixels(row: Explanation) -> Markup:
    """Show an image and the shares of its pixels."""
    shares = np.array([step.shares for step in row.steps], np.float64)
    pixels = _reshape_pixels([step.pixels or () for step in row.steps], row.colors)
    return _render_pair(pixels, shares, "the image", style="image")


def _render_input_image(row: Explanation) -> Markup:
    """Show the image that a text was read from, if there is one."""
    if not row.image:
        return Markup("")
    pixels = _reshape_pixels(row.image, row.colors)
    return Markup('<div class="pictures image"><img alt="the image" src="{}"></div>').format(
        _encode_png(pixels)
    )


def _reshape_pixels(rows: Sequence[Sequence[int]], colors: int | None) -> _Pixels:
    """Lay out pixels, grey or coloured."""
    pixels = np.array(rows, np.uint8)
    return pixels.reshape(len(pixels), -1, 3) if colors == 3 else pixels


def _render_sound(row: Explanation) -> Markup:
    """Show a sound's bands by frame, the lowest below, and their shares."""
    values = np.array([step.values for step in row.steps], np.float64).T[::-1]
    shares = np.array([step.shares for step in row.steps], np.float64).T[::-1]
    low, high = float(values.min()), float(values.max())
    pixels = ((values - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8)
    return _render_pair(
        np.ascontiguousarray(pixels), np.ascontiguousarray(shares), "loudness", style="bands"
    )


def _render_series(row: Explanation) -> Markup:
    """Draw the channels with the largest shares, each over the shares of its steps."""
    values = np.array(
        [[np.nan if v is None else v for v in step.values or ()] for step in row.steps], np.float64
    )
    shares = np.array([step.shares for step in row.steps], np.float64)
    names = row.channels or [f"channel {index + 1}" for index in range(values.shape[1])]
    weight = np.abs(shares).sum(axis=0)
    order = np.argsort(-weight, kind="stable")[:_MAX_CHANNELS]
    largest = float(np.abs(shares).max())
    strips = [
        _render_channel(str(names[index]), values[:, index], shares[:, index], largest=largest)
        for index in sorted(order.tolist())
    ]
    left = len(names) - len(strips)
    more = Markup('<p class="note">and {} channels with smaller shares</p>').format(left)
    return Markup("").join(strips) + (more if left else Markup(""))


def _render_channel(
    name: str, values: NDArray[np.float64], shares: NDArray[np.float64], *, largest: float
) -> Markup:
    """Draw one channel."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    step_width = _STRIP_WIDTH / len(values)
    scale = (_STRIP_HEIGHT - 16) / max(high - low, 1e-12)
    bars = "".join(
        f'<rect class="{"for" if share >= 0 else "against"}" x="{index * step_width:.1f}" y="0" '
        f'width="{step_width:.1f}" height="{_STRIP_HEIGHT}" style="--a:'
        f'{0.8 * _compute_opacity(share, largest):.2f}"/>'
        for index, share in enumerate(shares.tolist())
        if _compute_opacity(share, largest) > 0.02
    )
    points = " ".join(
        f"{(index + 0.5) * step_width:.1f},{_STRIP_HEIGHT - 8 - (value - low) * scale:.1f}"
        for index, value in enumerate(values.tolist())
        if np.isfinite(value)
    )
    return Markup(
        '<figure class="strip"><figcaption>{} <span class="note">{} to {}</span></figcaption>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '{}<polyline class="over" points="{}"/></svg></figure>'
    ).format(
        name,
        format_number(low),
        format_number(high),
        _STRIP_WIDTH,
        _STRIP_HEIGHT,
        name,
        Markup(bars),  # noqa: S704 - numbers and our own class names
        points,
    )


_VIEWS: Mapping[str, Callable[[Explanation], Markup]] = {
    "tokens": _render_tokens,
    "output": _render_ctc_steps,
    "attention": _render_attention,
    "pixels": _render_pixels,
    "sound": _render_sound,
    "series": _render_series,
    "tree": draw_tree,
}
