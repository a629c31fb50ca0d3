"""The head for each kind of target, built from its spec and the sizes of the encoder."""

from collections.abc import Callable
from dataclasses import dataclass, field

from models.errors import UnlearnableError
from models.features.config import TargetKind
from models.networks.heads.attention import AttentionHead, DecoderSizes
from models.networks.heads.base import Head
from models.networks.heads.category import CategoryHead
from models.networks.heads.config import HeadConfig
from models.networks.heads.ctc import CtcHead
from models.networks.heads.forecast import ForecastHead
from models.networks.heads.number import NumberHead
from models.networks.heads.outputs import PointOutput, build_output
from models.networks.heads.self_supervised import NextStepHead, ReconstructionHead
from models.networks.heads.tags import TagsHead


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """The target that a head has to predict."""

    kind: TargetKind = "number"
    num_classes: int = 0
    """Classes, labels or symbols; 0 where the target is numbers or nothing."""
    horizon: int = 1
    """Steps of a forecast."""
    num_columns: int = 1
    """Columns that are forecast together."""
    max_length: int = 0
    """Symbols of the longest text in training."""
    mean: float = 0.0
    std: float = 1.0
    """Mean and standard deviation by which numbers were scaled."""
    config: HeadConfig = field(default_factory=HeadConfig)


@dataclass(frozen=True, slots=True)
class EncoderSizes:
    """Sizes of the network's parts that a head reads."""

    units: int
    """Of a step."""
    pooled: int
    hidden: int
    """Units of a head's own layers."""
    dropout: float
    input_channels: int
    """Numbers of a step in the front's output."""
    num_ids: int
    """How many ids there are where a step is an id, else 0."""


def build_head(spec: HeadSpec, sizes: EncoderSizes) -> Head:
    """Build the head for this kind of target."""
    return _BUILDERS[spec.kind](spec, sizes)


def validate_self_supervised(
    kind: TargetKind, *, same_steps: bool, learned: bool, causal: bool
) -> None:
    """Check that the network neither changes the steps that it predicts nor reads them beforehand.

    Raises:
        UnlearnableError: says what does not fit, and the fix.
    """
    if not same_steps:
        raise UnlearnableError(
            f"target.kind {kind}: every step is predicted; set model.downsample: 1"
        )
    if learned:
        raise UnlearnableError(
            f"target.kind {kind}: the steps must not be learned themselves; "
            "use pixels without a learned front"
        )
    if kind == "next_step" and not causal:
        raise UnlearnableError(
            "target.kind next_step: the network must not see the step that it predicts; set "
            "model.bidirectional: false, and a cell that reads forwards, or kind: reconstruction"
        )


def _build_number_head(spec: HeadSpec, sizes: EncoderSizes) -> Head:
    """Build the head for a number."""
    return NumberHead(sizes.pooled, _build_output(spec))


def _build_forecast_head(spec: HeadSpec, sizes: EncoderSizes) -> Head:
    """Build the head for a forecast."""
    return ForecastHead(
        sizes.pooled,
        hidden=sizes.hidden,
        steps=spec.horizon,
        columns=spec.num_columns,
        dropout=sizes.dropout,
        config=spec.config,
        form=_build_output(spec),
    )


def _build_output(spec: HeadSpec) -> PointOutput:
    """Build the output of a number."""
    return build_output(spec.config, mean=spec.mean, std=spec.std)


def _build_text_head(spec: HeadSpec, sizes: EncoderSizes) -> Head:
    """Build the head for a text."""
    if spec.config.decoder == "ctc":
        return CtcHead(sizes.units, spec.num_classes)
    size = DecoderSizes(sizes.units, sizes.pooled, sizes.hidden, spec.num_classes, spec.max_length)
    return AttentionHead(size, dropout=sizes.dropout, config=spec.config)


def _build_reconstruction_head(spec: HeadSpec, sizes: EncoderSizes) -> Head:
    """Build the head that reconstructs the sequence."""
    del spec
    return ReconstructionHead(
        sizes.pooled, hidden=sizes.hidden, channels=sizes.input_channels, ids=sizes.num_ids
    )


_BUILDERS: dict[TargetKind, Callable[[HeadSpec, EncoderSizes], Head]] = {
    "category": lambda spec, sizes: CategoryHead(sizes.pooled, spec.num_classes, spec.config),
    "number": _build_number_head,
    "tags": lambda spec, sizes: TagsHead(sizes.pooled, spec.num_classes, spec.config),
    "forecast": _build_forecast_head,
    "text": _build_text_head,
    "next_step": lambda _, sizes: NextStepHead(
        sizes.units, channels=sizes.input_channels, ids=sizes.num_ids
    ),
    "reconstruction": _build_reconstruction_head,
}
