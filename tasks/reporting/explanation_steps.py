"""The steps of an explained row as a reader sees them: tokens, values, pixels, nodes.

Long series, sounds and large images are brought down to what fits on a page: shares are added up,
values are averaged, so that the shares of a row still add up to all of it.
Shapes: N steps, C channels, H rows of pixels, W columns, D colours, G groups.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.image import ImageState
from models.features.series import SeriesState, channel_scale, read_of
from models.features.text import TextInput, TextState
from models.features.text.tokens import token_texts
from models.features.tree import TreeInput, read_trees
from models.features.tree import words_of as tree_words

MOST_STEPS = 160
MOST_FRAMES, MOST_BANDS = 96, 32
MOST_PIXELS = 48
"""Of either side of an image."""

DIGITS = 4
"""Significant digits that are kept."""

Floats = NDArray[np.float64]
Told = dict[str, Any]


class Raw(NamedTuple):
    """One row, as it is stored and as it was given."""

    values_NC: NDArray[Any]
    cell: str | None
    """The text or tree itself; None for other kinds."""
    entity: str | None


def spelled(raw: Raw, shares: Floats, featurizer: Featurizer) -> Told:
    """Describe a row's steps with their shares.

    Args:
        raw: the row.
        shares: [N, C] of numbers, [N, 1] where a step is a whole, [H, W] of pixels.
        featurizer: that read the row.
    """
    return SPELLERS[featurizer.layout.input.kind](raw, shares, featurizer)


def of_series(raw: Raw, shares_NC: Floats, featurizer: Featurizer) -> Told:
    """Tell values and shares of each channel, in the unit of the source where that is known."""
    values_NC = raw.values_NC.astype(np.float64)
    names = channel_names(featurizer, values_NC.shape[1])
    for place, name in enumerate(names):
        if scale := scale_of(featurizer, name, raw.entity):
            values_NC[:, place] = values_NC[:, place] * scale[1] + scale[0]
    shares_NC = as_wide(shares_NC, values_NC)
    return {
        "channels": names,
        "each": group_size(len(values_NC), MOST_STEPS),
        "steps": [
            {"values": rounded(values), "shares": rounded(shares)}
            for values, shares in zip(
                grouped(values_NC, MOST_STEPS, np.mean),
                grouped(shares_NC, MOST_STEPS, np.sum),
                strict=True,
            )
        ],
    }


def channel_names(featurizer: Featurizer, channels: int) -> list[str]:
    """Name the channels in their order."""
    read, state = read_of(featurizer.layout), featurizer.state
    names = list(read.channel_names)
    flags = [f"no {names[place]}" for place in state.scaler.gaps]
    for part in read.calendar:
        names += [f"{part} (sine)", f"{part} (cosine)"]
    names += flags
    return names[:channels]


def scale_of(featurizer: Featurizer, name: str, entity: str | None) -> tuple[float, float] | None:
    """Find what was taken away from a channel and what it was divided by, if it was no more."""
    state = featurizer.state
    if not isinstance(state, SeriesState):
        return None
    found = channel_scale(featurizer.layout, state, name)
    if found is None:
        return None
    every, own = found
    return own.get(entity, every) if entity is not None else every


def of_audio(raw: Raw, shares_NC: Floats, featurizer: Featurizer) -> Told:
    """Tell loudness and share of bands, frame by frame, the lowest band first."""
    del featurizer
    shares_NC = as_wide(shares_NC, raw.values_NC)
    values, shares = (
        grouped(grouped(part_NC, MOST_FRAMES, way).T, MOST_BANDS, way).T
        for part_NC, way in ((raw.values_NC.astype(np.float64), np.mean), (shares_NC, np.sum))
    )
    return {
        "each": group_size(len(raw.values_NC), MOST_FRAMES),
        "steps": [
            {"values": rounded(values_C), "shares": rounded(shares_C)}
            for values_C, shares_C in zip(values, shares, strict=True)
        ],
    }


def of_text(raw: Raw, shares_N1: Floats, featurizer: Featurizer) -> Told:
    """Tell what each token says, and whether training knew it."""
    read, state = featurizer.layout.input, featurizer.state
    assert isinstance(read, TextInput)  # noqa: S101 - chosen by its kind
    ids = raw.values_NC[:, 0]
    tokens = token_texts(raw.cell or "", read, state)
    if len(tokens) != len(ids):
        tokens = [name_of(int(place), state) for place in ids]
    return {
        "steps": [
            {"token": token, "share": digits(share), **({} if place else {"unknown": True})}
            for token, place, share in zip(tokens, ids, shares_N1.sum(axis=1), strict=True)
        ]
    }


def name_of(place: int, state: TextState) -> str:
    """Name a token by its id."""
    return state.tokens[place - 1] if 0 < place <= len(state.tokens) else "?"


def of_tree(raw: Raw, shares_N1: Floats, featurizer: Featurizer) -> Told:
    """Tell the word of each node, and where its parent stands."""
    read = featurizer.layout.input
    assert isinstance(read, TreeInput)  # noqa: S101 - chosen by its kind
    nodes = read_trees(pl.Series([raw.cell]), max_nodes=read.max_nodes)
    words = tree_words(nodes, read).to_list()
    return {
        "steps": [
            {"token": word or "", "share": digits(share), "parent": int(node[1])}
            for word, node, share in zip(words, raw.values_NC, shares_N1.sum(axis=1), strict=True)
        ]
    }


def of_image(raw: Raw, shares_HW: Floats, featurizer: Featurizer) -> Told:
    """Tell the pixels from 0 to 255 and their shares, row by row."""
    state = featurizer.state
    assert isinstance(state, ImageState)  # noqa: S101 - chosen by its kind
    pixels_HWD = raw.values_NC.reshape(state.height, state.width, state.colours).astype(np.float64)
    low, high = (0.0, 255.0) if state.element == "uint8" else spread_of(pixels_HWD)
    pixels_HWD = (pixels_HWD - low) / max(high - low, 1e-12) * 255
    if shares_HW.shape != pixels_HWD.shape[:2]:
        shares_HW = np.zeros(pixels_HWD.shape[:2])
    small_HWD, small_HW = shrunk(pixels_HWD, np.mean), shrunk(shares_HW, np.sum)
    return {
        "colours": state.colours if state.colours == 3 else 1,
        "steps": [
            {"pixels": shades(row_WD), "shares": rounded(shares_W)}
            for row_WD, shares_W in zip(small_HWD, small_HW, strict=True)
        ],
    }


def spread_of(pixels: Floats) -> tuple[float, float]:
    """Find the darkest and the brightest pixel."""
    return float(pixels.min()), float(pixels.max())


def shades(row_WD: Floats) -> list[int]:
    """Write a row of pixels as bytes; of colours that are neither one nor three, their mean."""
    if row_WD.shape[1] != 3:
        row_WD = row_WD.mean(axis=1, keepdims=True)
    return [int(shade) for shade in row_WD.round().clip(0, 255).ravel()]


def shrunk(values: Floats, way: Callable[..., Any]) -> Floats:
    """Bring both sides of an image down."""
    tall = grouped(values, MOST_PIXELS, way)
    return np.moveaxis(grouped(np.moveaxis(tall, 1, 0), MOST_PIXELS, way), 0, 1)


def as_wide(shares: Floats, values_NC: NDArray[Any]) -> Floats:
    """Divide shares of whole steps among their channels; where steps differ, give none."""
    if shares.shape == values_NC.shape:
        return shares
    wide = np.zeros(values_NC.shape)
    if len(shares) == len(wide):
        wide[:] = shares.sum(axis=1, keepdims=True) / max(1, len(wide.T))
    return wide


def group_size(count: int, most: int) -> int:
    """Tell how many steps stand together."""
    return -(-count // most)


def grouped(values: Floats, most: int, way: Callable[..., Any]) -> Floats:
    """Bring the first side down to at most so many groups of neighbours."""
    size = group_size(len(values), most)
    if size == 1:
        return values
    parts = [way(values[at : at + size], axis=0) for at in range(0, len(values), size)]
    return np.stack(parts)


def rounded(values: Floats) -> list[float]:
    """Keep the digits that count."""
    return [digits(value) for value in values.tolist()]


def digits(value: float) -> float:
    """Keep the digits that count."""
    return float(f"{value:.{DIGITS}g}")


Speller = Callable[[Raw, Floats, Featurizer], Told]

SPELLERS: Mapping[str, Speller] = {
    "series": of_series,
    "audio": of_audio,
    "text": of_text,
    "tree": of_tree,
    "image": of_image,
}
