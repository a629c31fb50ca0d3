"""Layouts of series: lists of a row, and windows of sales by shop and day."""

from models.features.config import Layout, WindowConfig
from models.features.series import SeriesInput


def build_list_layout(*columns: str, **more: object) -> Layout:
    read = SeriesInput(column=columns, **more)
    return Layout(input=read, window=None, time=None, entity="shop" if more else None)


def build_window_layout(
    lookback: int, *, entity: str | None = "shop", horizon: int = 1, **more: object
) -> Layout:
    return Layout(
        input=SeriesInput(column="sales", **more),
        window=WindowConfig(lookback=lookback, horizon=horizon),
        time="day",
        entity=entity,
    )
