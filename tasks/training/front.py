"""The front of a network that depends on the data: how much `downsample: auto` shortens."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from models.features.splitting.split import TRAINING
from models.networks.config import ModelConfig

LONG_SERIES, DOWNSAMPLE = 64, 4
"""Median steps from which a series in lists is shortened by convolutions, and by how much."""


def resolve_downsample(model: ModelConfig, features_dir: Path) -> ModelConfig:
    """Return the settings of a network with a number for `downsample: auto`.

    Args:
        model: the settings.
        features_dir: with the training rows, whose lengths it depends on.
    """
    if model.downsample != "auto":
        return model
    rows = pl.scan_parquet(features_dir / "sequences.parquet", glob=False).filter(
        pl.col("known") & (pl.col("split") == TRAINING)
    )
    median = rows.select((pl.col("stop") - pl.col("start")).median()).collect().item()
    if median is None or median < LONG_SERIES:
        return replace(model, downsample=1, downsample_by="conv")
    return replace(model, downsample=DOWNSAMPLE)
