"""What a job says of sounds, and what training fits."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.units import Duration


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioInput:
    """Sounds, read as frames of a log-mel spectrogram."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """The column that holds WAV, FLAC or OGG files, or lists of samples."""
    kind: Literal["audio"] = "audio"
    """`audio`: sounds, as the bytes of a file or as lists of samples."""
    sample_rate: int | None = None
    """Samples a second that every sound is brought to; that of the first training sound when left
    out. Lists of samples are taken to have it."""
    n_mels: int = 64
    """Bands of a frame: 40 for speech at 8 kHz, 64 or 80 for more."""
    window_length: Duration = 0.025
    """Time that one frame looks at."""
    hop_length: Duration = 0.010
    """Time from one frame to the next."""
    f_min: float = 20.0
    """Lowest frequency."""
    f_max: float | None = None
    """Highest frequency; half the sample rate when left out."""
    deltas: bool = False
    """Whether the change since the frame before stands beside each band."""
    max_seconds: Duration = 30.0
    """Longer sounds are cut off."""
    truncate: Literal["start", "end"] = "start"
    """Which part of a longer sound stays."""

    def __post_init__(self) -> None:
        """Refuse settings that hear nothing."""
        for name in ("n_mels", "window_length", "hop_length", "max_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        if self.sample_rate is not None and not 100 <= self.sample_rate <= 384_000:
            raise ValueError(
                f"sample_rate: {self.sample_rate} is no rate of sound; give 8000, 16000 or 44100"
            )
        if self.f_min < 0:
            raise ValueError(f"f_min: {self.f_min} is negative; give 0 or more")
        if self.f_max is not None and self.f_max <= self.f_min:
            raise ValueError(f"f_max: {self.f_max} is not above f_min, {self.f_min}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioState:
    """The rate of the sounds, and the scale of each channel."""

    sample_rate: int
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    """1 where a channel never changes."""
