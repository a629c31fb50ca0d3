"""Head for text, symbol by symbol, with attention to the whole input (Luong et al. 2015).

The decoder's states are computed first, for all symbols at once in training. Each state then
attends to the encoder's steps (global attention, general score) and is combined with its context.
The context is not fed back into the decoder ("input feeding"), so that all symbols can be trained
at once.

Shapes: N steps of all sequences, B sequences, T steps of the longest, U units of a step, P numbers
of the pooling, H units of the decoder, V symbols, M symbols of all targets, L of the longest and
one for its end, K texts of the beam search.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cells.gru import Gru
from models.networks.heads.base import Encoded, Head, Targets
from models.networks.heads.config import HeadConfig
from models.networks.heads.ctc import TEXT_PADDING
from models.networks.jagged import Offsets


class EncodedSteps(NamedTuple):
    """The encoder's steps as a padded grid."""

    steps_BTU: Tensor
    valid_BT: Tensor

    def select(self, rows: Tensor) -> "EncodedSteps":
        """Select these sequences, with repetition."""
        return EncodedSteps(self.steps_BTU[rows], self.valid_BT[rows])


class DecoderSizes(NamedTuple):
    """Sizes of the parts."""

    units: int
    pooled: int
    hidden: int
    num_symbols: int
    max_length: int


class AttentionHead(Head):
    """A GRU decoder over the symbols, with attention."""

    def __init__(self, size: DecoderSizes, *, dropout: float, config: HeadConfig) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.end, self.begin = size.num_symbols, size.num_symbols + 1
        self.embedding = nn.Embedding(size.num_symbols + 2, size.hidden)
        self.start = nn.Linear(size.pooled, size.hidden)
        self.cell = Gru(size.hidden, size.hidden)
        self.ask = nn.Linear(size.hidden, size.units, bias=False)
        self.join = nn.Linear(size.hidden + size.units, size.hidden)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(size.hidden, size.num_symbols + 1)

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean cross-entropy of a symbol, the end of each text included.

        Symbols outside the vocabulary, whose code is 0, give no gradient.
        """
        texts = Offsets.from_lengths(targets.lengths + 1, encoded.offsets.device)
        inputs_M = torch.full((texts.num_steps,), self.begin, device=texts.device)
        targets_M = torch.full((texts.num_steps,), self.end, device=texts.device)
        symbols = targets.values_M.long()
        inputs_M[texts.step_N > 0] = symbols
        targets_M[texts.step_N < texts.repeat_per_step(texts.lengths_B) - 1] = symbols
        initial_BH = torch.tanh(self.start(encoded.pooled_BP))
        states_MH = self.cell.outputs(self.dropout(self.embedding(inputs_M)), texts, (initial_BH,))
        states_BLH = texts.to_grid(states_MH).transpose(0, 1)
        context_BLU = self.attend(states_BLH, collect_steps(encoded))
        context_MU = texts.from_grid(context_BLU.transpose(0, 1))
        return functional.cross_entropy(
            self.compute_logits(states_MH, context_MU).float(),
            targets_M,
            ignore_index=0,
            label_smoothing=self.config.label_smoothing,
        )

    def attend(self, states_BLH: Tensor, memory: EncodedSteps) -> Tensor:
        """Return each state's context: its sequence's steps, weighted, [B, L, U]."""
        return self.compute_weights(states_BLH, memory) @ memory.steps_BTU

    def compute_weights(self, states_BLH: Tensor, memory: EncodedSteps) -> Tensor:
        """Return the attention weights of each state over the steps, [B, L, T]."""
        query_BLU = self.ask(states_BLH)
        scores_BLT = (query_BLU @ memory.steps_BTU.transpose(1, 2)).float()
        scores_BLT = scores_BLT.masked_fill(~memory.valid_BT[:, None], -torch.inf)
        return torch.softmax(scores_BLT, dim=2).to(memory.steps_BTU.dtype)

    def compute_logits(self, states_MH: Tensor, context_MU: Tensor) -> Tensor:
        """Return a logit for each symbol and the end, [M, V + 1]."""
        joined_MH = torch.tanh(self.join(torch.cat([states_MH, context_MU], dim=1)))
        logits_MV: Tensor = self.scores(self.dropout(joined_MH))
        return logits_MV

    def forward(self, encoded: Encoded) -> Tensor:
        """Decode a text for each sequence, by beam search.

        Returns:
            [B, 1 + L]: log probability per symbol, then the symbols.
        """
        rows, beam = len(encoded.pooled_BP), self.config.beam_size
        owner_K = torch.arange(rows, device=encoded.pooled_BP.device).repeat_interleave(beam)
        memory = collect_steps(encoded).select(owner_K)
        state_KH = torch.tanh(self.start(encoded.pooled_BP))[owner_K]
        beams = _Beams.begin(rows, beam, state_KH.device)
        last_K = torch.full((rows * beam,), self.begin, device=state_KH.device)
        for _ in range(self.size.max_length + self.size.max_length // 4 + 4):
            _, (state_KH,) = self.cell.step(self.embedding(last_K), (state_KH,))
            context_KU = self.attend(state_KH[:, None], memory)[:, 0]
            log_probs_KV = functional.log_softmax(
                self.compute_logits(state_KH, context_KU).float(), dim=1
            )
            beams, from_K = beams.extend(log_probs_KV, self.end)
            state_KH, last_K = state_KH[from_K], beams.symbols_KL[:, -1]
            if bool(beams.finished_K.all()):
                break
        return beams.select_best(self.end)


def collect_steps(encoded: Encoded) -> EncodedSteps:
    """Return the encoder's steps as a padded grid."""
    offsets = encoded.offsets
    steps_BTU = offsets.to_grid(encoded.steps_NH).transpose(0, 1)
    return EncodedSteps(steps_BTU, offsets.valid_TB.T)


