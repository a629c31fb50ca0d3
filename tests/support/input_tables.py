"""A small table of every kind of input, with an id, a split and two answers."""

import io
from collections.abc import Callable

import numpy as np
import polars as pl
from PIL import Image

from flows.commands.demo_data import encode_wav
from models.features.audio import AudioInput
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.image import ImageInput
from models.features.series import SeriesInput
from models.features.static_covariates import CategoryInput, NumberInput
from models.features.text import TextInput
from models.features.tree import TreeInput

ROWS = 60

CATEGORY = TargetConfig(column="label", kind="category")


def whole(read: object) -> Layout:
    """Rows that are sequences of their own, with two values beside them."""
    statics = (CategoryInput(column="town", min_frequency=1), NumberInput(column="size"))
    return Layout(input=read, window=None, time=None, entity=None, statics=statics)


def waves(draw: np.random.Generator) -> pl.Series:
    """Lists of numbers with a gap here and there."""
    cells = [draw.normal(3, 2, int(draw.integers(2, 9))).tolist() for _ in range(ROWS)]
    for row in range(0, ROWS, 7):
        cells[row][0] = None
    return pl.Series(cells)


def sentences(draw: np.random.Generator) -> pl.Series:
    """Sentences of a few words."""
    words = [f"w{number}" for number in range(12)]
    return pl.Series([" ".join(draw.choice(words, int(draw.integers(1, 9)))) for _ in range(ROWS)])


def pictures(draw: np.random.Generator) -> pl.Series:
    """Grey PNG files."""
    files = []
    for pixels in draw.integers(0, 255, (ROWS, 5, 4), dtype=np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return pl.Series(files)


def tones(draw: np.random.Generator) -> pl.Series:
    """WAV files of some hundredths of a second."""
    sizes = draw.integers(300, 700, ROWS)
    return pl.Series([encode_wav(draw.uniform(-1, 1, int(size))) for size in sizes])


def trees(draw: np.random.Generator) -> pl.Series:
    """Trees of up to four words."""

    def tree(size: int) -> str:
        if size == 1:
            return f"({draw.integers(5)} w{draw.integers(9)})"
        cut = int(draw.integers(1, size))
        return f"({draw.integers(5)} {tree(cut)} {tree(size - cut)})"

    return pl.Series([tree(int(draw.integers(1, 5))) for _ in range(ROWS)])


Cells = Callable[[np.random.Generator], pl.Series]

KINDS: dict[str, tuple[Layout, Cells]] = {
    "series": (whole(SeriesInput(column="x")), waves),
    "series, robust": (whole(SeriesInput(column="x", scaler="robust", impute="last")), waves),
    "text, bpe": (whole(TextInput(column="x", vocab_size=300)), sentences),
    "text, words": (whole(TextInput(column="x", tokenizer="word")), sentences),
    "text, characters": (whole(TextInput(column="x", tokenizer="character")), sentences),
    "image": (whole(ImageInput(column="x")), pictures),
    "audio": (whole(AudioInput(column="x", n_mels=8)), tones),
    "tree": (whole(TreeInput(column="x")), trees),
}


def table(cells: Cells, seed: int = 0) -> pl.DataFrame:
    """Rows whose split is told, with what stands beside the sequence."""
    draw = np.random.default_rng(seed)
    places = np.arange(ROWS)
    split = np.where(places % 5 == 0, "test", np.where(places % 5 == 1, "dev", "train"))
    return pl.DataFrame(
        {
            "id": places,
            "x": cells(draw),
            "town": draw.choice(["Graz", "Linz", "Wien"], ROWS),
            "size": draw.normal(100, 20, ROWS),
            "split": split,
            "label": pl.Series(["a", "b", "c"] * (ROWS // 3)),
        }
    )


def shops(seed: int = 0, shops: int = 4, days: int = 40) -> pl.DataFrame:
    """Daily sales of shops of different sizes, with gaps, in the order of the shops."""
    draw = np.random.default_rng(seed)
    rows = shops * days
    shop = np.repeat(np.arange(shops), days)
    sales = draw.normal(10 * 4.0**shop, 2.0 * 4.0**shop)
    sales[draw.random(rows) < 0.1] = np.nan
    first = pl.date(2024, 1, 1)
    return pl.DataFrame({"shop": shop, "place": np.tile(np.arange(days), shops)}).select(
        shop=pl.format("s{}", "shop"),
        day=first + pl.duration(days=pl.col("place")),
        sales=pl.Series(sales).fill_nan(None),
        price=pl.Series(draw.normal(3, 1, rows)),
        town=pl.Series(draw.choice(["Graz", "Wien"], rows)),
        answer=pl.Series(draw.normal(10 * 4.0**shop, 1.0)),
    )


NUMBER = TargetConfig(column="answer", kind="number")


def by_day(read: SeriesInput, *, length: int = 5, horizon: int = 2) -> Layout:
    """Windows of the shops' sales."""
    return Layout(
        input=read,
        window=WindowConfig(lookback=length, horizon=horizon),
        time="day",
        entity="shop",
        statics=(CategoryInput(column="town"),),
    )


WINDOWS: dict[str, SeriesInput] = {
    "standard": SeriesInput(column="sales"),
    "robust": SeriesInput(column="sales", scaler="robust"),
    "by entity": SeriesInput(column="sales", scale_per="entity"),
    "everything": SeriesInput(
        column="sales",
        known_future=("price",),
        calendar=("weekday", "day_of_year"),
        time_delta=True,
        scaler="arcsinh",
        impute="last",
        missing_indicator="always",
    ),
    "resampled": SeriesInput(column="sales", frequency="2d", aggregate="sum"),
}
