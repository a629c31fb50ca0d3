"""Sounds: files or lists of samples, at one rate, as frames of a log-mel spectrogram.

`sounds` decodes and resamples, `mel` makes the frames, and here is what training fits: the rate,
and each band's mean and spread, from a sample of the training sounds spread evenly over them.
Shapes: T frames of all rows, C channels.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.audio.config import AudioInput, AudioState
from models.features.audio.mel import frame_counts, log_mel
from models.features.audio.sounds import at_rate, read_cell
from models.features.feature_spec import Numbers
from models.features.steps import Floats, Steps

__all__ = [
    "AudioInput",
    "AudioState",
    "fit",
    "packages",
    "rows_at_once",
    "signal",
    "transform",
]

SAMPLE_ROWS = 1_024
"""Training sounds whose frames the scale is fitted on, at most."""

TURN_SAMPLES = 2**22
"""Samples that are held at once, beside those of the sound at hand."""


def fit(frames: Iterable[pl.DataFrame], config: AudioInput) -> AudioState:
    """Take the rate of the first sound, and the scale of every 2^k-th.

    Raises:
        UnlearnableError: no sound can be read.
    """
    rate, stride, number, error = config.sample_rate, 1, -1, ""
    moments: dict[int, NDArray[np.float64]] = {}
    for frame in frames:
        for cell in frame[config.column]:
            number += 1
            if number % stride and rate is not None:
                continue
            sound = read_cell(cell, config, rate)
            if isinstance(sound, str):
                error = error or sound
                continue
            rate = rate or sound.rate
            values = channels([at_rate(sound, rate)], config, rate).astype(np.float64)
            moments[number] = np.stack(
                [np.full(values.shape[1], len(values)), values.sum(0), (values**2).sum(0)]
            )
            while len(moments) > SAMPLE_ROWS:
                stride *= 2
                moments = {row: held for row, held in moments.items() if row % stride == 0}
    if rate is None or not moments:
        reason = error or "there are no rows"
        raise UnlearnableError(
            f"column '{config.column}' holds no sound that can be read: {reason}"
        )
    count, total, squares = np.sum(list(moments.values()), axis=0)
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    spread[spread < 1e-6] = 1.0
    return AudioState(sample_rate=rate, mean=tuple(mean.tolist()), spread=tuple(spread.tolist()))


def channels(sounds: list[Floats], config: AudioInput, rate: int) -> Floats:
    """Make the frames of sounds, with their changes where these are asked for."""
    bands_TM = log_mel(sounds, config, rate)
    if not config.deltas:
        return bands_TM
    change_TM = np.diff(bands_TM, axis=0, prepend=bands_TM[:1])
    lengths = np.array([len(sound) for sound in sounds], np.int64)
    counts = frame_counts(lengths, config, rate)
    change_TM[np.cumsum(counts) - counts] = 0.0
    return np.concatenate([bands_TM, change_TM], axis=1)


def transform(frame: pl.DataFrame, config: AudioInput, state: AudioState) -> Steps:
    """Turn every sound into scaled frames; one that cannot be read is its row's error."""
    rate, cells = state.sample_rate, frame[config.column]
    counts = np.zeros(len(cells), np.int64)
    errors_R: list[str | None] = [None] * len(cells)

    def sounds() -> Iterator[Floats]:
        for row, cell in enumerate(cells):
            sound = read_cell(cell, config, rate)
            if isinstance(sound, str):
                errors_R[row] = sound
                continue
            samples = at_rate(sound, rate)
            counts[row] = frame_counts(np.array([len(samples)]), config, rate)[0]
            yield samples

    mean, spread = np.array(state.mean, np.float32), np.array(state.spread, np.float32)
    parts = [np.empty((0, len(mean)), np.float32)]
    for turn in turns(sounds()):
        values = channels(turn, config, rate)
        values -= mean
        values /= spread
        parts.append(values)
    stops_R = np.cumsum(counts)
    return Steps(np.concatenate(parts), stops_R - counts, stops_R, errors_R)


def turns(sounds: Iterable[Floats]) -> Iterator[list[Floats]]:
    """Gather sounds until they are enough to be worked on together."""
    turn: list[Floats] = []
    held = 0
    for samples in sounds:
        turn.append(samples)
        held += len(samples)
        if held >= TURN_SAMPLES:
            yield turn
            turn, held = [], 0
    if turn:
        yield turn


def rows_at_once(_: AudioState) -> int:
    """Return how many rows fit in memory, as frames."""
    return 2_048


def signal(_: AudioInput, state: AudioState) -> Numbers:
    """Return how many channels a frame has."""
    return Numbers(channels=len(state.mean))


def packages(_: AudioInput) -> tuple[str, ...]:
    """Name what a served model needs."""
    return ("soundfile", "soxr", "scipy")
