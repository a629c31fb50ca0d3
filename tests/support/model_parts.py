"""Small parts of a model, made by hand: layouts, fitted states, featurizers, specs, bundles."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from models.bundle import Bundle, build_network_spec
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.feature_spec import Numbers
from models.features.featurizer import Featurizer
from models.features.image import ImageInput, ImageState
from models.features.series import Scaler, SeriesInput, SeriesState
from models.features.splitting.split import SplitConfig
from models.features.splitting.unseen_rows import SplitRecord
from models.features.target import Target, fit_target
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.heads.config import HeadConfig
from models.networks.network import NO_STATICS, NetworkSpec, build_network

DEFAULT_HEAD = HeadConfig()

BY_HASH = SplitRecord(config=SplitConfig(), by="hash", columns=("wave",))


def build_plain_spec(channels: int, outputs: int) -> NetworkSpec:
    """Return the spec of a network over numeric channels: a number, or that many classes."""
    head = HeadSpec(kind="category", num_classes=outputs) if outputs > 1 else HeadSpec()
    return NetworkSpec(features=Numbers(channels=channels), head=head)


def build_series_state(
    mean: Sequence[float], std: Sequence[float], gaps: tuple[int, ...] = ()
) -> SeriesState:
    """Return a fitted state with one scaler for all entities."""
    centre = np.array([mean], float)
    return SeriesState(
        scaler=Scaler(
            centre_EC=centre, spread_EC=np.array([std], float), typical_EC=centre, gaps=gaps
        )
    )


def fit_label_target(targets: Sequence[object], kind: str) -> Target:
    """Fit a target of this kind on the values."""
    config = TargetConfig(column="label", kind=kind)
    return fit_target([(pl.Series("label", targets), None)], config)


def build_series_layout(
    column: str | tuple[str, ...],
    *,
    lookback: int = 0,
    time: str = "day",
    entity: str | None = None,
    horizon: int = 1,
) -> Layout:
    """Return a layout of series in lists, or in windows where `lookback` is given."""
    return Layout(
        input=SeriesInput(column=column),
        window=WindowConfig(lookback=lookback, horizon=horizon) if lookback else None,
        time=time if lookback else None,
        entity=entity if lookback else None,
    )


def build_image_layout(column: str) -> Layout:
    """Return a layout of one image a row."""
    return Layout(input=ImageInput(column=column), window=None, time=None, entity=None)


def build_grey_state(height: int, width: int) -> ImageState:
    """Return the fitted state of gray images of this size."""
    return ImageState(
        height=height, width=width, colors=1, pixel_type="uint8", mean=(127.0,), std=(64.0,)
    )


def build_featurizer(
    layout: Layout, state: object, target: Target, split: SplitRecord = BY_HASH
) -> Featurizer:
    """Return a featurizer without static covariates, as training would have fitted it."""
    return Featurizer(
        layout=layout, state=state, static_state=NO_STATICS, target=target, split=split
    )


def build_bundle(
    featurizer: Featurizer, model: ModelConfig, seed: int = 2, head: HeadConfig = DEFAULT_HEAD
) -> Bundle:
    """Return a bundle of the featurizer and an untrained network."""
    return Bundle(
        featurizer,
        build_network(model, build_network_spec(featurizer, head), seed=seed).eval(),
        model,
        head,
    )
