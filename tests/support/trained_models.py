"""Tables whose answers are of each kind, and small models that learn them."""

from pathlib import Path

import numpy as np
import polars as pl

from models.bundle import Bundle, load
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
from tasks.training.fit import train_network
from tests.support.input_tables import whole

BY_TIME = SplitConfig(by="time", test=0.25, validation=0.2)

TOLD = SplitConfig(by="column", column="split")

NOWHERE = CheckpointStore(load=lambda: None, save=lambda _: None)


def rows_of(frame: pl.DataFrame, path: Path) -> RowSet:
    frame.write_parquet(path, row_group_size=17)
    return RowSet((path,), frame.schema)


def features(
    folder: Path, frame: pl.DataFrame, layout: Layout, target: TargetConfig, split=TOLD
) -> RowSet:
    folder.mkdir()
    rows = rows_of(frame, folder / "rows.parquet")
    build_features(folder, rows, layout=layout, target=target, split=split)
    return rows


def trained(folder: Path, *, epochs: int = 2, head: HeadConfig | None = None, **model) -> Bundle:
    train_network(
        folder,
        folder / "model",
        model=ModelConfig(**({"cell": "gru", "hidden_size": 12} | model)),
        head=head or HeadConfig(),
        training=TrainingConfig(epochs=epochs, batch_size=16, learning_rate=0.01, patience=epochs),
        checkpoints=NOWHERE,
        callbacks=Callbacks(lambda _: None),
    )
    return load(folder / "model" / "bundle")


def weekly(read: SeriesInput, *, horizon: int) -> Layout:
    """Two weeks of each shop, and what comes then."""
    window = WindowConfig(lookback=14, horizon=horizon)
    return Layout(input=read, window=window, time="day", entity="shop")


def tides(days: int = 160) -> pl.DataFrame:
    """Two shops whose sales come and go with the week, each at its own level."""
    day = np.tile(np.arange(days), 2)
    level = np.repeat([10.0, 400.0], days)
    draw = np.random.default_rng(0)
    sales = level * (1 + 0.5 * np.sin(day * 2 * np.pi / 7)) + level * draw.normal(0, 0.02, len(day))
    return pl.DataFrame({"shop": np.repeat(["a", "b"], days), "place": day, "sales": sales}).select(
        "shop", day=pl.date(2024, 1, 1) + pl.duration(days="place"), sales="sales"
    )


def tagged(rows: int = 240) -> pl.DataFrame:
    """Sentences, and which of three words they hold."""
    draw = np.random.default_rng(3)
    words = ["sun", "rain", "wind", "of", "the", "day"]
    cut = [draw.choice(words, int(draw.integers(2, 8))).tolist() for _ in range(rows)]
    tags = [[word for word in ("rain", "sun", "wind") if word in held] for held in cut]
    split = ["test" if at % 4 == 0 else "dev" if at % 4 == 1 else "train" for at in range(rows)]
    return pl.DataFrame({"x": [" ".join(held) for held in cut], "tags": tags, "split": split})


WORDS = whole(TextInput(column="x", tokenizer="character"))
ALONE = Layout(input=WORDS.input, window=None, time=None, entity=None)


def turned(rows: int = 400) -> pl.DataFrame:
    """Short texts, and the same with its letters raised."""
    draw = np.random.default_rng(5)
    texts = ["".join(draw.choice(list("abcd"), int(draw.integers(2, 6)))) for _ in range(rows)]
    split = ["test" if at % 5 == 0 else "dev" if at % 5 == 1 else "train" for at in range(rows)]
    frame = pl.DataFrame({"x": texts, "split": split})
    return frame.with_columns(y=pl.col("x").str.to_uppercase())
