"""Log-mel frames of many sounds at once.

A frame stands at every hop, its window centred there, zeros beyond both ends; its power spectrum
(Hann window) is weighed by triangles that are even on the mel scale of Slaney's Auditory Toolbox
(1998), each of area one, and the logarithm is taken.
Shapes: N samples of all sounds, T frames of all, W samples of a window, K frequencies, M bands.
"""

import math

import numpy as np
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.audio.config import AudioInput
from models.features.steps import Floats, Integers

QUIET = 1e-10
"""Power below which all is silence."""

FRAME_SAMPLES = 2**21
"""Samples of frames that are transformed at once."""

LONGEST_TRANSFORM = 2**15

LINEAR_HZ, LOG_FROM_HZ, LOG_FROM_MEL = 200.0 / 3, 1000.0, 15.0

LOG_STEP = math.log(6.4) / 27.0


def to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring frequencies to Slaney's scale: even below 1 kHz, logarithmic above."""
    above = LOG_FROM_MEL + np.log(np.maximum(hz, LOG_FROM_HZ) / LOG_FROM_HZ) / LOG_STEP
    return np.where(hz < LOG_FROM_HZ, hz / LINEAR_HZ, above)


def to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring the scale back to frequencies."""
    above = LOG_FROM_HZ * np.exp(LOG_STEP * (np.maximum(mel, LOG_FROM_MEL) - LOG_FROM_MEL))
    return np.where(mel < LOG_FROM_MEL, mel * LINEAR_HZ, above)


def sizes(config: AudioInput, rate: int) -> tuple[int, int, int]:
    """Return the samples of a window, of a hop, and of a transform.

    The transform is as long as the narrowest band needs, so that every band hears something.
    """
    window = max(2, round(config.window_length * rate))
    transform = 1 << (window - 1).bit_length()
    narrowest = float(np.diff(band_edges(config, rate)).min())
    while rate / transform > narrowest and transform < LONGEST_TRANSFORM:
        transform *= 2
    return window, max(1, round(config.hop_length * rate)), transform


def band_edges(config: AudioInput, rate: int) -> NDArray[np.float64]:
    """Return the frequencies between the bands, even on the mel scale.

    Raises:
        UnlearnableError: the lowest frequency is more than the rate can hold.
    """
    high = min(config.f_max or rate / 2, rate / 2)
    if config.f_min >= high:
        raise UnlearnableError(
            f"inputs: f_min: {config.f_min} is not below {high}, the highest frequency at "
            f"{rate} samples a second; lower f_min"
        )
    ends = to_mel(np.array([config.f_min, high]))
    return to_hz(np.linspace(ends[0], ends[1], config.n_mels + 2))


def mel_weights(config: AudioInput, rate: int) -> Floats:
    """Make the triangles, [K, M]."""
    transform, edges = sizes(config, rate)[2], band_edges(config, rate)
    hz_K1 = np.fft.rfftfreq(transform, 1 / rate)[:, None]
    low, centre, top = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hz_K1 - low) / (centre - low), (top - hz_K1) / (top - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (top - low))
    return weights.astype(np.float32)


def frame_counts(lengths: Integers, config: AudioInput, rate: int) -> Integers:
    """Count the frames of sounds of these many samples."""
    return 1 + lengths // sizes(config, rate)[1]


def log_mel(sounds: list[Floats], config: AudioInput, rate: int) -> Floats:
    """Compute the frames of all sounds, [T, M], one sound after the other."""
    from scipy import fft

    window, hop, transform = sizes(config, rate)
    weights_KM, hann_W = mel_weights(config, rate), hann(window)
    lengths = np.array([len(sound) for sound in sounds], np.int64)
    counts = frame_counts(lengths, config, rate)
    half = (window + 1) // 2
    room = lengths + window
    begins = np.cumsum(room) - room
    line = np.zeros(int(room.sum()) + window, np.float32)
    for begin, sound in zip(begins, sounds, strict=True):
        line[begin + half : begin + half + len(sound)] = sound
    edges = np.cumsum(counts) - counts
    starts_T = np.repeat(begins - edges * hop, counts) + np.arange(counts.sum()) * hop
    windows = np.lib.stride_tricks.sliding_window_view(line, window)
    frames_TM = np.empty((len(starts_T), config.n_mels), np.float32)
    for first in range(0, len(starts_T), max(1, FRAME_SAMPLES // transform)):
        here = slice(first, first + max(1, FRAME_SAMPLES // transform))
        spectrum = fft.rfft(windows[starts_T[here]] * hann_W, transform, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        np.matmul(power, weights_KM, out=frames_TM[here])
    return np.log(np.maximum(frames_TM, QUIET, out=frames_TM), out=frames_TM)


def hann(window: int) -> Floats:
    """Make a periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
