"""Sounds: log-mel frames equal those of the reference, and every broken file is reported."""

import io
import tracemalloc

import librosa
import numpy as np
import polars as pl
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.audio import AudioInput, AudioState, fit, transform
from models.features.audio.mel import compute_lengths, compute_log_mel
from models.features.serialization import parse_record, read_state, write_state


def file_of(
    samples: np.ndarray, rate: int = 8_000, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def noise(size: int = 2_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, size).astype(np.float32)


def steps_of(cells: list, config: AudioInput, state: AudioState | None = None) -> list[np.ndarray]:
    frame = pl.DataFrame({"x": pl.Series(cells, dtype=pl.Binary)})
    steps = transform(frame, config, state or plain_state(config))
    ends = zip(steps.starts_R, steps.stops_R, strict=True)
    return [steps.values_NC[start:stop] for start, stop in ends]


def plain_state(config: AudioInput, rate: int = 8_000) -> AudioState:
    channels = config.n_mels * (2 if config.deltas else 1)
    return AudioState(sample_rate=rate, mean=(0.0,) * channels, std=(1.0,) * channels)


@pytest.mark.parametrize(
    ("rate", "window", "hop", "bands", "low", "high"),
    [
        (8_000, 0.025, 0.010, 40, 20.0, None),
        (16_000, 0.025, 0.010, 64, 0.0, 7_600.0),
        (22_050, 0.0464, 0.0116, 80, 50.0, None),
        (44_100, 0.032, 0.008, 96, 20.0, 16_000.0),
    ],
)
def test_frames_are_those_of_the_reference_library(rate, window, hop, bands, low, high) -> None:
    config = AudioInput(
        column="x", n_mels=bands, window_length=window, hop_length=hop, f_min=low, f_max=high
    )
    length, step, transformed = compute_lengths(config, rate)
    sounds = [noise(rate // 3), np.sin(np.arange(rate // 2) * 0.3).astype(np.float32)]

    result = compute_log_mel(sounds, config, rate)

    expected = [
        librosa.feature.melspectrogram(
            y=sound,
            sr=rate,
            n_fft=transformed,
            win_length=length,
            hop_length=step,
            n_mels=bands,
            fmin=low,
            fmax=high,
            pad_mode="constant",
        ).T
        for sound in sounds
    ]
    reference = np.log(np.maximum(np.concatenate(expected), 1e-10))
    louder = reference > -12
    assert result.shape == reference.shape
    np.testing.assert_allclose(result[louder], reference[louder], atol=1e-3)
    assert np.abs(result[louder] - reference[louder]).mean() < 1e-4


@settings(max_examples=15)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=6), st.integers(1, 5))
def test_features_do_not_depend_on_the_chunks(lengths: list[int], cut: int) -> None:
    config = AudioInput(column="x", n_mels=8, deltas=True)
    cells = [file_of(noise(size, seed)) for seed, size in enumerate(lengths)]

    together = steps_of(cells, config)
    parts = [
        sound
        for start in range(0, len(cells), cut)
        for sound in steps_of(cells[start : start + cut], config)
    ]

    hop = compute_lengths(config, 8_000)[1]
    for one, other, size in zip(together, parts, lengths, strict=True):
        assert len(one) == 1 + size // hop
        assert one[0, 8:].tolist() == [0.0] * 8
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 0.2),
        ("WAV", "PCM_16", 1e-2),
        ("WAV", "PCM_24", 1e-3),
        ("WAV", "PCM_32", 1e-3),
        ("WAV", "FLOAT", 1e-4),
        ("FLAC", "PCM_16", 1e-2),
        ("OGG", "VORBIS", 2.0),
    ],
)
def test_every_file_format_has_the_same_features(kind: str, subtype: str, tolerance: float) -> None:
    config = AudioInput(column="x", n_mels=8)

    (result,) = steps_of([file_of(noise(), kind=kind, subtype=subtype)], config)

    np.testing.assert_allclose(result, compute_log_mel([noise()], config, 8_000), atol=tolerance)