class _Beams(NamedTuple):
    """The candidate texts, K = rows x beam of them, a row's together."""

    rows: int
    symbols_KL: Tensor
    score_K: Tensor
    """Log probability of each text so far."""
    finished_K: Tensor

    @classmethod
    def begin(cls, rows: int, beam: int, device: torch.device) -> "_Beams":
        """Begin with one empty text a row; the others of its beam have probability 0."""
        score_K = torch.full((rows, beam), -torch.inf, device=device)
        score_K[:, 0] = 0.0
        empty_KL = torch.empty(rows * beam, 0, dtype=torch.long, device=device)
        finished_K = torch.zeros(rows * beam, dtype=torch.bool, device=device)
        return cls(rows, empty_KL, score_K.flatten(), finished_K)

    def extend(self, log_probs_KV: Tensor, end: int) -> tuple["_Beams", Tensor]:
        """Add the most probable symbols; a finished text is not changed.

        Returns:
            the new texts, and for each the index of the text that it extends.
        """
        symbols, beam = log_probs_KV.shape[1], len(self.score_K) // self.rows
        stay_V = torch.full((symbols,), -torch.inf, device=log_probs_KV.device)
        stay_V[end] = 0.0
        log_probs_KV = torch.where(self.finished_K[:, None], stay_V, log_probs_KV)
        total_BX = (self.score_K[:, None] + log_probs_KV).view(self.rows, -1)
        score_BK, index_BK = total_BX.topk(beam, dim=1)
        first_B1 = torch.arange(self.rows, device=index_BK.device)[:, None] * beam
        from_K = (first_B1 + index_BK // symbols).flatten()
        added_K = (index_BK % symbols).flatten()
        symbols_KL = torch.cat([self.symbols_KL[from_K], added_K[:, None]], dim=1)
        finished_K = self.finished_K[from_K] | (added_K == end)
        return _Beams(self.rows, symbols_KL, score_BK.flatten(), finished_K), from_K

    def select_best(self, end: int) -> Tensor:
        """Return the text of each row with the highest mean log probability per symbol."""
        lengths_K = (self.symbols_KL != end).sum(dim=1) + self.finished_K
        score_BK = (self.score_K / lengths_K).view(self.rows, -1)
        best_B = score_BK.argmax(dim=1)
        chosen_B = torch.arange(self.rows, device=best_B.device) * score_BK.shape[1] + best_B
        symbols_BL = self.symbols_KL[chosen_B].float()
        symbols_BL = symbols_BL.masked_fill(symbols_BL == end, TEXT_PADDING)
        return torch.cat([score_BK.gather(1, best_B[:, None]), symbols_BL], dim=1)
