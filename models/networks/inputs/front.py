"""The front of a network: from the steps as they are stored to steps that a cell can read.

Shapes: N steps of all sequences, B sequences, C channels, V ids, D numbers of a vector, K
categories, F numbers.
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.features.feature_spec import Tokens, Trees
from models.features.static_covariates import StaticState
from models.networks.jagged import Offsets


class Statics(NamedTuple):
    """What stands beside each sequence of a batch."""

    codes_BK: Tensor
    numbers_BF: Tensor


class PlainFront(nn.Module):
    """Channels are read as they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the same steps."""
        return values_NC, offsets


COMMON = 100
"""Ids of which each is met often."""


def spread_of(ids: int) -> float:
    """Tell how far the numbers of so many ids' vectors spread before they are learned.

    The more there are, the rarer each is, and a vector that hardly moves from where it began
    should not outweigh the others: with words a loss is lower by a sixth for it. Letters are met
    often, and are told apart the better the longer their vectors are.
    """
    return min(1.0, sqrt(COMMON / ids))


class TokenFront(nn.Module):
    """Each id has a vector, learned, or taken from elsewhere."""

    def __init__(self, signal: Tokens | Trees, size: int) -> None:
        super().__init__()
        vectors = signal.vectors_VD
        self.channels = size if vectors is None else vectors.shape[1]
        self.embedding = nn.Embedding(signal.size, self.channels)
        nn.init.normal_(self.embedding.weight, std=spread_of(signal.size))
        if vectors is not None:
            known = torch.from_numpy(vectors)
            with torch.no_grad():
                # Ids without a vector begin as noise, as the others would.
                blank = ~known.any(dim=1, keepdim=True)
                start = torch.where(blank, self.embedding.weight, known)
                self.embedding.weight.copy_(start)
        self.embedding.weight.requires_grad_(not signal.frozen)

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the vectors of the ids, which stand in the first channel."""
        vectors_ND: Tensor = self.embedding(values_NC[:, 0])
        return vectors_ND, offsets


class SideFront(nn.Module):
    """The static inputs as one vector: categories embedded, numbers as they are."""

    def __init__(self, state: StaticState) -> None:
        super().__init__()
        sizes, numbers = state.sizes, state.channels
        widths = [min(50, (size + 1) // 2) for size in sizes]
        self.channels = sum(widths) + numbers
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, width) for size, width in zip(sizes, widths, strict=True)
        )

    def forward(self, statics: Statics) -> Tensor:
        """Return [B, channels]."""
        parts = [
            embedding(statics.codes_BK[:, place]) for place, embedding in enumerate(self.embeddings)
        ]
        return torch.cat([*parts, statics.numbers_BF], dim=1)
