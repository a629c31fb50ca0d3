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
"""Fills a row of symbols after the end of its text."""


class CtcHead(Head):
    """A logit for each symbol at each step; the last one is the blank."""

    def __init__(self, units: int, symbols: int) -> None:
        super().__init__()
        self.blank = symbols
        self.scores = nn.Linear(units, symbols + 1)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, 1 + L]: log probability per step, then the symbols."""
        log_probs_NV = functional.log_softmax(self.scores(encoded.steps_NH).float(), dim=1)
        best_N, symbol_N = log_probs_NV.max(dim=1)
        offsets = encoded.offsets
        confidence_B = torch.zeros(len(offsets), device=best_N.device)
        confidence_B = confidence_B.index_add(0, offsets.sequence_N, best_N) / offsets.lengths_B
        before_N = offsets.shift(symbol_N.float() + 1, 1) - 1
        valid_N = (symbol_N != self.blank) & (symbol_N != before_N)
        return torch.cat([confidence_B[:, None], _pack_symbols(symbol_N, valid_N, offsets)], dim=1)

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean over the sequences of the loss a symbol.

        A target that is longer than its sequence cannot be written and gives no gradient. Symbols
        that are not in the vocabulary are ignored.
        """
        offsets, targets = encoded.offsets, _drop_unknown_symbols(targets)
        log_probs_NV = functional.log_softmax(self.scores(encoded.steps_NH).float(), dim=1)
        losses_B = functional.ctc_loss(
            offsets.to_grid(log_probs_NV),
            targets.values_M.long(),
            offsets.lengths_B,
            torch.from_numpy(targets.lengths).to(log_probs_NV.device),
            blank=self.blank,
            reduction="none",
            zero_infinity=True,
        )
        sizes = torch.from_numpy(np.maximum(targets.lengths, 1)).to(losses_B)
        return (losses_B / sizes).mean()


def count_min_steps(targets: Targets) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the steps that each target needs: its symbols, and one between equal neighbors."""
    values_M, owners_M = targets.values_M.cpu().numpy(), targets.sequence_M.cpu().numpy()
    repeated_M = (values_M[1:] == values_M[:-1]) & (owners_M[1:] == owners_M[:-1])
    repeats = np.bincount(owners_M[1:][repeated_M], minlength=len(targets.lengths))
    return np.asarray(targets.lengths + repeats, np.int64)


def _drop_unknown_symbols(targets: Targets) -> Targets:
    """Drop the symbols outside the vocabulary, whose code is 0."""
    known_M = targets.values_M > 0
    if bool(known_M.all()):
        return targets
    owners = targets.sequence_M[known_M].cpu().numpy()
    return Targets(targets.values_M[known_M], np.bincount(owners, minlength=len(targets.lengths)))


def _pack_symbols(symbol_N: Tensor, valid_N: Tensor, offsets: Offsets) -> Tensor:
    """Return the valid symbols of each sequence, without the others, [B, L]."""
    count_N = valid_N.long().cumsum(0)
    before_B = count_N[offsets.first_B] - valid_N.long()[offsets.first_B]
    position_N = count_N - 1 - before_B[offsets.sequence_N]
    longest = int((position_N[valid_N].max() + 1).item()) if bool(valid_N.any()) else 0
    texts_BL = torch.full((len(offsets), longest), TEXT_PADDING, device=symbol_N.device)
    texts_BL[offsets.sequence_N[valid_N], position_N[valid_N]] = symbol_N[valid_N].float()
    return texts_BL