def test_gain_shifts_every_frame_and_two_channels_are_averaged() -> None:
    config = AudioInput(column="x", n_mels=8)
    mono, other = noise(), noise(seed=1)

    soft, louder, both, mean = steps_of(
        [
            file_of(mono / 4, subtype="FLOAT"),
            file_of(mono, subtype="FLOAT"),
            file_of(np.stack([mono, other], axis=1), subtype="FLOAT"),
            file_of((mono + other) / 2, subtype="FLOAT"),
        ],
        config,
    )

    np.testing.assert_allclose(louder - soft, np.log(16), atol=1e-3)
    np.testing.assert_allclose(both, mean, atol=1e-3)


@pytest.mark.parametrize("rate", [4_000, 11_025, 16_000, 44_100])
def test_a_tone_is_in_the_same_band_at_any_sample_rate(rate: int) -> None:
    config = AudioInput(column="x", n_mels=32, f_max=2_000)
    tone = np.sin(2 * np.pi * 700 * np.arange(rate) / rate).astype(np.float32)

    (result,) = steps_of([file_of(tone * 0.5, rate)], config)
    (expected,) = steps_of(
        [file_of(0.5 * np.sin(2 * np.pi * 700 * np.arange(8_000) / 8_000), 8_000)], config
    )

    assert (result[10:90].argmax(axis=1) == expected[10:90].argmax(axis=1)).all()


def test_silence_is_finite_and_a_long_sound_is_truncated_as_configured() -> None:
    config = AudioInput(column="x", n_mels=8, max_seconds=0.1)
    ramp = np.linspace(0, 0.9, 8_000).astype(np.float32) * noise(8_000)

    silence, start = steps_of([file_of(np.zeros(500)), file_of(ramp)], config)
    end = steps_of(
        [file_of(ramp)], AudioInput(column="x", n_mels=8, max_seconds=0.1, truncate="end")
    )

    assert np.isfinite(silence).all()
    assert len(start) == len(end[0]) == 11
    assert end[0].mean() > start.mean() + 2


def claim_rate(rate: int, size: int = 10) -> bytes:
    """Return a WAV file whose header has another rate than its samples."""
    data = bytearray(file_of(noise(size)))
    data[24:28] = rate.to_bytes(4, "little")
    return bytes(data)


