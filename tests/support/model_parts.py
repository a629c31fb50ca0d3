"""Small parts of a model, made by hand: layouts, scales, featurizers, faces."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from models.bundle import Bundle, build_head_spec
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.feature_spec import Numbers
from models.features.featurizer import Featurizer
from models.features.image import ImageInput, ImageState
from models.features.series import Scaler, SeriesInput, SeriesState
from models.features.splitting.split import SplitConfig
from models.features.splitting.unseen_rows import Split
from models.features.target import Target, fit_target
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.heads.config import HeadConfig
from models.networks.network import NO_STATICS, NetworkSpec, build_network

PLAIN = HeadConfig()

BY_HASH = Split(config=SplitConfig(), by="hash", columns=("wave",))


def face(channels: int, outputs: int) -> NetworkSpec:
    """What a network of plain channels has to fit."""
    asked = HeadSpec(kind="category", num_classes=outputs) if outputs > 1 else HeadSpec()
    return NetworkSpec(features=Numbers(channels=channels), head=asked)


def scale(
    mean: Sequence[float], spread: Sequence[float], gaps: tuple[int, ...] = ()
) -> SeriesState:
    """A scale of all entities together."""
    centre = np.array([mean], float)
    return SeriesState(
        scaler=Scaler(
            centre_EC=centre, spread_EC=np.array([spread], float), typical_EC=centre, gaps=gaps
        )
    )


def target_of(answers: Sequence[object], kind: str) -> Target:
    """A target fitted on these answers."""
    config = TargetConfig(column="label", kind=kind)
    return fit_target([(pl.Series("label", answers), None)], config)


def series_layout(
    column: str | tuple[str, ...],
    *,
    window: int = 0,
    time: str = "day",
    entity: str | None = None,
    horizon: int = 1,
) -> Layout:
    """A series: in lists, or in windows."""
    return Layout(
        input=SeriesInput(column=column),
        window=WindowConfig(lookback=window, horizon=horizon) if window else None,
        time=time if window else None,
        entity=entity if window else None,
    )


def image_layout(column: str) -> Layout:
    """Images, row by row."""
    return Layout(input=ImageInput(column=column), window=None, time=None, entity=None)


def grey_images(height: int, width: int) -> ImageState:
    """Grey images of this size."""
    return ImageState(
        height=height, width=width, colours=1, element="uint8", mean=(127.0,), spread=(64.0,)
    )


def featurizer_of(
    layout: Layout, state: object, target: Target, split: Split = BY_HASH
) -> Featurizer:
    """All that training would have fitted."""
    return Featurizer(layout=layout, state=state, statics=NO_STATICS, target=target, split=split)


def bundle_of(
    featurizer: Featurizer, model: ModelConfig, seed: int = 2, head: HeadConfig = PLAIN
) -> Bundle:
    """A network behind a featurizer, as it begins."""
    return Bundle(
        featurizer,
        build_network(model, build_head_spec(featurizer, head), seed=seed).eval(),
        model,
        head,
    )
