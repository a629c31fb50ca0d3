"""From sequences to outputs: cells, poolings, heads, and the network that combines them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from models.networks.families import FAMILIES, CellName

PoolingName = Literal["last", "mean", "max", "attention", "multi-head"]

OPTION_DEFAULTS = {
    "zoneout": 0.0,
    "learn_initial_state": False,
    "peephole": False,
    "layer_norm": False,
    "children": "n-ary",
    "kernel_size": None,
    "pretrained_weights": None,
}
"""Defaults of the settings that only some cells have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network's parts and sizes."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    cell: CellName = "gru"
    """Which recurrent network; `ostinato benchmark-cells` lists them. `tree-lstm` reads trees."""
    hidden_size: int = 128
    """Units in each layer and direction."""
    num_layers: int = 1
    """Recurrent layers on top of each other."""
    embedding_dim: int = 128
    """Numbers in the vector that is learned for each token, where the input is text or trees."""
    bidirectional: bool = False
    """Read each sequence from both ends."""
    residual: bool = False
    """Add each layer's input to its output, where both are equally wide."""
    learn_initial_state: bool = False
    """Learn the state before the first step; it is zero otherwise."""
    pooling: PoolingName | tuple[PoolingName, ...] = "last"
    """How the steps become one vector: the last step, their mean or maximum, a learned mean
    (attention, or several with multi-head); or a list of these, concatenated."""
    dropout: float = 0.0
    """Share of units that are silenced between layers and before the head, in training."""
    variational_dropout: bool = False
    """Silence the same units at all steps of a sequence between layers."""
    zoneout: float = 0.0
    """Share of units that keep their last value at a step, in training: rnn, lstm and gru."""
    peephole: bool = False
    """Let the gates of an lstm see its memory."""
    layer_norm: bool = False
    """Normalise the gates and the memory of an lstm."""
    kernel_size: int | None = None
    """Steps that a convolution sees; when left out 2 for a qrnn, 3 for a tcn and 5 for a cnn."""
    num_heads: int = 4
    """Parts of multi-head pooling, of an slstm and of an mlstm; they have to divide the units."""
    downsample: int = 1
    """Before the first layer one step is left of so many."""
    downsample_by: Literal["conv", "patch"] = "conv"
    """How: by convolutions and poolings, as in a CRNN, or by one linear layer that reads so many
    steps together, as in SegRNN."""
    parallel_branch: Literal["none", "fcn", "rocket"] = "none"
    """What reads the steps parallel to the recurrent layers: `fcn` adds three convolutions and
    their mean, which makes an lstm an LSTM-FCN; `rocket` a thousand features of fixed random
    convolutions, for series, sounds and pixels."""
    pretrained_weights: str | None = None
    """Start from the recurrent layers of this Keras model (.keras or .h5), which have to be as many
    and as wide as these: rnn, lstm and gru."""
    children: Literal["n-ary", "child-sum"] = "n-ary"
    """How a tree-lstm takes the children of a node: the first apart from the others, or as a sum
    without an order."""

    def __post_init__(self) -> None:
        """Check sizes and combinations."""
        for name, size in (
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
            ("embedding_dim", self.embedding_dim),
            ("kernel_size", 1 if self.kernel_size is None else self.kernel_size),
            ("num_heads", self.num_heads),
            ("downsample", self.downsample),
        ):
            if size < 1:
                raise ValueError(f"{name}: {size} is too small; give at least 1")
        for name, share in (("dropout", self.dropout), ("zoneout", self.zoneout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}: {share} is not between 0 and 1")
        self._check_cell_options()
        width = self.hidden_size * (2 if self.bidirectional else 1)
        divided = [width] if "multi-head" in self.poolings else []
        if "num_heads" in FAMILIES[self.cell].options:
            divided.append(self.hidden_size)
            if self.hidden_size < 2 * self.num_heads:
                raise ValueError(
                    f"num_heads: {self.num_heads} leave less than 2 units each; give fewer"
                )
        for units in divided:
            if units % self.num_heads:
                raise ValueError(
                    f"num_heads: {self.num_heads} do not divide {units} units; change one of them"
                )

    def _check_cell_options(self) -> None:
        """Check that this cell has the options that are set."""
        if self.cell not in FAMILIES:
            raise ValueError(f"cell: '{self.cell}' is none of {', '.join(FAMILIES)}")
        family = FAMILIES[self.cell]
        unknown = [name for name in self.poolings if name not in get_args(PoolingName)]
        if unknown or not self.poolings:
            names = ", ".join(get_args(PoolingName))
            raise ValueError(f"pooling: {self.pooling!r} is none of {names}, nor a list of them")
        if self.bidirectional and not family.causal:
            raise ValueError(f"bidirectional: a {self.cell} reads all steps at once; remove it")
        for name, plain in OPTION_DEFAULTS.items():
            if getattr(self, name) != plain and name not in family.options:
                takers = ", ".join(c for c, other in FAMILIES.items() if name in other.options)
                raise ValueError(f"{name}: a {self.cell} has none; remove it, or choose {takers}")
        if self.pretrained_weights and (self.peephole or self.layer_norm):
            raise ValueError(
                "pretrained_weights: Keras has no peepholes and no layer_norm; remove them"
            )
        if self.downsample_by != "conv" and self.downsample == 1:
            raise ValueError(
                "downsample_by: nothing is downsampled; set downsample above 1, or remove it"
            )
        if family.reads == "trees" and (self.downsample > 1 or self.parallel_branch != "none"):
            name = "downsample" if self.downsample > 1 else "parallel_branch"
            raise ValueError(f"{name}: the nodes of a tree are no series of steps; remove it")

    @classmethod
    def from_json(cls, section: Mapping[str, Any]) -> "ModelConfig":
        """Build the config from its JSON section, whose lists become tuples."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in section.items()
        }
        return cls(**values)

    @property
    def poolings(self) -> tuple[PoolingName, ...]:
        """The poolings, one or several."""
        return (self.pooling,) if isinstance(self.pooling, str) else tuple(self.pooling)
