"""The heads by the kind of answer: what a target needs, and which part of the network it reads."""

from collections.abc import Callable
from dataclasses import dataclass, field

from models.errors import UnlearnableError
from models.features.config import Answer
from models.networks.heads.attention import AttentionHead, Size
from models.networks.heads.category import CategoryHead
from models.networks.heads.config import HeadConfig
from models.networks.heads.ctc import CtcHead
from models.networks.heads.face import Head
from models.networks.heads.forecast import ForecastHead
from models.networks.heads.forms import Form, make_form
from models.networks.heads.mining import NextStepHead, ReconstructionHead
from models.networks.heads.number import NumberHead
from models.networks.heads.tags import TagsHead


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a network."""

    kind: Answer = "number"
    codes: int = 0
    """Classes, labels or symbols; 0 where answers are numbers or nothing."""
    horizon: int = 1
    """Steps of a forecast."""
    longest: int = 0
    """Symbols of the longest text of training."""
    mean: float = 0.0
    spread: float = 1.0
    """How numbers were scaled."""
    head: HeadConfig = field(default_factory=HeadConfig)


@dataclass(frozen=True, slots=True)
class Read:
    """What a head is given: sizes of the network's parts."""

    units: int
    """Of a step."""
    pooled: int
    hidden: int
    """Units that a head may take for itself."""
    dropout: float
    channels: int
    """Numbers of a step as the front gives it."""
    ids: int
    """Where a step is an id, how many there are."""


def make_head(asked: Asked, read: Read) -> Head:
    """Make the head for these answers."""
    return MAKERS[asked.kind](asked, read)


def number_head(asked: Asked, read: Read) -> Head:
    """Make what answers a number."""
    return NumberHead(read.pooled, form_of(asked))


def forecast_head(asked: Asked, read: Read) -> Head:
    """Make what answers the steps ahead."""
    return ForecastHead(
        read.pooled,
        hidden=read.hidden,
        steps=asked.horizon,
        dropout=read.dropout,
        config=asked.head,
        form=form_of(asked),
    )


def form_of(asked: Asked) -> Form:
    """Make the form of a number."""
    return make_form(asked.head, mean=asked.mean, spread=asked.spread)


def text_head(asked: Asked, read: Read) -> Head:
    """Make what writes a text."""
    if asked.head.decoder == "ctc":
        return CtcHead(read.units, asked.codes)
    size = Size(read.units, read.pooled, read.hidden, asked.codes, asked.longest)
    return AttentionHead(size, dropout=read.dropout, config=asked.head)


def retelling_head(asked: Asked, read: Read) -> Head:
    """Make what tells a sequence again."""
    del asked
    return ReconstructionHead(read.pooled, hidden=read.hidden, channels=read.channels, ids=read.ids)


MAKERS: dict[Answer, Callable[[Asked, Read], Head]] = {
    "category": lambda asked, read: CategoryHead(read.pooled, asked.codes, asked.head),
    "number": number_head,
    "tags": lambda asked, read: TagsHead(read.pooled, asked.codes, asked.head),
    "forecast": forecast_head,
    "text": text_head,
    "next_step": lambda _, read: NextStepHead(read.units, channels=read.channels, ids=read.ids),
    "reconstruction": retelling_head,
}


def refuse_seen(kind: Answer, *, same_steps: bool, learned: bool, causal: bool) -> None:
    """Refuse to mine steps that the network changes, or sees before it foretells them.

    Raises:
        UnlearnableError: names the mend.
    """
    if not same_steps:
        raise UnlearnableError(f"target.kind {kind}: every step is told; set model.downsample: 1")
    if learned:
        raise UnlearnableError(
            f"target.kind {kind}: what is told must not be learned itself; read pixels as they are"
        )
    if kind == "next_step" and not causal:
        raise UnlearnableError(
            "target.kind next_step: the network must not see the step that it foretells; set "
            "model.bidirectional: false, and a cell that reads forwards, or kind: reconstruction"
        )
