"""A small table of every kind of input, with an id, a split and two targets."""

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


def build_row_layout(input_config: object) -> Layout:
    """Return a layout of one sequence a row, with two static covariates."""
    statics = (CategoryInput(column="town", min_frequency=1), NumberInput(column="size"))
    return Layout(input=input_config, window=None, time=None, entity=None, static_inputs=statics)


def draw_waves(draw: np.random.Generator) -> pl.Series:
    """Draw lists of numbers; every seventh begins with a missing value."""
    cells = [draw.normal(3, 2, int(draw.integers(2, 9))).tolist() for _ in range(ROWS)]
    for row in range(0, ROWS, 7):
        cells[row][0] = None
    return pl.Series(cells)


def draw_sentences(draw: np.random.Generator) -> pl.Series:
    """Draw sentences of one to eight words."""
    words = [f"w{number}" for number in range(12)]
    return pl.Series([" ".join(draw.choice(words, int(draw.integers(1, 9)))) for _ in range(ROWS)])


def draw_images(draw: np.random.Generator) -> pl.Series:
    """Draw gray PNG files of 5 x 4 pixels."""
    files = []
    for pixels in draw.integers(0, 255, (ROWS, 5, 4), dtype=np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return pl.Series(files)


def draw_sounds(draw: np.random.Generator) -> pl.Series:
    """Draw WAV files of 300 to 699 samples."""
    sizes = draw.integers(300, 700, ROWS)
    return pl.Series([encode_wav(draw.uniform(-1, 1, int(size))) for size in sizes])


def draw_trees(draw: np.random.Generator) -> pl.Series:
    """Draw labelled trees of one to four words, in brackets."""

    def draw_tree(size: int) -> str:
        if size == 1:
            return f"({draw.integers(5)} w{draw.integers(9)})"
        cut = int(draw.integers(1, size))
        return f"({draw.integers(5)} {draw_tree(cut)} {draw_tree(size - cut)})"

    return pl.Series([draw_tree(int(draw.integers(1, 5))) for _ in range(ROWS)])


Cells = Callable[[np.random.Generator], pl.Series]

KINDS: dict[str, tuple[Layout, Cells]] = {
    "series": (build_row_layout(SeriesInput(column="x")), draw_waves),
    "series, robust": (
        build_row_layout(SeriesInput(column="x", scaler="robust", impute="last")),
        draw_waves,
    ),
    "text, bpe": (build_row_layout(TextInput(column="x", vocab_size=300)), draw_sentences),
    "text, words": (build_row_layout(TextInput(column="x", tokenizer="word")), draw_sentences),
    "text, characters": (
        build_row_layout(TextInput(column="x", tokenizer="character")),
        draw_sentences,
    ),
    "image": (build_row_layout(ImageInput(column="x")), draw_images),
    "audio": (build_row_layout(AudioInput(column="x", n_mels=8)), draw_sounds),
    "tree": (build_row_layout(TreeInput(column="x")), draw_trees),
}


def build_table(cells: Cells, seed: int = 0) -> pl.DataFrame:
    """Return a table with an id, a sequence, two static covariates, a split and a label."""
    draw = np.random.default_rng(seed)
    ids = np.arange(ROWS)
    split = np.where(ids % 5 == 0, "test", np.where(ids % 5 == 1, "dev", "train"))
    return pl.DataFrame(
        {
            "id": ids,
            "x": cells(draw),
            "town": draw.choice(["Graz", "Linz", "Wien"], ROWS),
            "size": draw.normal(100, 20, ROWS),
            "split": split,
            "label": pl.Series(["a", "b", "c"] * (ROWS // 3)),
        }
    )


def build_shop_sales(seed: int = 0, shops: int = 4, days: int = 40) -> pl.DataFrame:
    """Return daily sales of shops of different sizes, sorted by shop and day, with gaps."""
    draw = np.random.default_rng(seed)
    rows = shops * days
    shop = np.repeat(np.arange(shops), days)
    sales = draw.normal(10 * 4.0**shop, 2.0 * 4.0**shop)
    sales[draw.random(rows) < 0.1] = np.nan
    first = pl.date(2024, 1, 1)
    return pl.DataFrame({"shop": shop, "day_index": np.tile(np.arange(days), shops)}).select(
        shop=pl.format("s{}", "shop"),
        day=first + pl.duration(days=pl.col("day_index")),
        sales=pl.Series(sales).fill_nan(None),
        price=pl.Series(draw.normal(3, 1, rows)),
        town=pl.Series(draw.choice(["Graz", "Wien"], rows)),
        demand=pl.Series(draw.normal(10 * 4.0**shop, 1.0)),
    )


NUMBER = TargetConfig(column="demand", kind="number")


def build_daily_layout(series: SeriesInput, *, lookback: int = 5, horizon: int = 2) -> Layout:
    """Return a layout of windows of the shops' sales."""
    return Layout(
        input=series,
        window=WindowConfig(lookback=lookback, horizon=horizon),
        time="day",
        entity="shop",
        static_inputs=(CategoryInput(column="town"),),
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
