"""Elman, LSTM and GRU layers over padded batches, right for every length.

Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014, in torch's fused kernels. Padding
stands behind the sequence, where a forward reading never sees it; a backward reading starts at
each sequence's own end, by reversal within its length. Packing is not needed.

Shapes: B sequences, T steps, I inputs, H units, D directions.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def reverse_within(values_BTI: Tensor, lengths_B: Tensor) -> Tensor:
    """Reverse each sequence within its own length; padding stays where it is."""
    steps_T = torch.arange(values_BTI.shape[1], device=values_BTI.device)
    mirrored_BT = lengths_B[:, None] - 1 - steps_T
    index_BT = torch.where(mirrored_BT >= 0, mirrored_BT, steps_T)
    return values_BTI.gather(1, index_BT[:, :, None].expand_as(values_BTI))


class Layer(nn.Module):
    """One recurrent layer, forwards or both ways."""

    def __init__(self, cell: str, *, inputs: int, hidden: int, bidirectional: bool) -> None:
        super().__init__()
        self.forwards = CELLS[cell](inputs, hidden, batch_first=True)
        self.backwards = CELLS[cell](inputs, hidden, batch_first=True) if bidirectional else None

    def forward(self, values_BTI: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the outputs at every step, [B, T, D * H]; those of padding mean nothing."""
        ahead_BTH: Tensor = self.forwards(values_BTI)[0]
        if self.backwards is None:
            return ahead_BTH
        back_BTH = self.backwards(reverse_within(values_BTI, lengths_B))[0]
        return torch.cat([ahead_BTH, reverse_within(back_BTH, lengths_B)], dim=2)
