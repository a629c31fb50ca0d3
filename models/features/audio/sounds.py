"""Sounds from bytes or lists to one channel of samples at one rate.

Decoding is libsndfile's (soundfile), resampling soxr's, band-limited. A header is judged before
anything is decoded. Shapes: N samples.
"""

import io
import struct
from typing import NamedTuple

import numpy as np
import polars as pl

from models.features.audio.config import AudioInput
from models.features.steps import Floats

MOST_CHANNELS = 32

LONGEST_SECONDS = 12 * 3600.0
"""A header that claims more is not believed."""


class Sound(NamedTuple):
    """Samples of one channel."""

    samples_N: Floats
    rate: int


def read_cell(cell: object, config: AudioInput, rate: int | None) -> Sound | str:
    """Read one cell, or say why it cannot be read."""
    if cell is None:
        return "the sound is missing"
    if isinstance(cell, bytes):
        return read_file(cell, config)
    if rate is None:
        return "a list of samples needs inputs.sample_rate"
    values = cell.to_numpy() if isinstance(cell, pl.Series) else np.asarray(cell)
    return judged(cut(values.astype(np.float32), config, rate), rate)


def read_file(data: bytes, config: AudioInput) -> Sound | str:
    """Decode a file's wanted part, its channels averaged."""
    import soundfile

    if lost := lost_bytes(data):
        return f"the sound is damaged: {lost} bytes are missing at its end"
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            seconds = file.frames / file.samplerate
            if file.channels > MOST_CHANNELS or seconds > LONGEST_SECONDS:
                return (
                    f"the sound claims {file.channels} channels and {seconds:.0f} s, "
                    "more than allowed"
                )
            wanted = min(file.frames, max(1, round(config.max_seconds * file.samplerate)))
            if config.truncate == "end" and wanted < file.frames:
                file.seek(file.frames - wanted)
            samples = file.read(wanted, dtype="float32", always_2d=True)
            if len(samples) < wanted:
                return f"the sound is damaged: {len(samples)} of {wanted} samples can be read"
            return judged(samples.mean(axis=1), file.samplerate)
    except soundfile.LibsndfileError as error:
        return f"the sound is damaged, or neither WAV, FLAC nor OGG: {error.error_string}"


def lost_bytes(data: bytes) -> int:
    """Count the bytes that a WAV file's header promises and that are not there."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        if name == b"data":
            # A stream that was never closed says nothing, or the largest number.
            told = size not in {0, 0xFFFFFFFF}
            return max(0, size - (len(data) - place - 8)) if told else 0
        place += 8 + size + size % 2
    return 0


def cut(samples_N: Floats, config: AudioInput, rate: int) -> Floats:
    """Keep the wanted part of a longer sound."""
    wanted = max(1, round(config.max_seconds * rate))
    return samples_N[:wanted] if config.truncate == "start" else samples_N[-wanted:]


def judged(samples_N: Floats, rate: int) -> Sound | str:
    """Refuse samples that are none."""
    if not len(samples_N):
        return "the sound is empty"
    if not np.isfinite(samples_N).all():
        return "the sound holds samples that are not finite"
    return Sound(np.ascontiguousarray(samples_N, np.float32), rate)


def at_rate(sound: Sound, rate: int) -> Floats:
    """Bring samples to a rate."""
    if sound.rate == rate:
        return sound.samples_N
    import soxr

    return np.asarray(soxr.resample(sound.samples_N, sound.rate, rate), np.float32)
