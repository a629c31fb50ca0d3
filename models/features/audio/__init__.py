"""Audio: files or lists of samples, at one rate, as frames of a log-mel spectrogram.

`decoding` decodes and resamples, `mel` computes the frames, and this module fits the rate, and the
mean and standard deviation of each channel, on an evenly spaced sample of the training sounds.
Shapes: T frames of all rows, C channels.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.audio.config import AudioInput, AudioState
from models.features.audio.decoding import read_rate, read_sound, resample_sound
from models.features.audio.mel import compute_log_mel, count_frames
from models.features.feature_spec import Numbers
from models.features.steps import Floats, Steps

__all__ = [
    "AudioInput",
    "AudioState",
    "build_spec",
    "compute_max_rows",
    "fit",
    "list_packages",
    "transform",
]

_SCALE_SAMPLE_ROWS = 1_024
"""Most training sounds that the scale is fitted on."""

_GROUP_SAMPLES = 2**22
"""Audio samples of sounds that are processed together."""


def fit(frames: Iterable[pl.DataFrame], config: AudioInput) -> AudioState:
    """Return the rate that most sounds have, and the scale of every 2^k-th sound.

    k grows so that at most `_SCALE_SAMPLE_ROWS` are used.

    Args:
        frames: of training rows, which are iterated twice.
        config: the settings.

    Raises:
        UnlearnableError: no sound can be read.
    """
    rate = config.sample_rate or _find_common_rate(frames, config.column)
    stride, number, error = 1, -1, ""
    sums_by_row: dict[int, NDArray[np.float64]] = {}
    for frame in frames:
        for cell in frame[config.column]:
            number += 1
            if number % stride:
                continue
            sound = read_sound(cell, config, rate)
            if isinstance(sound, str):
                error = error or sound
                continue
            assert rate is not None  # noqa: S101 - the header of this sound was read
            values = _compute_channels([resample_sound(sound, rate)], config, rate)
            values = values.astype(np.float64)
            sums_by_row[number] = np.stack(
                [np.full(values.shape[1], len(values)), values.sum(0), (values**2).sum(0)]
            )
            while len(sums_by_row) > _SCALE_SAMPLE_ROWS:
                stride *= 2
                sums_by_row = {row: sums for row, sums in sums_by_row.items() if row % stride == 0}
    if rate is None or not sums_by_row:
        reason = error or "there are no rows"
        raise UnlearnableError(
            f"column '{config.column}' holds no sound that can be read: {reason}"
        )
    count, total, squares = np.sum(list(sums_by_row.values()), axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std[std < 1e-6] = 1.0
    return AudioState(sample_rate=rate, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def transform(frame: pl.DataFrame, config: AudioInput, state: AudioState) -> Steps:
    """Return the scaled frames of each sound; one that cannot be read is the error of its row."""
    rate, cells = state.sample_rate, frame[config.column]
    counts = np.zeros(len(cells), np.int64)
    errors_R: list[str | None] = [None] * len(cells)

    def sounds() -> Iterator[Floats]:
        for row, cell in enumerate(cells):
            sound = read_sound(cell, config, rate)
            if isinstance(sound, str):
                errors_R[row] = sound
                continue
            samples = resample_sound(sound, rate)
            counts[row] = count_frames(np.array([len(samples)]), config, rate)[0]
            yield samples

    mean, std = np.array(state.mean, np.float32), np.array(state.std, np.float32)
    parts = [np.empty((0, len(mean)), np.float32)]
    for group in _group_sounds(sounds()):
        values = _compute_channels(group, config, rate)
        values -= mean
        values /= std
        parts.append(values)
    stops_R = np.cumsum(counts)
    return Steps(np.concatenate(parts), stops_R - counts, stops_R, errors_R)


def compute_max_rows(_: AudioState) -> int:
    """Return how many rows may be transformed at once, so that they fit in memory."""
    return 2_048


def build_spec(_: AudioInput, state: AudioState) -> Numbers:
    """Return the number of channels of a frame."""
    return Numbers(channels=len(state.mean))


def list_packages(_: AudioInput, __: AudioState | None) -> tuple[str, ...]:
    """Return the packages that prediction needs in addition to the core."""
    return ("soundfile", "soxr", "scipy")


def _find_common_rate(frames: Iterable[pl.DataFrame], column: str) -> int | None:
    """Return the rate that most files have, of equally many the highest; None without a file."""
    counts = Counter(read_rate(cell) for frame in frames for cell in frame[column])
    del counts[None]
    return max(counts, key=lambda rate: (counts[rate], rate or 0), default=None)


def _compute_channels(sounds: list[Floats], config: AudioInput, rate: int) -> Floats:
    """Return the frames of sounds, [T, C], with their changes if asked for."""
    bands_TM = compute_log_mel(sounds, config, rate)
    if not config.deltas:
        return bands_TM
    change_TM = np.diff(bands_TM, axis=0, prepend=bands_TM[:1])
    lengths = np.array([len(sound) for sound in sounds], np.int64)
    counts = count_frames(lengths, config, rate)
    change_TM[np.cumsum(counts) - counts] = 0.0
    return np.concatenate([bands_TM, change_TM], axis=1)


def _group_sounds(sounds: Iterable[Floats]) -> Iterator[list[Floats]]:
    """Yield groups of consecutive sounds that are processed together."""
    group: list[Floats] = []
    sample_count = 0
    for samples in sounds:
        group.append(samples)
        sample_count += len(samples)
        if sample_count >= _GROUP_SAMPLES:
            yield group
            group, sample_count = [], 0
    if group:
        yield group
