"""From sequences to outputs: cells, poolings, heads, and the network that combines them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from models.networks.families import FAMILIES, CellName

PoolingName = Literal["last", "mean", "max", "attention", "multi-head"]

PLAIN = {
    "zoneout": 0.0,
    "learned_start": False,
    "peephole": False,
    "layer_norm": False,
    "children": "n-ary",
    "width": None,
    "weights": None,
}
"""What settings that some cells alone take say where nothing is asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network's parts and sizes."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    cell: CellName = "gru"
    """Which recurrent network; `ostinato cells` describes them. `tree-lstm` reads trees."""
    hidden: int = 128
    """Units in each layer and direction."""
    layers: int = 1
    """Recurrent layers on top of each other."""
    embedding: int = 128
    """Numbers in the vector that is learned for each token, where the input is text or trees."""
    bidirectional: bool = False
    """Read each sequence from both ends."""
    residual: bool = False
    """Add each layer's input to its output, where both are equally wide."""
    learned_start: bool = False
    """Learn the state before the first step; it is zero otherwise."""
    pooling: PoolingName | tuple[PoolingName, ...] = "last"
    """How the steps become one vector: the last step, their mean or maximum, a learned mean
    (attention, or several with multi-head); or a list of these, one beside the other."""
    dropout: float = 0.0
    """Share of units that are silenced between layers and before the head, in training."""
    locked_dropout: bool = False
    """Silence the same units at all steps of a sequence between layers."""
    zoneout: float = 0.0
    """Share of units that keep their last value at a step, in training: rnn, lstm and gru."""
    peephole: bool = False
    """Let the gates of an lstm see its memory."""
    layer_norm: bool = False
    """Normalise the gates and the memory of an lstm."""
    width: int | None = None
    """Steps that a convolution sees; when left out 2 for a qrnn, 3 for a tcn and 5 for a cnn."""
    heads: int = 4
    """Parts of multi-head pooling, of an slstm and of an mlstm; they have to divide the units."""
    shorten: int = 1
    """Before the first layer one step is left of so many."""
    shorten_by: Literal["convolution", "segments"] = "convolution"
    """How: by convolutions and poolings, as in a CRNN, or by one linear layer that reads so many
    steps together, as in SegRNN."""
    beside: Literal["none", "fcn", "rocket"] = "none"
    """What else reads the steps, beside the recurrent layers: `fcn` adds three convolutions and
    their mean, which makes an lstm an LSTM-FCN; `rocket` a thousand features of fixed random
    convolutions, for series, sounds and pixels."""
    weights: str | None = None
    """Start from the recurrent layers of this Keras model (.keras or .h5), which have to be as many
    and as wide as these: rnn, lstm and gru."""
    children: Literal["n-ary", "sum"] = "n-ary"
    """How a tree-lstm takes the children of a node: the first apart from the others, or as a sum
    without an order."""

    def __post_init__(self) -> None:
        """Refuse sizes and combinations that make no network."""
        for name, size in (
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("embedding", self.embedding),
            ("width", 1 if self.width is None else self.width),
            ("heads", self.heads),
            ("shorten", self.shorten),
        ):
            if size < 1:
                raise ValueError(f"{name}: {size} is too small; give at least 1")
        for name, share in (("dropout", self.dropout), ("zoneout", self.zoneout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}: {share} is not between 0 and 1")
        self.refuse_strangers()
        width = self.hidden * (2 if self.bidirectional else 1)
        divided = [width] if "multi-head" in self.poolings else []
        if "heads" in FAMILIES[self.cell].options:
            divided.append(self.hidden)
            if self.hidden < 2 * self.heads:
                raise ValueError(f"heads: {self.heads} leave less than 2 units each; take fewer")
        for units in divided:
            if units % self.heads:
                raise ValueError(
                    f"heads: {self.heads} do not divide {units} units; change one of them"
                )

    def refuse_strangers(self) -> None:
        """Refuse what this cell does not take."""
        if self.cell not in FAMILIES:
            raise ValueError(f"cell: '{self.cell}' is none of {', '.join(FAMILIES)}")
        family = FAMILIES[self.cell]
        unknown = [name for name in self.poolings if name not in get_args(PoolingName)]
        if unknown or not self.poolings:
            names = ", ".join(get_args(PoolingName))
            raise ValueError(f"pooling: {self.pooling!r} is none of {names}, nor a list of them")
        if self.bidirectional and not family.causal:
            raise ValueError(f"bidirectional: a {self.cell} reads all ways at once; remove it")
        for name, plain in PLAIN.items():
            if getattr(self, name) != plain and name not in family.options:
                takers = ", ".join(c for c, other in FAMILIES.items() if name in other.options)
                raise ValueError(f"{name}: a {self.cell} has none; remove it, or choose {takers}")
        if self.weights and (self.peephole or self.layer_norm):
            raise ValueError("weights: Keras has no peepholes and no layer_norm; remove them")
        if self.shorten_by != "convolution" and self.shorten == 1:
            raise ValueError("shorten_by: nothing is shortened; set shorten above 1, or remove it")
        if family.reads == "trees" and (self.shorten > 1 or self.beside != "none"):
            name = "shorten" if self.shorten > 1 else "beside"
            raise ValueError(f"{name}: the nodes of trees are no line of steps; remove it")

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "ModelConfig":
        """Read the section as JSON has it, where lists are not told from tuples."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in told.items()
        }
        return cls(**values)

    @property
    def poolings(self) -> tuple[PoolingName, ...]:
        """The poolings, one or several."""
        return (self.pooling,) if isinstance(self.pooling, str) else tuple(self.pooling)
