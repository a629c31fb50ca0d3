"""Explained rows as they stand on the page: coloured tokens, series, pixels, trees, matrices.

What speaks for the prediction is blue, what speaks against it orange; shades go by the largest
share of the row. Pictures are PNG files inside the page, drawn with clear colours, so that they
look right on a light page and on a dark one.
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

Shades = NDArray[np.uint8]

FOR, AGAINST = (31, 119, 210), (222, 106, 18)

MAX_CHANNELS = 4
"""Channels of a series that are drawn, those with the largest shares."""

MAX_SYMBOLS, MAX_ATTENDED_STEPS = 24, 40

STRIP_WIDTH, STRIP_HEIGHT = 560, 74


def render_explanation(row: Explanation) -> dict[str, Any]:
    """Prepare one explained row for its template."""
    view = _choose_view(row)
    return {
        "explanation": row,
        "target": shorten(row.target, 160),
        "prediction": shorten(row.prediction, 160),
        "has_target": row.target is not None,
        "view": _render_input_image(row) + (VIEWS[view](row) if row.steps else Markup("")),
        "view_name": view,
    }


def _choose_view(row: Explanation) -> str:
    """Choose how a row is shown, by the fields that its steps have."""
    first = row.steps[0] if row.steps else ExplanationStep()
    if first.looks is not None:
        return "attention"
    if first.writes is not None:
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
    text: str, share: float, largest: float, *, title: str = "", look: str = ""
) -> Markup:
    """Colour one token."""
    way = "for" if share >= 0 else "against"
    return Markup('<span class="token {}{}" style="--a:{}" title="{}">{}</span>').format(
        way,
        look,
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
            look=" unknown" if step.unknown else "",
        )
        for step in row.steps
    ]
    close = _find_longest(row.steps) <= 2
    look, between = (" close", Markup("")) if close else ("", Markup(" "))
    return Markup('<p class="tokens{}">{}</p>').format(look, between.join(marks))


def _find_longest(steps: Sequence[ExplanationStep]) -> int:
    """Find the length of the longest token."""
    return max(len(step.token or "") for step in steps)


def _render_ctc_steps(row: Explanation) -> Markup:
    """Show the symbol that each step writes, the darker the more probable."""
    marks = [
        _render_token(step.writes or ".", step.share or 0.0 if step.writes else 0.0, 1.0)
        for step in row.steps
    ]
    return Markup('<p class="tokens close">{}</p>').format(Markup("").join(marks))


def _render_attention(row: Explanation) -> Markup:
    """Show the attention of each symbol on each step, one row for each symbol."""
    written, steps = (row.written or ())[:MAX_SYMBOLS], row.steps[:MAX_ATTENDED_STEPS]
    head = Markup("").join(
        Markup('<th scope="col"><span>{}</span></th>').format(shorten(step.token, 14))
        for step in steps
    )
    body = Markup("").join(
        Markup("<tr><th>{}</th>{}</tr>").format(
            symbol,
            Markup("").join(
                Markup('<td style="--a:{}"></td>').format(round((step.looks or ())[index], 2))
                for step in steps
            ),
        )
        for index, symbol in enumerate(written)
    )
    return Markup(
        '<div class="wide"><table class="looks"><thead><tr><th></th>{}</tr></thead>{}</table></div>'
    ).format(head, body)


def _encode_png(shades: Shades) -> str:
    """Encode pixels as the data address of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(shades).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _color_attributions(shares: NDArray[np.float64]) -> Shades:
    """Colour shares, clear where there is none."""
    largest = float(np.abs(shares).max()) or 1.0
    shades = np.zeros((*shares.shape, 4), np.uint8)
    shades[..., :3] = np.where(shares[..., None] >= 0, FOR, AGAINST)
    shades[..., 3] = (255 * np.sqrt(np.abs(shares) / largest)).round().astype(np.uint8)
    return shades


def _render_pair(picture: Shades, shares: NDArray[np.float64], words: str, *, look: str) -> Markup:
    """Show a picture, and its shares beside it."""
    return Markup(
        '<div class="pictures {}"><img alt="{}" src="{}"><img alt="what speaks for the prediction '
        'and what against it" src="{}"></div>'
    ).format(look, words, _encode_png(picture), _encode_png(_color_attributions(shares)))


def _render_pixels(row: Explanation) -> Markup:
    """Show an image and the shares of its pixels."""
    shares = np.array([step.shares for step in row.steps], np.float64)
    shades = _reshape_pixels([step.pixels or () for step in row.steps], row.colors)
    return _render_pair(shades, shares, "the image", look="image")


def _render_input_image(row: Explanation) -> Markup:
    """Show the image that a text was read from, if there is one."""
    if not row.picture:
        return Markup("")
    shades = _reshape_pixels(row.picture, row.colors)
    return Markup('<div class="pictures image"><img alt="the image" src="{}"></div>').format(
        _encode_png(shades)
    )


def _reshape_pixels(rows: Sequence[Sequence[int]], colors: int | None) -> Shades:
    """Lay out pixels, grey or coloured."""
    shades = np.array(rows, np.uint8)
    return shades.reshape(len(shades), -1, 3) if colors == 3 else shades


def _render_sound(row: Explanation) -> Markup:
    """Show a sound's bands by frame, the lowest below, and their shares."""
    values = np.array([step.values for step in row.steps], np.float64).T[::-1]
    shares = np.array([step.shares for step in row.steps], np.float64).T[::-1]
    low, high = float(values.min()), float(values.max())
    shades = ((values - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8)
    return _render_pair(
        np.ascontiguousarray(shades), np.ascontiguousarray(shares), "loudness", look="bands"
    )


def _render_series(row: Explanation) -> Markup:
    """Draw the channels with the largest shares, each over the shares of its steps."""
    values = np.array(
        [[np.nan if v is None else v for v in step.values or ()] for step in row.steps], np.float64
    )
    shares = np.array([step.shares for step in row.steps], np.float64)
    names = row.channels or [f"channel {index + 1}" for index in range(values.shape[1])]
    weight = np.abs(shares).sum(axis=0)
    order = np.argsort(-weight, kind="stable")[:MAX_CHANNELS]
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
    wide = STRIP_WIDTH / len(values)
    scale = (STRIP_HEIGHT - 16) / max(high - low, 1e-12)
    bars = "".join(
        f'<rect class="{"for" if share >= 0 else "against"}" x="{index * wide:.1f}" y="0" '
        f'width="{wide:.1f}" height="{STRIP_HEIGHT}" style="--a:'
        f'{0.8 * _compute_opacity(share, largest):.2f}"/>'
        for index, share in enumerate(shares.tolist())
        if _compute_opacity(share, largest) > 0.02
    )
    points = " ".join(
        f"{(index + 0.5) * wide:.1f},{STRIP_HEIGHT - 8 - (value - low) * scale:.1f}"
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
        STRIP_WIDTH,
        STRIP_HEIGHT,
        name,
        Markup(bars),  # noqa: S704 - numbers and our own class names
        points,
    )


VIEWS: Mapping[str, Callable[[Explanation], Markup]] = {
    "tokens": _render_tokens,
    "output": _render_ctc_steps,
    "attention": _render_attention,
    "pixels": _render_pixels,
    "sound": _render_sound,
    "series": _render_series,
    "tree": draw_tree,
}
