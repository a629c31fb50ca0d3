"""The four sets that all contenders learn, each written once as arrays.

Shapes: S sequences, N steps of all, T steps, C channels.
"""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from lesson import HORIZON, LOOKBACK

LEAST_COUNT = 2
WINDOWS = 100
"""Of each series of M4."""
APPLIANCES, CYCLE_STEPS = 10, 1_460


class Made(NamedTuple):
    """A set, and how it is learned."""

    arrays: dict[str, np.ndarray]
    course: dict[str, Any]


def texts(data: Path | None) -> Made:
    """Sentences of film reviews in five classes, words as ids: 2 to 52 of them, 19 on average."""
    frame = pl.read_parquet(data / "tree_sst.parquet").filter(pl.col("split") != "test")
    frame = frame.sort(pl.col("split") == "dev", maintain_order=True)
    training = int((frame["split"] == "train").sum())
    words_S = [text.lower().split() for text in frame["text"]]
    counts = Counter(word for words in words_S[:training] for word in words)
    known = [word for word, count in counts.most_common() if count >= LEAST_COUNT]
    # 0 is padding, 1 a word that is not known.
    ids = {word: place + 2 for place, word in enumerate(known)}
    values_N = np.array([ids.get(word, 1) for words in words_S for word in words], np.int64)
    return Made(
        {
            "values": values_N,
            "lengths_S": np.array([len(words) for words in words_S]),
            "labels_S": frame["label"].to_numpy().astype(np.int64),
        },
        {
            "training": training,
            "classes": 5,
            "ids": len(known) + 2,
            "embedding_dim": 128,
            "hidden_size": 128,
            "pooling": "last",
            "batch": 64,
            "epochs": 4,
            "rate": 2e-3,
        },
    )


def long_series(_: Path | None) -> Made:
    """What ten appliances draw: 100 + 100 series of 1,460 steps, as large as UCR's ACSF1.

    Each has its power, its cycle, its share of the time at work and a wave while it works; where a
    cycle begins, and some noise, is drawn.
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
    return Made(
        {
            "values": values_N1,
            "lengths_S": np.full(len(labels_S), CYCLE_STEPS),
            "labels_S": labels_S,
        },
        {
            "training": 100,
            "classes": APPLIANCES,
            "ids": 0,
            "embedding_dim": 1,
            "hidden_size": 64,
            "pooling": "mean",
            "batch": 20,
            "epochs": 8,
            "rate": 1e-2,
        },
    )


def windows(data: Path | None) -> Made:
    """The next 13 weeks of 359 series from 52, as many as 100 windows each, M4's own last as score.

    Each series is brought to mean 0 and spread 1 by what there is to learn from.
    """
    frame = pl.read_parquet(data / "m4_weekly.parquet").sort("id", "step")
    kept = WINDOWS + LOOKBACK + 2 * HORIZON - 1
    parts = []
    for (_,), own in frame.group_by("id", maintain_order=True):
        series = own["y"].to_numpy()[-kept:]
        known = series[:-HORIZON]
        parts.append(((series - known.mean()) / known.std()).astype(np.float32))
    return Made(
        {
            "values": np.concatenate(parts),
            "lengths_S": np.array([len(part) for part in parts]),
            "labels_S": np.empty(0, np.int64),
        },
        {
            "training": 0,
            "classes": 0,
            "ids": 0,
            "embedding_dim": 1,
            "hidden_size": 64,
            "pooling": "last",
            "batch": 256,
            "epochs": 3,
            "rate": 2e-3,
        },
    )


def image_rows(data: Path | None) -> Made:
    """Handwritten digits read row by row: 28 steps of 28 pixels."""
    from PIL import Image

    frame = pl.read_parquet(data / "image_mnist10k.parquet")
    frame = frame.sort(pl.col("split") == "test", maintain_order=True)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(cell))) for cell in frame["image"]])
    training = int((frame["split"] == "train").sum())
    known = pixels[:training]
    values = ((pixels - known.mean()) / known.std()).astype(np.float32)
    return Made(
        {
            "values": values.reshape(-1, pixels.shape[2]),
            "lengths_S": np.full(len(pixels), pixels.shape[1]),
            "labels_S": frame["label"].to_numpy().astype(np.int64),
        },
        {
            "training": training,
            "classes": 10,
            "ids": 0,
            "embedding_dim": 1,
            "hidden_size": 128,
            "pooling": "last",
            "batch": 64,
            "epochs": 4,
            "rate": 2e-3,
        },
    )


SETS: dict[str, Callable[[Path | None], Made]] = {
    "text": texts,
    "long": long_series,
    "windows": windows,
    "rows": image_rows,
}
FILES = {
    "text": "tree_sst.parquet",
    "windows": "m4_weekly.parquet",
    "rows": "image_mnist10k.parquet",
}
"""What a set needs of the folder that is given."""
