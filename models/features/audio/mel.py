"""Log-mel frames of many sounds at once.

One frame for each hop: its window is centered there, with zeros beyond both ends; its power
spectrum (Hann window) is weighted by triangular filters, evenly spaced on the mel scale of
Slaney's Auditory Toolbox (1998) and of area one each, and the logarithm is taken.
Shapes: N samples of all sounds, T frames of all, W samples of a window, K frequencies, M bands.
"""

import math

import numpy as np
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.audio.config import AudioInput
from models.features.steps import Floats, Integers

_MIN_POWER = 1e-10
"""Lowest power before the logarithm, which stands for silence."""

_BATCH_SAMPLES = 2**21
"""Samples of frames that are transformed at once, which bounds memory."""

_MAX_FFT_LENGTH = 2**15

_LINEAR_HZ, _LOG_FROM_HZ, _LOG_FROM_MEL = 200.0 / 3, 1000.0, 15.0

_LOG_STEP = math.log(6.4) / 27.0


def compute_lengths(config: AudioInput, rate: int) -> tuple[int, int, int]:
    """Return the length of a window, of a hop and of the Fourier transform, in samples.

    The transform is so long that each band, the narrowest too, contains a frequency.
    """
    window = max(2, round(config.window_length * rate))
    transform = 1 << (window - 1).bit_length()
    narrowest = float(np.diff(_compute_band_edges(config, rate)).min())
    while rate / transform > narrowest and transform < _MAX_FFT_LENGTH:
        transform *= 2
    return window, max(1, round(config.hop_length * rate)), transform


def count_frames(lengths: Integers, config: AudioInput, rate: int) -> Integers:
    """Return the number of frames of sounds with these numbers of samples."""
    return 1 + lengths // compute_lengths(config, rate)[1]


def compute_log_mel(sounds: list[Floats], config: AudioInput, rate: int) -> Floats:
    """Return the log-mel frames of all sounds, [T, M], concatenated."""
    from scipy import fft

    window, hop, transform = compute_lengths(config, rate)
    weights_KM, hann_W = _build_mel_filters(config, rate), _build_hann_window(window)
    lengths = np.array([len(sound) for sound in sounds], np.int64)
    counts = count_frames(lengths, config, rate)
    half = (window + 1) // 2
    padded_lengths = lengths + window
    begins = np.cumsum(padded_lengths) - padded_lengths
    padded = np.zeros(int(padded_lengths.sum()) + window, np.float32)
    for begin, sound in zip(begins, sounds, strict=True):
        padded[begin + half : begin + half + len(sound)] = sound
    first_frames = np.cumsum(counts) - counts
    starts_T = np.repeat(begins - first_frames * hop, counts) + np.arange(counts.sum()) * hop
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    frames_TM = np.empty((len(starts_T), config.n_mels), np.float32)
    for first in range(0, len(starts_T), max(1, _BATCH_SAMPLES // transform)):
        batch = slice(first, first + max(1, _BATCH_SAMPLES // transform))
        spectrum = fft.rfft(windows[starts_T[batch]] * hann_W, transform, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        np.matmul(power, weights_KM, out=frames_TM[batch])
    return np.log(np.maximum(frames_TM, _MIN_POWER, out=frames_TM), out=frames_TM)


def _to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return frequencies in Hz on Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    above = _LOG_FROM_MEL + np.log(np.maximum(hz, _LOG_FROM_HZ) / _LOG_FROM_HZ) / _LOG_STEP
    return np.where(hz < _LOG_FROM_HZ, hz / _LINEAR_HZ, above)


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequencies in Hz of values on the mel scale."""
    above = _LOG_FROM_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _LOG_FROM_MEL) - _LOG_FROM_MEL))
    return np.where(mel < _LOG_FROM_MEL, mel * _LINEAR_HZ, above)


def _compute_band_edges(config: AudioInput, rate: int) -> NDArray[np.float64]:
    """Return the edges of the bands in Hz, [M + 2], evenly spaced on the mel scale.

    Raises:
        UnlearnableError: `f_min` is not below the highest frequency at this rate.
    """
    high = min(config.f_max or rate / 2, rate / 2)
    if config.f_min >= high:
        raise UnlearnableError(
            f"inputs: f_min: {config.f_min} is not below {high}, the highest frequency at "
            f"{rate} samples a second; lower f_min"
        )
    ends = _to_mel(np.array([config.f_min, high]))
    return _to_hz(np.linspace(ends[0], ends[1], config.n_mels + 2))


def _build_mel_filters(config: AudioInput, rate: int) -> Floats:
    """Return the triangular filters, [K, M]."""
    transform, edges = compute_lengths(config, rate)[2], _compute_band_edges(config, rate)
    hz_K1 = np.fft.rfftfreq(transform, 1 / rate)[:, None]
    low, center, top = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hz_K1 - low) / (center - low), (top - hz_K1) / (top - center)
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (top - low))
    return weights.astype(np.float32)


def _build_hann_window(window: int) -> Floats:
    """Return a periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
