"""From sequences to outputs: cells, poolings, heads, and the network that combines them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from models.networks.families import FAMILIES, CellName

PoolingName = Literal["last", "mean", "max", "attention", "multi-head"]

ClosedFormBranch = Literal["rocket", "ngrams", "transition", "linear", "patches"]

_MAX_GIGABYTES, _MAX_LAYERS = 500, 1_000

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


FRONT_CHANNELS = (48, 96, 48)
"""Outputs of the convolutions of `downsample_by: conv`; the last reach the pooling too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network's parts and sizes."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    cell: CellName = "gru"
    """Type of the recurrent cell; `ostinato benchmark-cells` describes them all."""
    hidden_size: int = 128
    """Units per layer and direction."""
    num_layers: int = 1
    """Number of stacked recurrent layers."""
    embedding_dim: int = 128
    """Size of the learned embedding of a token, for texts and trees. Beside frozen pretrained
    embeddings it is 32 by default."""
    bidirectional: bool = False
    """Whether each layer also reads the sequence backwards."""
    residual: bool = False
    """Whether each layer's input is added to its output, where both have the same size."""
    learn_initial_state: bool = False
    """Whether the initial state is learned; otherwise it is zero."""
    pooling: PoolingName | tuple[PoolingName, ...] = "last"
    """How the outputs of all steps become one vector: the last one, their mean or maximum, a mean
    with learned weights (`attention`; `multi-head` has several); or a list of these, which are
    concatenated."""
    dropout: float = 0.0
    """Dropout rate between layers and before the head."""
    variational_dropout: bool = False
    """Whether dropout between layers has the same mask at all steps of a sequence."""
    zoneout: float = 0.0
    """Zoneout rate: in training, share of units that keep their previous value at a step; of an
    rnn, lstm or gru."""
    peephole: bool = False
    """Whether the gates of an lstm also read its cell state (peephole connections)."""
    layer_norm: bool = False
    """Whether the gates and the cell state of an lstm are normalised (layer normalisation)."""
    kernel_size: int | None = None
    """Steps in the kernel of a convolution; by default 2 for a qrnn, 3 for a tcn, 5 for a cnn."""
    num_heads: int = 4
    """Heads of multi-head pooling, of an slstm and of an mlstm; a divisor of the units."""
    downsample: int | Literal["auto"] = 1
    """Factor by which the sequence is shortened before the first layer. `auto`, the default of
    series in lists: 4 where the median of the training rows has 64 steps or more, else 1."""
    downsample_by: Literal["conv", "patch"] = "conv"
    """How `downsample` shortens it: by three convolutions and pooling, as in a CRNN, whose outputs
    reach the pooling directly too; or by one linear layer over patches of so many steps, as in
    SegRNN."""
    parallel_branch: Literal["auto", "none", "fcn"] | ClosedFormBranch = "auto"
    """What predicts together with the recurrent layers. `fcn`: three convolutions and their mean
    over the steps, as in LSTM-FCN. The others are fitted in closed form or by a convex solver, and
    their predictions are mixed with the network's, by weights that are fitted on rows that neither
    has seen: `rocket`, random convolutions and ridge regression, for series and sound; `ngrams`,
    TF-IDF of words and characters and logistic regression, for texts and trees; `patches`, filters
    drawn from the images and ridge regression, for images; `transition`, the frequency of each
    class after the last one, for windows with `inputs.categories` that have the target's past;
    `linear`, ridge regression on the steps of a window, beside the naive forecasts. `auto`: those
    that fit the input and the target, if any."""
    pretrained_weights: str | None = None
    """Keras model (.keras or .h5) whose recurrent layers initialise those of an rnn, lstm or gru;
    their number and sizes have to be the same."""
    children: Literal["n-ary", "child-sum"] = "n-ary"
    """How a tree-lstm combines the children of a node: with separate weights for the first child
    and the others (`n-ary`), or as a sum, without an order (`child-sum`)."""

    def __post_init__(self) -> None:
        """Check sizes and combinations."""
        for name, size in (
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
            ("embedding_dim", self.embedding_dim),
            ("kernel_size", 1 if self.kernel_size is None else self.kernel_size),
            ("num_heads", self.num_heads),
            ("downsample", 1 if self.downsample == "auto" else self.downsample),
        ):
            if size < 1:
                raise ValueError(f"{name}: {size} is too small; give at least 1")
        for name, share in (("dropout", self.dropout), ("zoneout", self.zoneout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}: {share} is not between 0 and 1")
        self._check_size()
        self._check_cell_options()
        width = self.hidden_size * (2 if self.bidirectional else 1)
        divided = [width] if "multi-head" in self.poolings else []
        if divided and self.downsample != 1 and self.downsample_by == "conv":
            divided.append(FRONT_CHANNELS[-1])
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

    def _check_size(self) -> None:
        """Check that the recurrent layers are of a size that can be trained at all.

        An LSTM's layer has 4 u (i + u) weights of i inputs and u units; training keeps each weight,
        its gradient and two moments as numbers of 4 bytes.
        """
        width = self.hidden_size * (2 if self.bidirectional else 1)
        first = 4 * width * (self.embedding_dim + self.hidden_size)
        others = (self.num_layers - 1) * 4 * width * (width + self.hidden_size)
        gigabytes = (first + others) * 16 / 1e9
        if gigabytes > _MAX_GIGABYTES or self.num_layers > _MAX_LAYERS:
            raise ValueError(
                f"hidden_size: {self.num_layers} layers of {self.hidden_size} units, of inputs of "
                f"{self.embedding_dim}, need about {gigabytes:,.0f} GB to train; give fewer"
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
        for name, default in OPTION_DEFAULTS.items():
            if getattr(self, name) != default and name not in family.options:
                cells = ", ".join(c for c, other in FAMILIES.items() if name in other.options)
                raise ValueError(f"{name}: a {self.cell} has none; remove it, or choose {cells}")
        if self.pretrained_weights and (self.peephole or self.layer_norm):
            raise ValueError(
                "pretrained_weights: Keras has no peepholes and no layer_norm; remove them"
            )
        if self.downsample_by != "conv" and self.downsample == 1:
            raise ValueError(
                "downsample_by: nothing is downsampled; set downsample above 1, or remove it"
            )
        if family.reads == "trees" and (self.downsample != 1 or self.parallel_branch == "fcn"):
            name = "downsample" if self.downsample != 1 else "parallel_branch"
            raise ValueError(f"{name}: the nodes of a tree are no series of steps; remove it")

    @classmethod
    def from_json(cls, section: Mapping[str, Any]) -> "ModelConfig":
        """Build the config from its JSON section, whose lists become tuples."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in section.items()
        }
        return cls(**values)

    @property
    def stride(self) -> int:
        """The factor of `downsample`, which is no longer `auto` when a network is built."""
        assert self.downsample != "auto"  # noqa: S101 - resolved by the training rows
        return self.downsample

    @property
    def recurrent_part(self) -> "ModelConfig":
        """The same network without a branch that is fitted in closed form."""
        return self if self.parallel_branch == "fcn" else replace(self, parallel_branch="none")

    @property
    def poolings(self) -> tuple[PoolingName, ...]:
        """The poolings, one or several."""
        return (self.pooling,) if isinstance(self.pooling, str) else tuple(self.pooling)
