"""The four data sets that all contenders train on, each written once as arrays.

Shapes: S sequences, N steps of all, T steps, C channels.
"""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from task import HORIZON, LOOKBACK

MIN_COUNT = 2
WINDOWS = 100
"""Training windows of each series of M4."""
APPLIANCES, CYCLE_STEPS = 10, 1_460


class BenchmarkSet(NamedTuple):
    """A data set, and the settings of its training."""

    arrays: dict[str, np.ndarray]
    settings: dict[str, Any]


def read_texts(data: Path | None) -> BenchmarkSet:
    """Read sentences of film reviews in five classes: 2 to 52 word ids, 19 on average."""
    frame = pl.read_parquet(data / "tree_sst.parquet").filter(pl.col("split") != "test")
    frame = frame.sort(pl.col("split") == "dev", maintain_order=True)
    training = int((frame["split"] == "train").sum())
    words_S = [text.lower().split() for text in frame["text"]]
    counts = Counter(word for words in words_S[:training] for word in words)
    vocabulary = [word for word, count in counts.most_common() if count >= MIN_COUNT]
    # 0 is padding, 1 an unknown word.
    ids = {word: index + 2 for index, word in enumerate(vocabulary)}
    values_N = np.array([ids.get(word, 1) for words in words_S for word in words], np.int64)
    return BenchmarkSet(
        {
            "values": values_N,
            "lengths_S": np.array([len(words) for words in words_S]),
            "labels_S": frame["label"].to_numpy().astype(np.int64),
        },
        {
            "training_rows": training,
            "classes": 5,
            "vocab_size": len(vocabulary) + 2,
            "embedding_dim": 128,
            "hidden_size": 128,
            "pooling": "last",
            "batch_size": 64,
            "epochs": 4,
            "learning_rate": 2e-3,
        },
    )


def simulate_appliances(_: Path | None) -> BenchmarkSet:
    """Simulate the power of ten appliances: 100 + 100 series of 1,460 steps, as in UCR's ACSF1.

    Each appliance has its own power, cycle, share of the cycle at work and wave while it works; the
    start of the cycle and the noise are random.
    """
    draw = np.random.default_rng(0)
    labels_S = np.tile(np.arange(APPLIANCES), 20)
    step_T = np.arange(CYCLE_STEPS)
    rows = []
    for label in labels_S:
        power, cycle, work = 0.5 + 0.4 * (label % 5), 40 + 60 * (label // 2), 0.3 + 0.05 * label
        phase_T = (step_T + draw.integers(cycle)) % cycle / cycle
        wave_T = 1 + 0.3 * np.sin(2 * np.pi * step_T / (4 + label))
        rows.append(power * (phase_T < work) * wave_T + draw.normal(0, 0.1, CYCLE_STEPS))
    values_N1 = np.concatenate(rows).astype(np.float32)[:, None]
    return BenchmarkSet(
        {
            "values": values_N1,
            "lengths_S": np.full(len(labels_S), CYCLE_STEPS),
            "labels_S": labels_S,
        },
        {
            "training_rows": 100,
            "classes": APPLIANCES,
            "vocab_size": 0,
            "embedding_dim": 1,
            "hidden_size": 64,
            "pooling": "mean",
            "batch_size": 20,
            "epochs": 8,
            "learning_rate": 1e-2,
        },
    )


def read_windows(data: Path | None) -> BenchmarkSet:
    """Read 359 weekly series: 13 weeks are forecast from 52, in up to 100 windows a series.

    M4's own last 13 weeks are the validation targets. Each series is standardized by its training
    steps.
    """
    frame = pl.read_parquet(data / "m4_weekly.parquet").sort("id", "step")
    max_steps = WINDOWS + LOOKBACK + 2 * HORIZON - 1
    parts = []
    for (_,), group in frame.group_by("id", maintain_order=True):
        series = group["y"].to_numpy()[-max_steps:]
        training = series[:-HORIZON]
        parts.append(((series - training.mean()) / training.std()).astype(np.float32))
    return BenchmarkSet(
        {
            "values": np.concatenate(parts),
            "lengths_S": np.array([len(part) for part in parts]),
            "labels_S": np.empty(0, np.int64),
        },
        {
            "training_rows": 0,
            "classes": 0,
            "vocab_size": 0,
            "embedding_dim": 1,
            "hidden_size": 64,
            "pooling": "last",
            "batch_size": 256,
            "epochs": 3,
            "learning_rate": 2e-3,
        },
    )


def read_image_rows(data: Path | None) -> BenchmarkSet:
    """Read handwritten digits row by row: 28 steps of 28 pixels."""
    from PIL import Image

    frame = pl.read_parquet(data / "image_mnist10k.parquet")
    frame = frame.sort(pl.col("split") == "test", maintain_order=True)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(cell))) for cell in frame["image"]])
    training = int((frame["split"] == "train").sum())
    training_pixels = pixels[:training]
    values = ((pixels - training_pixels.mean()) / training_pixels.std()).astype(np.float32)
    return BenchmarkSet(
        {
            "values": values.reshape(-1, pixels.shape[2]),
            "lengths_S": np.full(len(pixels), pixels.shape[1]),
            "labels_S": frame["label"].to_numpy().astype(np.int64),
        },
        {
            "training_rows": training,
            "classes": 10,
            "vocab_size": 0,
            "embedding_dim": 1,
            "hidden_size": 128,
            "pooling": "last",
            "batch_size": 64,
            "epochs": 4,
            "learning_rate": 2e-3,
        },
    )


SETS: dict[str, Callable[[Path | None], BenchmarkSet]] = {
    "text": read_texts,
    "long": simulate_appliances,
    "windows": read_windows,
    "rows": read_image_rows,
}
FILES = {
    "text": "tree_sst.parquet",
    "windows": "m4_weekly.parquet",
    "rows": "image_mnist10k.parquet",
}
"""The file of the given folder that a set needs."""
