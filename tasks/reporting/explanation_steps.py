"""The steps of an explained row as the page shows them: tokens, values, pixels, nodes.

Long series, sounds and large images are reduced to what fits on a page: neighbouring values are
averaged and their shares are summed, so that the sum of a row's shares does not change.
Shapes: N steps, C channels, H rows of pixels, W columns, D colours, G groups.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.featurizer import Featurizer
from models.features.image import ImageState
from models.features.log_units import from_log_units
from models.features.series import (
    SeriesState,
    find_channel_scale,
    find_log_range,
    list_channels,
)
from models.features.text import TextInput, TextState
from models.features.text.tokens import split_tokens
from models.features.tree import TreeInput, read_node_words, read_trees
from tasks.report_record import ExplanationStep

_MAX_STEPS = 160
"""Of a series."""

_MAX_FRAMES, _MAX_BANDS = 96, 32
"""Of a sound."""

_MAX_PIXELS = 48
"""Of either side of an image."""

_DIGITS = 4
"""Significant digits of the numbers in the report."""

_Floats = NDArray[np.float64]


class RawRow(NamedTuple):
    """One row, as the network reads it and as the source has it."""

    values_NC: NDArray[Any]
    cells: tuple[str | None, ...]
    """The texts or the tree itself; empty for other kinds."""
    entity: str | None


class DescribedSteps(NamedTuple):
    """Steps as the report holds them, with what is common to all of them."""

    steps: list[ExplanationStep]
    group_size: int = 1
    """Steps of the row that are one step here."""
    channels: list[str] | None = None
    """Names of the channels of a series."""
    colors: int | None = None
    """Values for each pixel of an image: 1 or 3."""


def describe_steps(raw: RawRow, shares: _Floats, featurizer: Featurizer) -> DescribedSteps:
    """Describe a row's steps with their shares.

    Args:
        raw: the row.
        shares: [N, C] of a series or a sound, [N, 1] of tokens and nodes, [H, W] of pixels.
        featurizer: of the model, which knows how the row was read.
    """
    return _DESCRIBERS[featurizer.layout.input.kind](raw, shares, featurizer)


def _describe_series(raw: RawRow, shares_NC: _Floats, featurizer: Featurizer) -> DescribedSteps:
    """Return values and shares [N, C] of a series, in the unit of the source where it is known."""
    values_NC = raw.values_NC.astype(np.float64)
    names = [channel.name for channel in list_channels(featurizer.layout, featurizer.state)]
    for index, name in enumerate(names):
        if scale := _find_scale(featurizer, name, raw.entity):
            values_NC[:, index] = values_NC[:, index] * scale[1] + scale[0]
            limits = find_log_range(featurizer.layout, featurizer.state, name)
            if limits is not None:
                values_NC[:, index] = from_log_units(values_NC[:, index], limits)
    shares_NC = _divide_among_channels(shares_NC, values_NC)
    values = _reduce_groups(values_NC, _MAX_STEPS, np.mean)
    shares = _reduce_groups(shares_NC, _MAX_STEPS, np.sum)
    group_size = _compute_group_size(len(values_NC), _MAX_STEPS)
    return DescribedSteps(_pair_values(values, shares), group_size, channels=names)


def _pair_values(values: _Floats, shares: _Floats) -> list[ExplanationStep]:
    """Pair values and shares of each step."""
    return [
        ExplanationStep(values=round_numbers(values_C), shares=round_numbers(shares_C))
        for values_C, shares_C in zip(values, shares, strict=True)
    ]


def _find_scale(
    featurizer: Featurizer, name: str, entity: str | None
) -> tuple[float, float] | None:
    """Find the offset and the scale of a channel; None where it was scaled in another way."""
    state = featurizer.state
    if not isinstance(state, SeriesState):
        return None
    found = find_channel_scale(featurizer.layout, state, name)
    if found is None:
        return None
    every, own = found
    return own.get(entity, every) if entity is not None else every


def _describe_audio(raw: RawRow, shares_NC: _Floats, featurizer: Featurizer) -> DescribedSteps:
    """Return loudness and share of each band, frame by frame, the lowest band first."""
    del featurizer
    shares_NC = _divide_among_channels(shares_NC, raw.values_NC)
    values, shares = (
        _reduce_groups(_reduce_groups(part_NC, _MAX_FRAMES, reduce).T, _MAX_BANDS, reduce).T
        for part_NC, reduce in ((raw.values_NC.astype(np.float64), np.mean), (shares_NC, np.sum))
    )
    group_size = _compute_group_size(len(raw.values_NC), _MAX_FRAMES)
    return DescribedSteps(_pair_values(values, shares), group_size)


def _describe_text(raw: RawRow, shares_N1: _Floats, featurizer: Featurizer) -> DescribedSteps:
    """Return each token with its share, and whether the vocabulary has it."""
    read, state = featurizer.layout.input, featurizer.state
    assert isinstance(read, TextInput)  # noqa: S101 - chosen by its kind
    ids = raw.values_NC[:, 0]
    tokens = split_tokens(raw.cells, read, state)
    if len(tokens) != len(ids):
        tokens = [_get_token(int(token_id), read, state) for token_id in ids]
    return DescribedSteps(
        [
            ExplanationStep(token=token, share=round_number(share), unknown=not token_id)
            for token, token_id, share in zip(tokens, ids, shares_N1.sum(axis=1), strict=True)
        ]
    )


def _get_token(token_id: int, read: TextInput, state: TextState) -> str:
    """Look a token up by its id; a question mark for an unknown one."""
    if token_id == read.find_separator(len(state.tokens)):
        return "|"
    return state.tokens[token_id - 1] if 0 < token_id <= len(state.tokens) else "?"


def _describe_tree(raw: RawRow, shares_N1: _Floats, featurizer: Featurizer) -> DescribedSteps:
    """Return the word of each node with its share, and the distance to its parent."""
    read = featurizer.layout.input
    assert isinstance(read, TreeInput)  # noqa: S101 - chosen by its kind
    nodes = read_trees(pl.Series(raw.cells), max_nodes=read.max_nodes)
    words = read_node_words(nodes, read).to_list()
    return DescribedSteps(
        [
            ExplanationStep(token=word or "", share=round_number(share), parent=int(node[1]))
            for word, node, share in zip(words, raw.values_NC, shares_N1.sum(axis=1), strict=True)
        ]
    )


def _describe_image(raw: RawRow, shares_HW: _Floats, featurizer: Featurizer) -> DescribedSteps:
    """Return the pixels from 0 to 255 and their shares, row by row."""
    state = featurizer.state
    assert isinstance(state, ImageState)  # noqa: S101 - chosen by its kind
    pixels_HWD = raw.values_NC.reshape(state.height, state.width, state.colors).astype(np.float64)
    low, high = (0.0, 255.0) if state.pixel_type == "uint8" else _find_range(pixels_HWD)
    pixels_HWD = (pixels_HWD - low) / max(high - low, 1e-12) * 255
    if shares_HW.shape != pixels_HWD.shape[:2]:
        shares_HW = np.zeros(pixels_HWD.shape[:2])
    small_HWD, small_HW = _shrink_image(pixels_HWD, np.mean), _shrink_image(shares_HW, np.sum)
    steps = [
        ExplanationStep(pixels=_convert_to_bytes(row_WD), shares=round_numbers(shares_W))
        for row_WD, shares_W in zip(small_HWD, small_HW, strict=True)
    ]
    return DescribedSteps(steps, colors=3 if state.colors == 3 else 1)


def _find_range(pixels: _Floats) -> tuple[float, float]:
    """Find the darkest and the brightest pixel."""
    return float(pixels.min()), float(pixels.max())


def _convert_to_bytes(row_WD: _Floats) -> list[int]:
    """Convert a row of pixels to bytes; where there are neither 1 nor 3 colours, their mean."""
    if row_WD.shape[1] != 3:
        row_WD = row_WD.mean(axis=1, keepdims=True)
    return [int(shade) for shade in row_WD.round().clip(0, 255).ravel()]


def _shrink_image(values: _Floats, reduce: Callable[..., Any]) -> _Floats:
    """Reduce both sides of an image to at most `_MAX_PIXELS`."""
    tall = _reduce_groups(values, _MAX_PIXELS, reduce)
    return np.moveaxis(_reduce_groups(np.moveaxis(tall, 1, 0), _MAX_PIXELS, reduce), 0, 1)


def _divide_among_channels(shares: _Floats, values_NC: NDArray[Any]) -> _Floats:
    """Divide the share of each step evenly among its channels; zeros where the steps differ."""
    if shares.shape == values_NC.shape:
        return shares
    wide = np.zeros(values_NC.shape)
    if len(shares) == len(wide):
        wide[:] = shares.sum(axis=1, keepdims=True) / max(1, len(wide.T))
    return wide


def _compute_group_size(count: int, max_groups: int) -> int:
    """Compute how many neighbours are reduced to one."""
    return -(-count // max_groups)


def _reduce_groups(values: _Floats, max_groups: int, reduce: Callable[..., Any]) -> _Floats:
    """Reduce the first axis to at most `max_groups` groups of neighbours."""
    size = _compute_group_size(len(values), max_groups)
    if size == 1:
        return values
    parts = [reduce(values[at : at + size], axis=0) for at in range(0, len(values), size)]
    return np.stack(parts)


def round_numbers(values: _Floats) -> list[float]:
    """Round each number to `_DIGITS` significant digits."""
    return [round_number(value) for value in values.tolist()]


def round_number(value: float) -> float:
    """Round to `_DIGITS` significant digits."""
    return float(f"{value:.{_DIGITS}g}")


_Describer = Callable[[RawRow, _Floats, Featurizer], DescribedSteps]

_DESCRIBERS: Mapping[str, _Describer] = {
    "series": _describe_series,
    "audio": _describe_audio,
    "text": _describe_text,
    "tree": _describe_tree,
    "image": _describe_image,
}
