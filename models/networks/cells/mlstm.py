"""mLSTM, the matrix half of xLSTM (Beck et al. 2024): keys, values, and a memory of their products.

q, k, v = W x, of each head; i, f a number a head; o a number a unit
m = max(log sigmoid(f) + m', i)                       keeps the exponentials small
C = exp(log sigmoid(f) + m' - m) C' + exp(i - m) k v^T / sqrt(D)
n = exp(log sigmoid(f) + m' - m) n' + exp(i - m) k / sqrt(D)
h = sigmoid(o) norm(C^T q / max(|n^T q|, exp(-m)))

where norm normalizes each head's units to mean 0 and std 1 and scales them. Over whole sequences
time is cut into chunks: within one, all steps see all earlier ones at once; from one to the next
only C, n and m are passed on, so that memory grows with the steps and not with their square.

Shapes: N steps of all sequences, B sequences, I inputs, H units, A heads of D units each, S and U
steps of a chunk.
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State
from models.networks.cells.slstm import FORGET_BIAS_RANGE, LOG_ZERO, HeadNorm
from models.networks.jagged import Offsets

CHUNK_STEPS = 64
"""Steps of a chunk, which are computed together."""


class _Projections(NamedTuple):
    """Queries, keys, values and gates; their axes are step, sequence and head."""

    query_SBAD: Tensor
    key_SBAD: Tensor
    value_SBAD: Tensor
    enter_SBA: Tensor
    """Log of the input gate."""
    keep_SBA: Tensor
    """Log of the forget gate."""


class Mlstm(Cell):
    """Exponential gates over a matrix a head."""

    def __init__(self, inputs: int, hidden: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.hidden, self.heads = hidden, num_heads
        self.input = nn.Linear(inputs, 4 * hidden)
        self.gates = nn.Linear(inputs, 2 * num_heads)
        self.norm = HeadNorm(hidden, num_heads)
        with torch.no_grad():
            self.gates.weight.mul_(0.1)
            self.gates.bias[num_heads:] = torch.linspace(*FORGET_BIAS_RANGE, num_heads)

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return C and n of zeros, and m far below any gate."""
        size = self.hidden // self.heads
        return (
            like_BI.new_zeros(rows, self.heads, size, size),
            like_BI.new_zeros(rows, self.heads, size),
            like_BI.new_full((rows, self.heads), LOG_ZERO),
        )

    def compute_projections(self, inputs_NI: Tensor) -> tuple[_Projections, Tensor]:
        """Return queries, keys, values and gates of all steps, and the output gate's projection."""
        projected_NP, gates_N2A = self.input(inputs_NI), self.gates(inputs_NI)
        if projected_NP.dtype.itemsize < 4:
            projected_NP, gates_N2A = projected_NP.float(), gates_N2A.float()
        query, key, value, leave_NH = projected_NP.chunk(4, dim=1)
        by_head = [part.unflatten(1, (self.heads, -1)) for part in (query, key, value)]
        enter_NA, forget_NA = gates_N2A.chunk(2, dim=1)
        scaled_NAD = by_head[1] / sqrt(self.hidden // self.heads)
        log_forget_NA = functional.logsigmoid(forget_NA)
        return _Projections(by_head[0], scaled_NAD, by_head[2], enter_NA, log_forget_NA), leave_NH

    def compute_outputs(self, read_NAD: Tensor, leave_NH: Tensor) -> Tensor:
        """Return the outputs of what was read from the memory."""
        normed_NH: Tensor = self.norm(read_NAD.flatten(1))
        return torch.sigmoid(leave_NH) * normed_NH

    def step(self, inputs_BI: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        (query_BAD, key_BAD, value_BAD, enter_BA, keep_BA), leave_BH = self.compute_projections(
            inputs_BI
        )
        memory_BADD, total_BAD, max_BA = state
        lasting_BA = keep_BA + max_BA
        max_BA = torch.maximum(lasting_BA, enter_BA)
        keep_BA1 = torch.exp(lasting_BA - max_BA)[:, :, None]
        key_BAD = torch.exp(enter_BA - max_BA)[:, :, None] * key_BAD
        memory_BADD = keep_BA1[..., None] * memory_BADD + key_BAD[..., None] * value_BAD[:, :, None]
        total_BAD = keep_BA1 * total_BAD + key_BAD
        read_BAD = (query_BAD[:, :, None] @ memory_BADD)[:, :, 0]
        size_BA1 = (query_BAD * total_BAD).sum(dim=2, keepdim=True).abs()
        read_BAD = read_BAD / torch.maximum(size_BA1, _compute_min_divisor(max_BA)[:, :, None])
        return self.compute_outputs(read_BAD, leave_BH), (memory_BADD, total_BAD, max_BA)

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences chunk by chunk."""
        projections, leave_NH = self.compute_projections(values_NI)
        state = state or self.init_state(projections.enter_SBA, len(offsets))
        grids = [offsets.to_grid(part) for part in projections]
        # Where a sequence has ended nothing enters, and all stays.
        grids[3] = offsets.to_grid(projections.enter_SBA, fill=LOG_ZERO)
        outputs = []
        for first in range(0, offsets.max_length, CHUNK_STEPS):
            chunk = _Projections(*(grid[first : first + CHUNK_STEPS] for grid in grids))
            read_SBAD, state = _read_chunk(chunk, state)
            outputs.append(read_SBAD)
        return self.compute_outputs(offsets.from_grid(torch.cat(outputs)), leave_NH), state


def _compute_min_divisor(log_scale: Tensor) -> Tensor:
    """Return the smallest divisor of what is read from the memory, clamped to stay finite."""
    return torch.exp(-log_scale.clamp(min=-50.0))


def _read_chunk(projections: _Projections, state: State) -> tuple[Tensor, State]:
    """Read one chunk of all sequences; return what is read, [S, B, A, D], and the state."""
    memory_BADD, total_BAD, max_BA = state
    query_BASD, key_BASD, value_BASD = (part.permute(1, 2, 0, 3) for part in projections[:3])
    enter_BAS, keep_BAS = (
        projections.enter_SBA.permute(1, 2, 0),
        projections.keep_SBA.permute(1, 2, 0),
    )
    lasting_BAS = keep_BAS.cumsum(dim=2)
    # Log weight of step U at step S, and of the state before the chunk at step S.
    log_weight_BASU = lasting_BAS[..., None] - lasting_BAS[:, :, None] + enter_BAS[:, :, None]
    steps = log_weight_BASU.shape[2]
    later_SU = torch.ones(steps, steps, dtype=torch.bool, device=log_weight_BASU.device).triu(1)
    log_weight_BASU = log_weight_BASU.masked_fill(later_SU, float("-inf"))
    old_BAS = lasting_BAS + max_BA[..., None]
    max_BAS = torch.maximum(old_BAS, log_weight_BASU.amax(dim=3))
    weight_BASU = torch.exp(log_weight_BASU - max_BAS[..., None])
    weight_BASU = weight_BASU * (query_BASD @ key_BASD.transpose(2, 3))
    before_BAS1 = torch.exp(old_BAS - max_BAS)[..., None]
    read_BASD = weight_BASU @ value_BASD + before_BAS1 * (query_BASD @ memory_BADD)
    size_BAS1 = weight_BASU.sum(dim=3, keepdim=True)
    size_BAS1 = (size_BAS1 + before_BAS1 * (query_BASD @ total_BAD[..., None])).abs()
    read_BASD = read_BASD / torch.maximum(size_BAS1, _compute_min_divisor(max_BAS)[..., None])
    # Into the next chunk goes what the last step sees.
    max_BA = max_BAS[:, :, -1]
    share_BAS = torch.exp(lasting_BAS[:, :, -1:] - lasting_BAS + enter_BAS - max_BA[..., None])
    weighted_BASD = share_BAS[..., None] * key_BASD
    decay_BA1 = torch.exp(old_BAS[:, :, -1] - max_BA)[..., None]
    memory_BADD = decay_BA1[..., None] * memory_BADD + weighted_BASD.transpose(2, 3) @ value_BASD
    total_BAD = decay_BA1 * total_BAD + weighted_BASD.sum(dim=2)
    return read_BASD.permute(2, 0, 1, 3), (memory_BADD, total_BAD, max_BA)
