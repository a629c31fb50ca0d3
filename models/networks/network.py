"""The network: a front for its kind of steps, recurrent layers, a pooling, a linear head.

Shapes: B sequences, T steps, C channels, H units, O outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.features import SequenceInput
from models.features.image import ImageInput
from models.features.signal import Pixels, Signal, Tokens, Trees
from models.features.statics import StaticState
from models.networks import ModelConfig
from models.networks.front import PlainFront, SideFront, Statics, TokenFront
from models.networks.pixels import PixelFront
from models.networks.pooling import pooling
from models.networks.rnn import Layer
from models.networks.tree import TreeLayer

NO_STATICS = StaticState(values={}, means={}, spreads={})


class Face(NamedTuple):
    """What a network has to fit: its input's steps, what stands beside them, its outputs."""

    signal: Signal
    input: SequenceInput | None = None
    statics: StaticState = NO_STATICS
    outputs: int = 1


class Network(nn.Module):
    """Padded sequences in, one row of outputs each out."""

    def __init__(self, config: ModelConfig, face: Face, *, fresh: bool = False) -> None:
        """Make the parts.

        Args:
            config: names and sizes of the parts.
            face: what they have to fit.
            fresh: begin with pretrained weights where the input asks for them.
        """
        super().__init__()
        width = config.hidden * (2 if config.bidirectional else 1)
        self.front: Front = make_front(config, face, fresh=fresh)
        self.side = SideFront(face.statics)
        channels = self.front.channels
        self.layers = nn.ModuleList(
            make_layer(config, inputs=channels if depth == 0 else width)
            for depth in range(config.layers)
        )
        self.pooling = pooling(config.pooling, width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width + self.side.channels, face.outputs)

    def forward(
        self, values_BTC: Tensor, lengths_B: Tensor, statics: Statics | None = None
    ) -> Tensor:
        """Return [B, O]: a logit a class, or one scaled number."""
        steps_BTC, lengths_B = self.front(values_BTC, lengths_B)
        hidden_BTH = steps_BTC
        for depth, layer in enumerate(self.layers):
            inputs_BTI = self.dropout(hidden_BTH) if depth or self.learns_vectors else hidden_BTH
            if isinstance(layer, TreeLayer):
                hidden_BTH = layer(inputs_BTI, values_BTC, lengths_B)
            else:
                hidden_BTH = layer(inputs_BTI, lengths_B)
        pooled_BH = self.pooling(hidden_BTH, lengths_B)
        if statics is not None and self.side.channels:
            pooled_BH = torch.cat([pooled_BH, self.side(statics)], dim=1)
        outputs_BO: Tensor = self.head(self.dropout(pooled_BH))
        return outputs_BO

    @property
    def learns_vectors(self) -> bool:
        """Whether the first layer reads vectors of ids, which are silenced like units."""
        return isinstance(self.front, TokenFront)


Front = PlainFront | TokenFront | PixelFront


def make_front(config: ModelConfig, face: Face, *, fresh: bool) -> Front:
    """Make the front that reads these steps."""
    if isinstance(face.signal, (Tokens, Trees)):
        return TokenFront(face.signal, config.embedding)
    if isinstance(face.signal, Pixels):
        assert isinstance(face.input, ImageInput)  # noqa: S101 - pixels come from images
        return PixelFront(face.signal, face.input, pretrained=fresh)
    return PlainFront(face.signal.channels)


def make_layer(config: ModelConfig, *, inputs: int) -> nn.Module:
    """Make one layer of the cell."""
    if config.cell == "tree-lstm":
        return TreeLayer(inputs=inputs, hidden=config.hidden)
    return Layer(
        config.cell, inputs=inputs, hidden=config.hidden, bidirectional=config.bidirectional
    )


def build(config: ModelConfig, face: Face, *, seed: int) -> Network:
    """Make a network whose first weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(config, face, fresh=True)


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that are learned."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
