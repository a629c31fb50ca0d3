"""Text that is written while the input is read (CTC: Graves et al. 2006).

Shapes: N steps of all sequences, B sequences, T steps of the longest, H units, V symbols, L
symbols of the longest text, M symbols of all targets.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.heads.base import Encoded, Head, Targets
from models.networks.jagged import Offsets

TEXT_PADDING = -1.0
"""Fills up a text behind its end."""


class CtcHead(Head):
    """A logit for each symbol at each step; the last one is the blank."""

    def __init__(self, units: int, symbols: int) -> None:
        super().__init__()
        self.blank = symbols
        self.scores = nn.Linear(units, symbols + 1)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, 1 + L]: log probability per step, then the symbols."""
        chances_NV = functional.log_softmax(self.scores(encoded.steps_NH).float(), dim=1)
        best_N, symbol_N = chances_NV.max(dim=1)
        offsets = encoded.offsets
        sure_B = torch.zeros(len(offsets), device=best_N.device)
        sure_B = sure_B.index_add(0, offsets.sequence_N, best_N) / offsets.lengths_B
        before_N = offsets.shift(symbol_N.float() + 1, 1) - 1
        kept_N = (symbol_N != self.blank) & (symbol_N != before_N)
        return torch.cat([sure_B[:, None], _pack_symbols(symbol_N, kept_N, offsets)], dim=1)

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean over the sequences of the loss a symbol.

        A target that is longer than its sequence cannot be written and gives no gradient; a symbol
        that is not in the vocabulary neither.
        """
        offsets, targets = encoded.offsets, _drop_unknown_symbols(targets)
        chances_NV = functional.log_softmax(self.scores(encoded.steps_NH).float(), dim=1)
        losses_B = functional.ctc_loss(
            offsets.to_grid(chances_NV),
            targets.values_M.long(),
            offsets.lengths_B,
            torch.from_numpy(targets.lengths).to(chances_NV.device),
            blank=self.blank,
            reduction="none",
            zero_infinity=True,
        )
        sizes = torch.from_numpy(np.maximum(targets.lengths, 1)).to(losses_B)
        return (losses_B / sizes).mean()


def _drop_unknown_symbols(targets: Targets) -> Targets:
    """Drop the symbols outside the vocabulary, whose code is 0."""
    kept_M = targets.values_M > 0
    if bool(kept_M.all()):
        return targets
    owners = targets.sequence_M[kept_M].cpu().numpy()
    return Targets(targets.values_M[kept_M], np.bincount(owners, minlength=len(targets.lengths)))


def _pack_symbols(symbol_N: Tensor, kept_N: Tensor, offsets: Offsets) -> Tensor:
    """Pack the valid symbols of each sequence to the left, [B, L]."""
    counted_N = kept_N.long().cumsum(0)
    before_B = counted_N[offsets.first_B] - kept_N.long()[offsets.first_B]
    place_N = counted_N - 1 - before_B[offsets.sequence_N]
    longest = int((place_N[kept_N].max() + 1).item()) if bool(kept_N.any()) else 0
    room_BL = torch.full((len(offsets), longest), TEXT_PADDING, device=symbol_N.device)
    room_BL[offsets.sequence_N[kept_N], place_N[kept_N]] = symbol_N[kept_N].float()
    return room_BL


def count_min_steps(targets: Targets) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count the steps that each target needs: its symbols, and one between equal neighbours."""
    values_M, owners_M = targets.values_M.cpu().numpy(), targets.sequence_M.cpu().numpy()
    twin_M = (values_M[1:] == values_M[:-1]) & (owners_M[1:] == owners_M[:-1])
    twins = np.bincount(owners_M[1:][twin_M], minlength=len(targets.lengths))
    return np.asarray(targets.lengths + twins, np.int64)
