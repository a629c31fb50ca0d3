"""Tables with targets of each kind, and small models that are trained on them."""

from pathlib import Path

import numpy as np
import polars as pl

from models.bundle import Bundle, load_bundle
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.features.text import TextInput
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.dataset.rowset import RowSet
from tasks.features.featurize import build_features
from tasks.training.train import train_network
from tests.support.input_tables import build_row_layout

BY_TIME = SplitConfig(by="time", test=0.25, validation=0.2)

BY_COLUMN = SplitConfig(by="column", column="split")

NO_CHECKPOINTS = CheckpointStore(load=lambda: None, save=lambda _: None)


def write_rows(frame: pl.DataFrame, path: Path) -> RowSet:
    frame.write_parquet(path, row_group_size=17)
    return RowSet((path,), frame.schema)


def write_features(
    folder: Path, frame: pl.DataFrame, layout: Layout, target: TargetConfig, split=BY_COLUMN
) -> RowSet:
    folder.mkdir()
    rows = write_rows(frame, folder / "rows.parquet")
    build_features(folder, rows, layout=layout, target=target, split=split)
    return rows


def train_bundle(
    folder: Path, *, epochs: int = 2, head: HeadConfig | None = None, **model
) -> Bundle:
    train_network(
        folder,
        folder / "model",
        model=ModelConfig(**({"cell": "gru", "hidden_size": 12} | model)),
        head=head or HeadConfig(),
        training=TrainingConfig(epochs=epochs, batch_size=16, learning_rate=0.01, patience=epochs),
        checkpoints=NO_CHECKPOINTS,
        callbacks=Callbacks(lambda _: None),
    )
    return load_bundle(folder / "model" / "bundle")


def build_weekly_layout(series: SeriesInput, *, horizon: int) -> Layout:
    """Return a layout of windows of two weeks of each shop."""
    window = WindowConfig(lookback=14, horizon=horizon)
    return Layout(input=series, window=window, time="day", entity="shop")


def make_weekly_sales(days: int = 160) -> pl.DataFrame:
    """Return daily sales of two shops with a weekly season, each at its own level."""
    day = np.tile(np.arange(days), 2)
    level = np.repeat([10.0, 400.0], days)
    draw = np.random.default_rng(0)
    sales = level * (1 + 0.5 * np.sin(day * 2 * np.pi / 7)) + level * draw.normal(0, 0.02, len(day))
    return pl.DataFrame(
        {"shop": np.repeat(["a", "b"], days), "day_index": day, "sales": sales}
    ).select("shop", day=pl.date(2024, 1, 1) + pl.duration(days="day_index"), sales="sales")


def make_tagged_texts(rows: int = 240) -> pl.DataFrame:
    """Return sentences, tagged with those of three words that they contain."""
    draw = np.random.default_rng(3)
    words = ["sun", "rain", "wind", "of", "the", "day"]
    sentences = [draw.choice(words, int(draw.integers(2, 8))).tolist() for _ in range(rows)]
    tags = [
        [word for word in ("rain", "sun", "wind") if word in sentence] for sentence in sentences
    ]
    split = ["test" if row % 4 == 0 else "dev" if row % 4 == 1 else "train" for row in range(rows)]
    return pl.DataFrame(
        {"x": [" ".join(sentence) for sentence in sentences], "tags": tags, "split": split}
    )


WORDS = build_row_layout(TextInput(column="x", tokenizer="character"))
TEXT_LAYOUT = Layout(input=WORDS.input, window=None, time=None, entity=None)


def make_upper_case_texts(rows: int = 400) -> pl.DataFrame:
    """Return short texts, and the same texts in upper case as the target."""
    draw = np.random.default_rng(5)
    texts = ["".join(draw.choice(list("abcd"), int(draw.integers(2, 6)))) for _ in range(rows)]
    split = ["test" if row % 5 == 0 else "dev" if row % 5 == 1 else "train" for row in range(rows)]
    frame = pl.DataFrame({"x": texts, "split": split})
    return frame.with_columns(y=pl.col("x").str.to_uppercase())
