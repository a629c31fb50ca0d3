"""Explained rows as they stand on the page: coloured tokens, series, pixels, trees, matrices.

What speaks for the answer is blue, what speaks against it orange; shades go by the largest share
of the row. Pictures are PNG files inside the page, drawn with clear colours, so that they are right
on a light page and on a dark one.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tasks.reporting.formatting import brief, figure
from tasks.reporting.tree_view import tree

Told = dict[str, Any]
Facts = Mapping[str, Any]
Shades = NDArray[np.uint8]

FOR, AGAINST = (31, 119, 210), (222, 106, 18)

MOST_LINES = 4
"""Channels of a series that are drawn, those with the largest shares."""

MOST_SYMBOLS, MOST_LOOKED_AT = 24, 40

STRIP_WIDTH, STRIP_HEIGHT = 560, 74


def shown(row: Facts) -> Told:
    """Prepare one explained row for its template."""
    steps = row["steps"]
    view = view_of(row)
    told = {key: row.get(key) for key in ("row", "right", "method", "goal", "start", "end", "gap")}
    return {
        **told,
        "truth": brief(row.get("truth"), 160),
        "answer": brief(row.get("answer"), 160),
        "sure": row.get("sure"),
        "has_truth": row.get("truth") is not None,
        "each": row.get("each", 1),
        "view": picture(row) + (VIEWS[view](row) if steps else Markup("")),
        "look": view,
    }


def view_of(row: Facts) -> str:
    """Choose how a row is shown."""
    first = row["steps"][0] if row["steps"] else {}
    if "looks" in first:
        return "looks"
    if "writes" in first:
        return "writes"
    if "pixels" in first:
        return "pixels"
    if "parent" in first:
        return "tree"
    if "token" in first:
        return "tokens"
    return "sound" if row.get("kind") == "audio" else "series"


def strength(share: float, largest: float) -> float:
    """Tell how strongly a share is coloured, 0 to 1."""
    return round(min(1.0, abs(share) / largest), 2) if largest > 0 else 0.0


def largest_of(values: Sequence[float]) -> float:
    """Find the largest of some shares, whichever way it points."""
    return max((abs(value) for value in values), default=0.0)


def mark(text: str, share: float, largest: float, *, title: str = "", look: str = "") -> Markup:
    """Colour one token."""
    way = "for" if share >= 0 else "against"
    return Markup('<span class="token {}{}" style="--a:{}" title="{}">{}</span>').format(
        way, look, round(0.85 * strength(share, largest), 2), title or figure(share, 3), text
    )


def tokens(row: Facts) -> Markup:
    """Colour the tokens of a text."""
    largest = largest_of([step["share"] for step in row["steps"]])
    marks = [
        mark(
            step["token"] or " ",
            step["share"],
            largest,
            title="unknown to training" if step.get("unknown") else "",
            look=" unknown" if step.get("unknown") else "",
        )
        for step in row["steps"]
    ]
    close = largest_length(row["steps"]) <= 2
    look, between = (" close", Markup("")) if close else ("", Markup(" "))
    return Markup('<p class="tokens{}">{}</p>').format(look, between.join(marks))


def largest_length(steps: Sequence[Facts]) -> int:
    """Tell how long the longest token is."""
    return max(len(step["token"]) for step in steps)


def writes(row: Facts) -> Markup:
    """Show what each step wrote, as dark as it was sure."""
    marks = [
        mark(step["writes"] or ".", step["share"] if step["writes"] else 0.0, 1.0)
        for step in row["steps"]
    ]
    return Markup('<p class="tokens close">{}</p>').format(Markup("").join(marks))


def looks(row: Facts) -> Markup:
    """Show how much each symbol looked at each step, a row a symbol."""
    written, steps = row["written"][:MOST_SYMBOLS], row["steps"][:MOST_LOOKED_AT]
    head = Markup("").join(
        Markup('<th scope="col"><span>{}</span></th>').format(brief(step["token"], 14))
        for step in steps
    )
    body = Markup("").join(
        Markup("<tr><th>{}</th>{}</tr>").format(
            symbol,
            Markup("").join(
                Markup('<td style="--a:{}"></td>').format(round(step["looks"][place], 2))
                for step in steps
            ),
        )
        for place, symbol in enumerate(written)
    )
    return Markup(
        '<div class="wide"><table class="looks"><thead><tr><th></th>{}</tr></thead>{}</table></div>'
    ).format(head, body)


def png(shades: Shades) -> str:
    """Write pixels as the address of a picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(shades).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def overlay(shares: NDArray[np.float64]) -> Shades:
    """Colour shares, clear where there is none."""
    largest = float(np.abs(shares).max()) or 1.0
    shades = np.zeros((*shares.shape, 4), np.uint8)
    shades[..., :3] = np.where(shares[..., None] >= 0, FOR, AGAINST)
    shades[..., 3] = (255 * np.sqrt(np.abs(shares) / largest)).round().astype(np.uint8)
    return shades


