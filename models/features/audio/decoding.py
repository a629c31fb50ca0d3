"""Sounds as bytes or lists to one channel of samples at one rate.

Decoded by libsndfile (soundfile), resampled by soxr, band-limited. The header of a file is checked
before its samples are decoded, and samples are decoded in blocks, so that a header that claims more
than the file holds takes no memory. Shapes: N samples.
"""

import io
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from models.features.audio.config import MAX_RATE, MIN_RATE, AudioInput
from models.features.steps import Floats

if TYPE_CHECKING:
    from soundfile import SoundFile

_MAX_CHANNELS = 32

_MAX_SECONDS = 12 * 3600.0
"""Longest file by its header; longer ones are rejected."""

_MAX_SAMPLES = 2**27
"""Most samples of a sound that are kept: 46 minutes at 48 kHz."""

_BLOCK_SAMPLES = 2**20
"""Samples of all channels that are decoded at once."""


class Sound(NamedTuple):
    """Samples of one channel."""

    samples_N: Floats
    rate: int


def read_sound(cell: object, config: AudioInput, rate: int | None) -> Sound | str:
    """Return the sound of one cell, or why it cannot be read.

    Args:
        cell: bytes of a file, or a list of samples.
        config: how long a sound may be.
        rate: of lists of samples, and the one that the sound will be resampled to.
    """
    if cell is None:
        return "the sound is missing"
    if isinstance(cell, bytes):
        return _decode_file(cell, config, rate)
    if rate is None:
        return "a list of samples needs inputs.sample_rate"
    values = cell.to_numpy() if isinstance(cell, pl.Series) else np.asarray(cell)
    return _validate_samples(_truncate(values, config, rate).astype(np.float32), rate)


def read_rate(cell: object) -> int | None:
    """Return the sample rate in the header of a file; None where it cannot be read."""
    import soundfile

    if not isinstance(cell, bytes):
        return None
    try:
        with soundfile.SoundFile(io.BytesIO(cell)) as file:
            return None if _find_header_error(file) else int(file.samplerate)
    except soundfile.LibsndfileError:
        return None


def resample_sound(sound: Sound, rate: int) -> Floats:
    """Return the samples of a sound at another rate."""
    if sound.rate == rate:
        return sound.samples_N
    import soxr

    return np.asarray(soxr.resample(sound.samples_N, sound.rate, rate), np.float32)


def _decode_file(data: bytes, config: AudioInput, rate: int | None) -> Sound | str:
    """Return the mean of the channels of a file, truncated, or why it cannot be decoded."""
    import soundfile

    if missing := _count_missing_bytes(data):
        return f"the sound is damaged: {missing} bytes are missing at its end"
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if error := _find_header_error(file):
                return error
            wanted_count = min(file.frames, max(1, round(config.max_seconds * file.samplerate)))
            resampled_count = wanted_count * max(1.0, (rate or 0) / file.samplerate)
            if resampled_count > _MAX_SAMPLES:
                return (
                    f"the sound has {round(resampled_count):,} samples, and at most "
                    f"{_MAX_SAMPLES:,} are read"
                )
            if config.truncate == "end" and wanted_count < file.frames:
                file.seek(file.frames - wanted_count)
            samples_N = _read_samples(file, wanted_count)
            if len(samples_N) < wanted_count:
                return (
                    f"the sound is damaged: {len(samples_N)} of {wanted_count} samples can be read"
                )
            return _validate_samples(samples_N, file.samplerate)
    except soundfile.LibsndfileError as error:
        return f"the sound is damaged, or neither WAV, FLAC nor OGG: {error.error_string}"


def _find_header_error(file: "SoundFile") -> str | None:
    """Return why a file with this header is not decoded, or None."""
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        return (
            f"the sound claims {file.samplerate} samples a second, and {MIN_RATE} to {MAX_RATE} "
            "can be read"
        )
    seconds = file.frames / file.samplerate
    if file.channels > _MAX_CHANNELS or seconds > _MAX_SECONDS:
        return (
            f"the sound claims {file.channels} channels and {seconds:.0f} s, and at most "
            f"{_MAX_CHANNELS} channels and {_MAX_SECONDS:.0f} s can be read"
        )
    return None


def _read_samples(file: "SoundFile", count: int) -> Floats:
    """Return the mean of the channels of the next samples, fewer where the file has no more."""
    parts = [np.empty(0, np.float32)]
    block = max(1, _BLOCK_SAMPLES // file.channels)
    while count > 0:
        samples_NC = file.read(min(block, count), dtype="float32", always_2d=True)
        if not len(samples_NC):
            break
        parts.append(samples_NC.mean(axis=1))
        count -= len(samples_NC)
    return np.concatenate(parts)


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
