"""Sounds as bytes or lists to one channel of samples at one rate.

Decoded by libsndfile (soundfile), resampled by soxr, band-limited. The header of a file is checked
before its samples are decoded. Shapes: N samples.
"""

import io
import struct
from typing import NamedTuple

import numpy as np
import polars as pl

from models.features.audio.config import AudioInput
from models.features.steps import Floats

_MAX_CHANNELS = 32

_MAX_SECONDS = 12 * 3600.0
"""Longest file by its header; longer ones are rejected."""


class Sound(NamedTuple):
    """Samples of one channel."""

    samples_N: Floats
    rate: int


def read_sound(cell: object, config: AudioInput, rate: int | None) -> Sound | str:
    """Return the sound of one cell, or why it cannot be read."""
    if cell is None:
        return "the sound is missing"
    if isinstance(cell, bytes):
        return _decode_file(cell, config)
    if rate is None:
        return "a list of samples needs inputs.sample_rate"
    values = cell.to_numpy() if isinstance(cell, pl.Series) else np.asarray(cell)
    return _validate_samples(_truncate(values.astype(np.float32), config, rate), rate)


def resample_sound(sound: Sound, rate: int) -> Floats:
    """Return the samples of a sound at another rate."""
    if sound.rate == rate:
        return sound.samples_N
    import soxr

    return np.asarray(soxr.resample(sound.samples_N, sound.rate, rate), np.float32)


def _decode_file(data: bytes, config: AudioInput) -> Sound | str:
    """Return the mean of the channels of a file, truncated, or why it cannot be decoded."""
    import soundfile

    if missing := _count_missing_bytes(data):
        return f"the sound is damaged: {missing} bytes are missing at its end"
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            seconds = file.frames / file.samplerate
            if file.channels > _MAX_CHANNELS or seconds > _MAX_SECONDS:
                return (
                    f"the sound claims {file.channels} channels and {seconds:.0f} s, "
                    "more than allowed"
                )
            wanted_count = min(file.frames, max(1, round(config.max_seconds * file.samplerate)))
            if config.truncate == "end" and wanted_count < file.frames:
                file.seek(file.frames - wanted_count)
            samples = file.read(wanted_count, dtype="float32", always_2d=True)
            if len(samples) < wanted_count:
                return f"the sound is damaged: {len(samples)} of {wanted_count} samples can be read"
            return _validate_samples(samples.mean(axis=1), file.samplerate)
    except soundfile.LibsndfileError as error:
        return f"the sound is damaged, or neither WAV, FLAC nor OGG: {error.error_string}"


def _count_missing_bytes(data: bytes) -> int:
    """Return how many bytes fewer a WAV file has than its header says."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        if name == b"data":
            # A stream that was not closed has size 0 or the largest number.
            is_known = size not in {0, 0xFFFFFFFF}
            return max(0, size - (len(data) - position - 8)) if is_known else 0
        position += 8 + size + size % 2
    return 0


def _truncate(samples_N: Floats, config: AudioInput, rate: int) -> Floats:
    """Return at most `max_seconds` of a sound, from the end that `truncate` names."""
    wanted_count = max(1, round(config.max_seconds * rate))
    return samples_N[:wanted_count] if config.truncate == "start" else samples_N[-wanted_count:]


def _validate_samples(samples_N: Floats, rate: int) -> Sound | str:
    """Return samples as a sound, or why they are none."""
    if not len(samples_N):
        return "the sound is empty"
    if not np.isfinite(samples_N).all():
        return "the sound holds samples that are not finite"
    return Sound(np.ascontiguousarray(samples_N, np.float32), rate)
