"""From the outputs at every step to one vector a sequence, blind to padding.

Shapes: B sequences, T steps, H units.
"""

import torch
from torch import Tensor, nn


def valid_steps(lengths_B: Tensor, steps: int) -> Tensor:
    """Mark the steps that belong to each sequence, [B, T]."""
    return torch.arange(steps, device=lengths_B.device) < lengths_B[:, None]


class Last(nn.Module):
    """The output at each sequence's own last step."""

    def forward(self, outputs_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        """Return [B, H]."""
        index_B1H = (lengths_B - 1)[:, None, None].expand(-1, 1, outputs_BTH.shape[2])
        return outputs_BTH.gather(1, index_B1H)[:, 0]


class Mean(nn.Module):
    """The mean over each sequence's steps."""

    def forward(self, outputs_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        """Return [B, H]."""
        valid_BT = valid_steps(lengths_B, outputs_BTH.shape[1])
        total_BH = outputs_BTH.masked_fill(~valid_BT[:, :, None], 0.0).sum(dim=1)
        return total_BH / lengths_B[:, None]


class Max(nn.Module):
    """The maximum over each sequence's steps."""

    def forward(self, outputs_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        """Return [B, H]."""
        valid_BT = valid_steps(lengths_B, outputs_BTH.shape[1])
        return outputs_BTH.masked_fill(~valid_BT[:, :, None], float("-inf")).amax(dim=1)


class Attention(nn.Module):
    """A mean weighted by a learned score of each step (additive attention, Bahdanau 2015)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, outputs_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        """Return [B, H]."""
        valid_BT = valid_steps(lengths_B, outputs_BTH.shape[1])
        score_BT = self.score(torch.tanh(self.project(outputs_BTH)))[:, :, 0]
        weight_BT = score_BT.masked_fill(~valid_BT, float("-inf")).softmax(dim=1)
        known_BTH = outputs_BTH.masked_fill(~valid_BT[:, :, None], 0.0)
        return torch.einsum("bt,bth->bh", weight_BT, known_BTH)


def pooling(name: str, hidden: int) -> nn.Module:
    """Make the pooling of that name."""
    plain: dict[str, type[nn.Module]] = {"last": Last, "mean": Mean, "max": Max}
    return plain[name]() if name in plain else Attention(hidden)