def pair(picture: Shades, shares: NDArray[np.float64], words: str, *, look: str) -> Markup:
    """Show a picture, and its shares beside it."""
    return Markup(
        '<div class="pictures {}"><img alt="{}" src="{}"><img alt="what speaks for the answer '
        'and what against it" src="{}"></div>'
    ).format(look, words, png(picture), png(overlay(shares)))


def pixels(row: Facts) -> Markup:
    """Show an image and the shares of its pixels."""
    shares = np.array([step["shares"] for step in row["steps"]], np.float64)
    shades = shades_of([step["pixels"] for step in row["steps"]], row.get("colours"))
    return pair(shades, shares, "the image", look="image")


def picture(row: Facts) -> Markup:
    """Show the image that a text was read from, if it was."""
    if not row.get("picture"):
        return Markup("")
    shades = shades_of(row["picture"], row.get("colours"))
    return Markup('<div class="pictures image"><img alt="the image" src="{}"></div>').format(
        png(shades)
    )


def shades_of(rows: Sequence[Sequence[int]], colours: int | None) -> Shades:
    """Lay out pixels, grey or coloured."""
    shades = np.array(rows, np.uint8)
    return shades.reshape(len(shades), -1, 3) if colours == 3 else shades


def sound(row: Facts) -> Markup:
    """Show a sound's bands by frame, the lowest below, and their shares."""
    values = np.array([step["values"] for step in row["steps"]], np.float64).T[::-1]
    shares = np.array([step["shares"] for step in row["steps"]], np.float64).T[::-1]
    low, high = float(values.min()), float(values.max())
    shades = ((values - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8)
    return pair(
        np.ascontiguousarray(shades), np.ascontiguousarray(shares), "loudness", look="bands"
    )


def series(row: Facts) -> Markup:
    """Draw the channels with the largest shares, each over the shares of its steps."""
    values = np.array(
        [[np.nan if v is None else v for v in step["values"]] for step in row["steps"]], np.float64
    )
    shares = np.array([step["shares"] for step in row["steps"]], np.float64)
    names = row.get("channels") or [f"channel {place + 1}" for place in range(values.shape[1])]
    weight = np.abs(shares).sum(axis=0)
    order = np.argsort(-weight, kind="stable")[:MOST_LINES]
    largest = float(np.abs(shares).max())
    strips = [
        strip(str(names[place]), values[:, place], shares[:, place], largest=largest)
        for place in sorted(order.tolist())
    ]
    left = len(names) - len(strips)
    more = Markup('<p class="note">and {} channels with smaller shares</p>').format(left)
    return Markup("").join(strips) + (more if left else Markup(""))


def strip(
    name: str, values: NDArray[np.float64], shares: NDArray[np.float64], *, largest: float
) -> Markup:
    """Draw one channel."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    wide = STRIP_WIDTH / len(values)
    scale = (STRIP_HEIGHT - 16) / max(high - low, 1e-12)
    bars = "".join(
        f'<rect class="{"for" if share >= 0 else "against"}" x="{place * wide:.1f}" y="0" '
        f'width="{wide:.1f}" height="{STRIP_HEIGHT}" style="--a:'
        f'{0.8 * strength(share, largest):.2f}"/>'
        for place, share in enumerate(shares.tolist())
        if strength(share, largest) > 0.02
    )
    points = " ".join(
        f"{(place + 0.5) * wide:.1f},{STRIP_HEIGHT - 8 - (value - low) * scale:.1f}"
        for place, value in enumerate(values.tolist())
        if np.isfinite(value)
    )
    return Markup(
        '<figure class="strip"><figcaption>{} <span class="note">{} to {}</span></figcaption>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '{}<polyline class="over" points="{}"/></svg></figure>'
    ).format(
        name,
        figure(low),
        figure(high),
        STRIP_WIDTH,
        STRIP_HEIGHT,
        name,
        Markup(bars),  # noqa: S704 - numbers and our own class names
        points,
    )


VIEWS: Mapping[str, Callable[[Facts], Markup]] = {
    "tokens": tokens,
    "writes": writes,
    "looks": looks,
    "pixels": pixels,
    "sound": sound,
    "series": series,
    "tree": tree,
}
