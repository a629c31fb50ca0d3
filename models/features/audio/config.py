"""Settings of sounds, and their fitted state."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.units import Duration

MIN_RATE, MAX_RATE = 100, 384_000
"""Samples per second of a sound, at least and at most."""

_MAX_WINDOW_SECONDS = 10.0

_MAX_FRAMES = 1_000_000
"""Most frames of a sound of `max_seconds`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioInput:
    """Sounds, read as frames of a log-mel spectrogram."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """Column with the bytes of WAV, FLAC or OGG files, or with lists of samples."""
    kind: Literal["audio"] = "audio"
    """`audio`: a recording, read as frames of a log-mel spectrogram."""
    sample_rate: int | None = None
    """Samples per second that every sound is resampled to; by default the rate that most training
    sounds have, of equally many the highest. Lists of samples are assumed to have it."""
    n_mels: int = 64
    """Mel bands of a frame: 40 for speech at 8 kHz, 64 or 80 for higher rates."""
    window_length: Duration = 0.025
    """Length of one frame."""
    hop_length: Duration = 0.010
    """Time from the start of one frame to the start of the next."""
    f_min: float = 20.0
    """Lowest frequency, in Hz."""
    f_max: float | None = None
    """Highest frequency, in Hz; by default half the sample rate."""
    deltas: bool = False
    """Whether each band also has its change since the previous frame (delta features)."""
    max_seconds: Duration = 30.0
    """Longer sounds are truncated to this length."""
    truncate: Literal["start", "end"] = "start"
    """Which part of a longer sound is kept."""

    def __post_init__(self) -> None:
        """Validate the settings.

        Raises:
            ValueError: a number is out of range.
        """
        for name in ("n_mels", "window_length", "hop_length", "max_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0; give more")
        if self.window_length > _MAX_WINDOW_SECONDS:
            raise ValueError(
                f"window_length: {self.window_length} s is longer than {_MAX_WINDOW_SECONDS:g} s; "
                "give 25ms, as is usual for speech"
            )
        if self.max_seconds / self.hop_length > _MAX_FRAMES:
            raise ValueError(
                f"hop_length: a sound of {self.max_seconds:g} s (max_seconds) has more than "
                f"{_MAX_FRAMES:,} frames; give a longer hop_length, such as 10ms, or lower "
                "max_seconds"
            )
        if self.sample_rate is not None and not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise ValueError(
                f"sample_rate: {self.sample_rate} is out of range; give 8000, 16000 or 44100"
            )
        if self.f_min < 0:
            raise ValueError(f"f_min: {self.f_min} is negative; give 0 or more")
        if self.f_max is not None and self.f_max <= self.f_min:
            raise ValueError(f"f_max: {self.f_max} is not above f_min, {self.f_min}; raise it")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioState:
    """The rate of the sounds, and the scale of each channel."""

    sample_rate: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """1 where a channel is constant."""