def make_broken_files() -> dict[str, tuple[bytes | None, str]]:
    whole, flac, ogg = (file_of(noise(9_000), kind=kind) for kind in ("WAV", "FLAC", "OGG"))
    many = file_of(np.zeros((10, 40)))
    return {
        "missing": (None, "the sound is missing"),
        "no file": (b"", "neither WAV, FLAC nor OGG"),
        "a text": (b"hello, this is no sound at all", "neither WAV, FLAC nor OGG"),
        "cut short": (whole[:5_000], "bytes are missing at its end"),
        "FLAC cut short": (flac[: len(flac) // 2], "damaged"),
        "OGG without its head": (ogg[200:], "neither WAV, FLAC nor OGG"),
        "no samples": (file_of(np.zeros(0)), "the sound is empty"),
        "many channels": (many, "claims 40 channels"),
        "no rate": (claim_rate(99), "claims 99 samples a second, and 100 to 384000 can be read"),
        "an absurd rate": (claim_rate(2**31 - 1), "claims 2147483647 samples a second"),
        "days": (claim_rate(100, 4_400_000), "claims 1 channels and 44000 s"),
        "not a number": (
            file_of(np.array([0.0, np.nan], np.float32), subtype="FLOAT"),
            "samples that are not finite",
        ),
    }


@pytest.mark.parametrize("name", make_broken_files())
def test_a_broken_sound_is_an_error_of_its_own_row(name: str) -> None:
    cell, reason = make_broken_files()[name]
    config = AudioInput(column="x", n_mels=8)
    frame = pl.DataFrame({"x": pl.Series([file_of(noise()), cell], dtype=pl.Binary)})

    steps = transform(frame, config, plain_state(config))

    assert steps.errors_R[0] is None
    assert reason in steps.errors_R[1]
    assert steps.stops_R[1] == steps.starts_R[1]


def test_lists_of_samples_have_the_configured_rate() -> None:
    config = AudioInput(column="x", n_mels=8, sample_rate=8_000)
    frame = pl.DataFrame({"x": [noise().tolist(), [], None]})

    state = fit([frame], config)
    steps = transform(frame, config, state)

    assert state.sample_rate == 8_000
    assert steps.errors_R == [None, "the sound is empty", "the sound is missing"]
    with pytest.raises(UnlearnableError, match=r"needs inputs\.sample_rate"):
        fit([frame], AudioInput(column="x"))


def test_the_rate_is_the_one_that_most_sounds_have_and_the_highest_of_equally_many() -> None:
    config = AudioInput(column="x", n_mels=8)

    def fit_rate(*rates: int) -> int:
        cells = [claim_rate(rate, 1_000) for rate in rates]
        return fit(
            [pl.DataFrame({"x": cells[:2]}), pl.DataFrame({"x": cells[2:]})], config
        ).sample_rate

    assert fit_rate(44_100, 8_000, 16_000, 8_000) == 8_000
    assert fit_rate(16_000, 8_000, 8_000, 16_000) == 16_000
    assert fit_rate(2**31 - 1, 2**31 - 1, 2**31 - 1, 8_000) == 8_000


def test_a_sound_that_would_be_resampled_to_too_many_samples_is_an_error() -> None:
    config = AudioInput(column="x", n_mels=8, sample_rate=384_000, max_seconds=3_600)
    frame = pl.DataFrame({"x": [claim_rate(100, 36_000), file_of(noise())]})

    steps = transform(frame, config, plain_state(config, rate=384_000))

    assert steps.errors_R[0] == (
        "the sound has 138,240,000 samples, and at most 134,217,728 are read"
    )
    assert steps.errors_R[1] is None


def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory() -> None:
    data = bytearray(file_of(noise(1_000), kind="FLAC"))
    # The 36 bits of the number of samples in FLAC's STREAMINFO block.
    data[21] = data[21] & 0xF0
    data[22:26] = (70_000_000).to_bytes(4, "big")
    config = AudioInput(column="x", n_mels=8, max_seconds=9_000)
    frame = pl.DataFrame({"x": [bytes(data)]})

    tracemalloc.start()
    steps = transform(frame, config, plain_state(config))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "damaged" in steps.errors_R[0]
    assert peak < 50e6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_length": 11.0}, "window_length: 11.0 s is longer than 10 s"),
        ({"hop_length": 0.001, "max_seconds": 1_001.0}, "has more than 1,000,000 frames"),
    ],
)
def test_settings_that_would_take_all_memory_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        AudioInput(column="x", **settings)


def test_the_scale_is_that_of_the_training_sounds_in_any_chunks(tmp_path) -> None:
    config = AudioInput(column="x", n_mels=8)
    cells = [None, *(file_of(noise(700 + 40 * seed, seed)) for seed in range(12))]
    frame = pl.DataFrame({"x": pl.Series(cells, dtype=pl.Binary)})

    whole, parts = fit([frame], config), fit([*frame.iter_slices(3)], config)
    scaled = transform(frame, config, whole).values_NC
    write_state(whole, tmp_path / "state")

    assert whole == parts == parse_record(AudioState, read_state(tmp_path / "state"))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-3)


def test_every_mel_band_covers_a_frequency_at_any_number_of_bands() -> None:
    config = AudioInput(column="x", n_mels=120, window_length=0.01)

    (result,) = steps_of([file_of(noise(8_000))], config)

    assert (result[5:-5] > np.log(1e-9)).all()
    with pytest.raises(UnlearnableError, match="lower f_min"):
        steps_of([file_of(noise())], AudioInput(column="x", n_mels=8, f_min=4_000))
