"""From the outputs at every step to one vector a sequence.

Shapes: N steps of all sequences, B sequences, T steps of the longest, H units, A attention heads.
"""

import torch
from torch import Tensor, nn

from models.networks.jagged import Offsets


class ConcatPooling(nn.Module):
    """Several poolings, concatenated."""

    def __init__(self, names: tuple[str, ...], hidden: int, *, heads: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_build_pooling(name, hidden, heads=heads) for name in names)
        self.channels = len(names) * hidden

    def forward(self, outputs_NH: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, poolings * H]."""
        return torch.cat([part(outputs_NH, offsets) for part in self.parts], dim=1)


class _LastPooling(nn.Module):
    """The output at each sequence's own last step."""

    def forward(self, outputs_NH: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, H]."""
        return outputs_NH.index_select(0, offsets.last_B)


class _MeanPooling(nn.Module):
    """The mean over each sequence's steps."""

    def forward(self, outputs_NH: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, H]."""
        return offsets.to_grid(outputs_NH).sum(dim=0) / offsets.lengths_B[:, None]


class _MaxPooling(nn.Module):
    """The maximum over each sequence's steps."""

    def forward(self, outputs_NH: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, H]."""
        return offsets.to_grid(outputs_NH, fill=float("-inf")).amax(dim=0)


def _pool_by_score(outputs_NAH: Tensor, score_NA: Tensor, offsets: Offsets) -> Tensor:
    """Average over each sequence's steps, weighted by the softmax of their scores, [B, A, H]."""
    weight_TBA = offsets.to_grid(score_NA.float(), fill=float("-inf")).softmax(dim=0)
    weight_NA = offsets.from_grid(weight_TBA).to(outputs_NAH.dtype)
    return offsets.to_grid(weight_NA[:, :, None] * outputs_NAH).sum(dim=0)


class _AttentionPooling(nn.Module):
    """A mean weighted by a learned score of each step (additive attention, Bahdanau 2015)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, outputs_NH: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, H]."""
        score_N1 = self.score(torch.tanh(self.project(outputs_NH)))
        return _pool_by_score(outputs_NH[:, None], score_N1, offsets)[:, 0]


class _MultiHeadPooling(nn.Module):
    """Several learned queries, each over a share of the units (Vaswani et al. 2017)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.keys = nn.Linear(hidden, hidden)
        self.values = nn.Linear(hidden, hidden)
        self.question_AD = nn.Parameter(torch.randn(heads, hidden // heads))
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, outputs_NH: Tensor, offsets: Offsets) -> Tensor:
        """Return [B, H]."""
        keys_NAD = self.keys(outputs_NH).unflatten(1, (self.heads, -1))
        values_NAD = self.values(outputs_NH).unflatten(1, (self.heads, -1))
        width = self.question_AD.shape[1]
        score_NA = (keys_NAD * self.question_AD).sum(dim=2) / width**0.5
        mixed_BH: Tensor = self.mix(_pool_by_score(values_NAD, score_NA, offsets).flatten(1))
        return mixed_BH


def _build_pooling(name: str, hidden: int, *, heads: int) -> nn.Module:
    """Build the pooling of this name."""
    if name == "attention":
        return _AttentionPooling(hidden)
    if name == "multi-head":
        return _MultiHeadPooling(hidden, heads)
    poolings: dict[str, type[nn.Module]] = {
        "last": _LastPooling,
        "mean": _MeanPooling,
        "max": _MaxPooling,
    }
    return poolings[name]()
