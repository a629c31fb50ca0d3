"""The network: recurrent layers, a pooling, a linear head.

Shapes: B sequences, T steps, C channels, H units, O outputs.
"""

import torch
from torch import Tensor, nn

from models.networks import ModelConfig
from models.networks.pooling import pooling
from models.networks.rnn import Layer


class Network(nn.Module):
    """Padded sequences in, one row of outputs each out."""

    def __init__(self, config: ModelConfig, *, channels: int, outputs: int) -> None:
        super().__init__()
        width = config.hidden * (2 if config.bidirectional else 1)
        self.layers = nn.ModuleList(
            Layer(
                config.cell,
                inputs=channels if depth == 0 else width,
                hidden=config.hidden,
                bidirectional=config.bidirectional,
            )
            for depth in range(config.layers)
        )
        self.pooling = pooling(config.pooling, width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, values_BTC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return [B, O]: a logit a class, or one scaled number."""
        hidden_BTH = self.layers[0](values_BTC, lengths_B)
        for layer in self.layers[1:]:
            hidden_BTH = layer(self.dropout(hidden_BTH), lengths_B)
        pooled_BH = self.pooling(hidden_BTH, lengths_B)
        outputs_BO: Tensor = self.head(self.dropout(pooled_BH))
        return outputs_BO


def build(config: ModelConfig, *, channels: int, outputs: int, seed: int) -> Network:
    """Make a network whose first weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(config, channels=channels, outputs=outputs)


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that are learned."""
    return sum(parameter.numel() for parameter in network.parameters())
