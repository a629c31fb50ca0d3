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

COMMON_IDS = 100
"""Up to so many ids, each occurs often."""


class StaticBatch(NamedTuple):
    """The static covariates of a batch: codes [B, K] and numbers [B, F]."""

    codes_BK: Tensor
    numbers_BF: Tensor


class IdentityFront(nn.Module):
    """Returns the channels unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the same steps."""
        return values_NC, offsets


class TokenFront(nn.Module):
    """An embedding for each id: learned, pretrained, or both side by side.

    Frozen pretrained vectors say what a token means, of rare and new tokens too; the learned ones
    beside them say what it means for this target, and are all that is known of a token without a
    pretrained vector.
    """

    table_VD: Tensor

    def __init__(self, tokens: Tokens | Trees, size: int) -> None:
        super().__init__()
        vectors = tokens.vectors_VD
        pretrained = torch.zeros(0, 0) if vectors is None else torch.from_numpy(vectors)
        self.frozen = vectors is not None and tokens.frozen
        self.num_learned = (tokens.num_learned if self.frozen else 0) or tokens.size
        if not self.frozen and vectors is not None:
            size = pretrained.shape[1]
        self.embedding = nn.Embedding(self.num_learned, size)
        nn.init.normal_(self.embedding.weight, std=_compute_embedding_std(self.num_learned))
        # The featurizer has it too: the weights are saved without it, and networks share it.
        self.register_buffer(
            "table_VD", pretrained if self.frozen else torch.zeros(0, 0), persistent=False
        )
        self.channels = size + self.table_VD.shape[1]
        if vectors is not None and not self.frozen:
            with torch.no_grad():
                # Ids without a pretrained vector get a random one.
                is_missing = ~pretrained.any(dim=1, keepdim=True)
                start = torch.where(is_missing, self.embedding.weight, pretrained.float())
                self.embedding.weight.copy_(start)

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Offsets]:
        """Return the embeddings of the ids, which are in the first channel."""
        ids_N = values_NC[:, 0]
        if not self.frozen:
            return self.embedding(ids_N), offsets
        learned_NC = self.embedding(self.find_learned_ids(ids_N))
        frozen_NC = self.table_VD[ids_N.long()].to(learned_NC.dtype)
        return torch.cat([frozen_NC, learned_NC], dim=1), offsets

    def find_learned_ids(self, ids_N: Tensor) -> Tensor:
        """Return the ids of the learned embeddings: that of unknown tokens for those without."""
        return ids_N.where(ids_N < self.num_learned, 0)


class StaticFront(nn.Module):
    """The static covariates as one vector: categories embedded, numbers as they are."""

    def __init__(self, state: StaticState) -> None:
        super().__init__()
        sizes, numbers = state.sizes, state.channels
        widths = [min(50, (size + 1) // 2) for size in sizes]
        self.channels = sum(widths) + numbers
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, width) for size, width in zip(sizes, widths, strict=True)
        )

    def forward(self, statics: StaticBatch) -> Tensor:
        """Return [B, channels]."""
        parts = [
            embedding(statics.codes_BK[:, index]) for index, embedding in enumerate(self.embeddings)
        ]
        return torch.cat([*parts, statics.numbers_BF], dim=1)


def _compute_embedding_std(ids: int) -> float:
    """Return the initial standard deviation of the embeddings of so many ids.

    The more there are, the rarer each is, and a vector that hardly moves from where it began
    should not outweigh the others: with words the loss is lower by a sixth for it. Characters are
    frequent, and longer vectors distinguish them better.
    """
    return min(1.0, sqrt(COMMON_IDS / ids))
