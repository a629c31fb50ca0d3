"""Text written symbol by symbol, each with a look at the whole input (Luong et al. 2015).

The decoder's states come first, for all symbols at once in training; each then looks at the
encoder's steps (global attention, general score), and what it sees joins it. Nothing that was seen
goes back into the decoder ("input feeding"), which is what lets all symbols be learned together.

Shapes: N steps of all sequences, B sequences, T steps of the longest, U units of a step, P numbers
of the pooling, H units of the decoder, V symbols, M symbols of all answers, L of the longest and
one for its end, K texts that are weighed against each other.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cells.gru import Gru
from models.networks.heads.config import HeadConfig
from models.networks.heads.ctc import NOTHING
from models.networks.heads.face import Answers, Encoded, Head
from models.networks.jagged import Offsets


class Memory(NamedTuple):
    """The input's steps, side by side."""

    steps_BTU: Tensor
    valid_BT: Tensor

    def of(self, rows: Tensor) -> "Memory":
        """Take these sequences, with repetition."""
        return Memory(self.steps_BTU[rows], self.valid_BT[rows])


class Size(NamedTuple):
    """Sizes of the parts."""

    units: int
    pooled: int
    hidden: int
    symbols: int
    longest: int


class AttentionHead(Head):
    """A gated decoder over the symbols, with attention."""

    def __init__(self, size: Size, *, dropout: float, config: HeadConfig) -> None:
        super().__init__()
        self.config, self.size = config, size
        self.end, self.begin = size.symbols, size.symbols + 1
        self.embedding = nn.Embedding(size.symbols + 2, size.hidden)
        self.start = nn.Linear(size.pooled, size.hidden)
        self.cell = Gru(size.hidden, size.hidden)
        self.ask = nn.Linear(size.hidden, size.units, bias=False)
        self.join = nn.Linear(size.hidden + size.units, size.hidden)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(size.hidden, size.symbols + 1)

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean cross-entropy of a symbol, the end of each text included.

        Symbols that training never showed, which are 0, teach nothing.
        """
        texts = Offsets.of(answers.lengths + 1, encoded.offsets.device)
        inputs_M = torch.full((texts.total,), self.begin, device=texts.device)
        goals_M = torch.full((texts.total,), self.end, device=texts.device)
        symbols = answers.values_M.long()
        inputs_M[texts.step_N > 0] = symbols
        goals_M[texts.step_N < texts.spread(texts.lengths_B) - 1] = symbols
        begun_BH = torch.tanh(self.start(encoded.pooled_BP))
        states_MH = self.cell.outputs(self.dropout(self.embedding(inputs_M)), texts, (begun_BH,))
        states_BLH = texts.grid(states_MH).transpose(0, 1)
        seen_BLU = self.look(states_BLH, memory_of(encoded))
        seen_MU = texts.flat(seen_BLU.transpose(0, 1))
        return functional.cross_entropy(
            self.judge(states_MH, seen_MU).float(),
            goals_M,
            ignore_index=0,
            label_smoothing=self.config.label_smoothing,
        )

    def look(self, states_BLH: Tensor, memory: Memory) -> Tensor:
        """Return what each state sees of its sequence's steps, [B, L, U]."""
        return self.weights(states_BLH, memory) @ memory.steps_BTU

    def weights(self, states_BLH: Tensor, memory: Memory) -> Tensor:
        """Return how much each state looks at each step, [B, L, T]."""
        asked_BLU = self.ask(states_BLH)
        scores_BLT = (asked_BLU @ memory.steps_BTU.transpose(1, 2)).float()
        scores_BLT = scores_BLT.masked_fill(~memory.valid_BT[:, None], -torch.inf)
        return torch.softmax(scores_BLT, dim=2).to(memory.steps_BTU.dtype)

    def judge(self, states_MH: Tensor, seen_MU: Tensor) -> Tensor:
        """Return a logit for each symbol and the end, [M, V + 1]."""
        joined_MH = torch.tanh(self.join(torch.cat([states_MH, seen_MU], dim=1)))
        logits_MV: Tensor = self.scores(self.dropout(joined_MH))
        return logits_MV

    def forward(self, encoded: Encoded) -> Tensor:
        """Write a text for each sequence, by beam search.

        Returns:
            [B, 1 + L]: how sure it is, as a logarithm a symbol, then the symbols.
        """
        rows, beam = len(encoded.pooled_BP), self.config.beam_size
        owner_K = torch.arange(rows, device=encoded.pooled_BP.device).repeat_interleave(beam)
        memory = memory_of(encoded).of(owner_K)
        state_KH = torch.tanh(self.start(encoded.pooled_BP))[owner_K]
        found = Beams.begin(rows, beam, state_KH.device)
        last_K = torch.full((rows * beam,), self.begin, device=state_KH.device)
        for _ in range(self.size.longest + self.size.longest // 4 + 4):
            _, (state_KH,) = self.cell.step(self.embedding(last_K), (state_KH,))
            seen_KU = self.look(state_KH[:, None], memory)[:, 0]
            chances_KV = functional.log_softmax(self.judge(state_KH, seen_KU).float(), dim=1)
            found, from_K = found.grown(chances_KV, self.end)
            state_KH, last_K = state_KH[from_K], found.symbols_KL[:, -1]
            if bool(found.over_K.all()):
                break
        return found.best(self.end)


class Beams(NamedTuple):
    """The texts that are weighed, K = rows x beam of them, a row's together."""

    rows: int
    symbols_KL: Tensor
    score_K: Tensor
    """Logarithm of the chance of each so far."""
    over_K: Tensor

    @classmethod
    def begin(cls, rows: int, beam: int, device: torch.device) -> "Beams":
        """Begin with one empty text a row; the others of its beam stand no chance."""
        score_K = torch.full((rows, beam), -torch.inf, device=device)
        score_K[:, 0] = 0.0
        empty_KL = torch.empty(rows * beam, 0, dtype=torch.long, device=device)
        over_K = torch.zeros(rows * beam, dtype=torch.bool, device=device)
        return cls(rows, empty_KL, score_K.flatten(), over_K)

    def grown(self, chances_KV: Tensor, end: int) -> tuple["Beams", Tensor]:
        """Add the likeliest symbols; a text that is over stays as it is.

        Returns:
            the texts, and which of the texts before each goes on.
        """
        symbols, beam = chances_KV.shape[1], len(self.score_K) // self.rows
        stay_V = torch.full((symbols,), -torch.inf, device=chances_KV.device)
        stay_V[end] = 0.0
        chances_KV = torch.where(self.over_K[:, None], stay_V, chances_KV)
        total_BX = (self.score_K[:, None] + chances_KV).view(self.rows, -1)
        score_BK, place_BK = total_BX.topk(beam, dim=1)
        first_B1 = torch.arange(self.rows, device=place_BK.device)[:, None] * beam
        from_K = (first_B1 + place_BK // symbols).flatten()
        added_K = (place_BK % symbols).flatten()
        symbols_KL = torch.cat([self.symbols_KL[from_K], added_K[:, None]], dim=1)
        over_K = self.over_K[from_K] | (added_K == end)
        return Beams(self.rows, symbols_KL, score_BK.flatten(), over_K), from_K

    def best(self, end: int) -> Tensor:
        """Choose of each row the text whose symbols are likeliest in the mean."""
        lengths_K = (self.symbols_KL != end).sum(dim=1) + self.over_K
        sure_BK = (self.score_K / lengths_K).view(self.rows, -1)
        best_B = sure_BK.argmax(dim=1)
        chosen_B = torch.arange(self.rows, device=best_B.device) * sure_BK.shape[1] + best_B
        symbols_BL = self.symbols_KL[chosen_B].float()
        symbols_BL = symbols_BL.masked_fill(symbols_BL == end, NOTHING)
        return torch.cat([sure_BK.gather(1, best_B[:, None]), symbols_BL], dim=1)


def memory_of(encoded: Encoded) -> Memory:
    """Stand the steps side by side."""
    offsets = encoded.offsets
    steps_BTU = offsets.grid(encoded.steps_NH).transpose(0, 1)
    return Memory(steps_BTU, offsets.valid_TB.T)
