"""From sequences to outputs: cells, poolings, heads, and the network that combines them."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The network's parts and sizes."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    cell: Literal["rnn", "lstm", "gru", "tree-lstm"] = "gru"
    """`rnn`: Elman's, with tanh. `lstm`: Hochreiter and Schmidhuber's. `gru`: Cho's.
    `tree-lstm`: Tai's, which reads trees from their leaves up."""
    hidden: int = 128
    """Units in each layer and direction."""
    layers: int = 1
    """Recurrent layers on top of each other."""
    embedding: int = 128
    """Numbers in the vector that is learned for each token, where the input is text or trees."""
    bidirectional: bool = False
    """Read each sequence from both ends."""
    pooling: Literal["last", "mean", "max", "attention"] = "last"
    """How the steps become one vector: the last step, their mean or maximum, or a learned mean."""
    dropout: float = 0.0
    """Share of units that are silenced between layers and before the head, in training."""

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        for name, size in (
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("embedding", self.embedding),
        ):
            if size < 1:
                raise ValueError(f"{name}: {size} is too small; give at least 1")
        if self.cell == "tree-lstm" and self.bidirectional:
            raise ValueError("bidirectional: a tree-lstm reads upwards only; remove it")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout} is not between 0 and 1")
