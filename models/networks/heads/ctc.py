"""Text that is written while the input is read (CTC: Graves et al. 2006).

Shapes: N steps of all sequences, B sequences, T steps of the longest, H units, V symbols, L
symbols of the longest answer, M symbols of all answers.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.heads.face import Answers, Encoded, Head
from models.networks.jagged import Offsets

NOTHING = -1.0
"""What stands behind the end of a text."""


class CtcHead(Head):
    """A logit for each symbol at each step, and one for writing nothing, the last."""

    def __init__(self, units: int, symbols: int) -> None:
        super().__init__()
        self.blank = symbols
        self.scores = nn.Linear(units, symbols + 1)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, 1 + L]: how sure it is, as a logarithm a step, then the symbols."""
        chances_NV = functional.log_softmax(self.scores(encoded.steps_NH).float(), dim=1)
        best_N, symbol_N = chances_NV.max(dim=1)
        offsets = encoded.offsets
        sure_B = torch.zeros(len(offsets), device=best_N.device)
        sure_B = sure_B.index_add(0, offsets.owner_N, best_N) / offsets.lengths_B
        before_N = offsets.shifted(symbol_N.float() + 1, 1) - 1
        kept_N = (symbol_N != self.blank) & (symbol_N != before_N)
        return torch.cat([sure_B[:, None], packed(symbol_N, kept_N, offsets)], dim=1)

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean over the sequences of the loss a symbol.

        An answer that is longer than its sequence cannot be written, and teaches nothing; nor does
        a symbol that training never showed.
        """
        offsets, answers = encoded.offsets, known(answers)
        chances_NV = functional.log_softmax(self.scores(encoded.steps_NH).float(), dim=1)
        losses_B = functional.ctc_loss(
            offsets.grid(chances_NV),
            answers.values_M.long(),
            offsets.lengths_B,
            torch.from_numpy(answers.lengths).to(chances_NV.device),
            blank=self.blank,
            reduction="none",
            zero_infinity=True,
        )
        sizes = torch.from_numpy(np.maximum(answers.lengths, 1)).to(losses_B)
        return (losses_B / sizes).mean()


def known(answers: Answers) -> Answers:
    """Leave out symbols that training never showed, which are 0."""
    kept_M = answers.values_M > 0
    if bool(kept_M.all()):
        return answers
    owners = answers.owner_M[kept_M].cpu().numpy()
    return Answers(answers.values_M[kept_M], np.bincount(owners, minlength=len(answers.lengths)))


def packed(symbol_N: Tensor, kept_N: Tensor, offsets: Offsets) -> Tensor:
    """Lay the symbols of each sequence that are kept side by side, [B, L]."""
    counted_N = kept_N.long().cumsum(0)
    before_B = counted_N[offsets.first_B] - kept_N.long()[offsets.first_B]
    place_N = counted_N - 1 - before_B[offsets.owner_N]
    longest = int((place_N[kept_N].max() + 1).item()) if bool(kept_N.any()) else 0
    room_BL = torch.full((len(offsets), longest), NOTHING, device=symbol_N.device)
    room_BL[offsets.owner_N[kept_N], place_N[kept_N]] = symbol_N[kept_N].float()
    return room_BL


def least_steps(answers: Answers) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count the steps that each answer takes: its symbols, and one between equal neighbours."""
    values_M, owners_M = answers.values_M.cpu().numpy(), answers.owner_M.cpu().numpy()
    twin_M = (values_M[1:] == values_M[:-1]) & (owners_M[1:] == owners_M[:-1])
    twins = np.bincount(owners_M[1:][twin_M], minlength=len(answers.lengths))
    return np.asarray(answers.lengths + twins, np.int64)
