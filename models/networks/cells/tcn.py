"""The temporal convolutional network's residual block (Bai, Kolter and Koltun 2018).

y = relu(W1 * x + b1)              *: causal convolution, taps `dilation` steps apart
z = relu(W2 * y + b2)
o = relu(z + x)                    or z + W3 x, where the widths of x and z differ

Each W of a convolution is a learned length times a direction (weight normalisation, Salimans and
Kingma 2016), for every unit. After each of the first two lines dropout sets whole channels of a
sequence to 0. Blocks whose dilation doubles see twice as far each.

The state is the last input of each convolution, (K - 1) * dilation steps, so a sequence may be
read in pieces, or step by step.

Shapes: N steps of all sequences, B sequences, I inputs, H units, K taps, R steps of history.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell, State
from models.networks.convolution import convolve
from models.networks.jagged import Offsets


class Tcn(Cell):
    """One residual block."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        *,
        kernel_size: int = 3,
        dilation: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or dilation < 1:
            raise ValueError(
                f"kernel_size and dilation must be at least 1, got {kernel_size} and {dilation}"
            )
        self.hidden, self.inputs, self.dropout = hidden, inputs, dropout
        self.first = _CausalConvolution(inputs, hidden, kernel_size=kernel_size, dilation=dilation)
        self.second = _CausalConvolution(hidden, hidden, kernel_size=kernel_size, dilation=dilation)
        self.beside = nn.Identity() if inputs == hidden else nn.Linear(inputs, hidden)

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return the steps before the first: zeros."""
        lookback = self.first.lookback
        return (
            like_BI.new_zeros(rows, lookback, self.inputs),
            like_BI.new_zeros(rows, lookback, self.hidden),
        )

    def step(self, inputs_BI: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step with every sequence: the definition."""
        middle_BH, first_BRI = self.first.step(inputs_BI, state[0])
        middle_BH = self.apply_mask(
            torch.relu(middle_BH), self.draw_mask(inputs_BI, len(inputs_BI))
        )
        upper_BH, second_BRH = self.second.step(middle_BH, state[1])
        upper_BH = self.apply_mask(torch.relu(upper_BH), self.draw_mask(inputs_BI, len(inputs_BI)))
        return torch.relu(upper_BH + self.beside(inputs_BI)), (first_BRI, second_BRH)

    def draw_mask(self, like: Tensor, rows: int) -> Tensor | None:
        """Draw the dropout mask of each sequence's channels, [B, H]; None outside training."""
        if not (self.training and self.dropout):
            return None
        return functional.dropout(like.new_ones(rows, self.hidden), self.dropout)

    @staticmethod
    def apply_mask(values_NH: Tensor, mask_NH: Tensor | None) -> Tensor:
        """Set the masked channels to 0."""
        return values_NH if mask_NH is None else values_NH * mask_NH

    def run_convolutions(
        self, values_NI: Tensor, offsets: Offsets, state: State | None
    ) -> tuple[Tensor, ...]:
        """Return the outputs, and the input of the second convolution."""
        masks = [self.draw_mask(values_NI, len(offsets)) for _ in range(2)]
        lower_NH, upper_NH = (
            None if mask is None else offsets.repeat_per_step(mask) for mask in masks
        )
        before = state or (None, None)
        middle_NH = torch.relu(self.first(values_NI, offsets, before[0]))
        middle_NH = self.apply_mask(middle_NH, lower_NH)
        outputs_NH = torch.relu(self.second(middle_NH, offsets, before[1]))
        outputs_NH = self.apply_mask(outputs_NH, upper_NH)
        return torch.relu(outputs_NH + self.beside(values_NI)), middle_NH

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read whole sequences; return outputs and last states."""
        outputs_NH, middle_NH = self.run_convolutions(values_NI, offsets, state)
        before = state or self.init_state(values_NI, len(offsets))
        return outputs_NH, (
            _take_last_steps(values_NI, offsets, before[0]),
            _take_last_steps(middle_NH, offsets, before[1]),
        )

    def outputs(self, values_NI: Tensor, offsets: Offsets, state: State | None = None) -> Tensor:
        """Return the outputs alone."""
        return self.run_convolutions(values_NI, offsets, state)[0]


def _take_last_steps(values_NI: Tensor, offsets: Offsets, before_BRI: Tensor) -> Tensor:
    """Return the last R steps of each sequence, those before it where it is shorter."""
    history = before_BRI.shape[1]
    step_BR = offsets.lengths_B[:, None] - history + torch.arange(history, device=offsets.device)
    index_BR = (offsets.first_B[:, None] + step_BR).clamp(min=0)
    last_BRI = values_NI.index_select(0, index_BR.flatten()).view(*index_BR.shape, -1)
    # A step before the sequence is as far from the end of its history.
    early_BR = (step_BR + history).clamp(max=history - 1) if history else step_BR
    early_BRI = before_BRI.gather(1, early_BR[:, :, None].expand_as(before_BRI))
    return torch.where(step_BR[:, :, None] < 0, early_BRI, last_BRI.to(early_BRI.dtype))


class _CausalConvolution(nn.Module):
    """A dilated causal convolution with weight normalization."""

    def __init__(self, inputs: int, hidden: int, *, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.dilation, self.lookback = dilation, (kernel_size - 1) * dilation
        direction_HIK = torch.empty(hidden, inputs, kernel_size)
        nn.init.kaiming_normal_(direction_HIK, nonlinearity="relu")
        self.direction_HIK = nn.Parameter(direction_HIK)
        self.length_H = nn.Parameter(direction_HIK.flatten(1).norm(dim=1))
        self.bias_H = nn.Parameter(torch.zeros(hidden))

    def compute_weight(self) -> Tensor:
        """Return the taps, [H, I, K]."""
        unit_HJ = functional.normalize(self.direction_HIK.flatten(1), dim=1)
        return (self.length_H[:, None] * unit_HJ).view_as(self.direction_HIK)

    def forward(self, values_NI: Tensor, offsets: Offsets, before_BRI: Tensor | None) -> Tensor:
        """Return [N, H]."""
        return convolve(
            values_NI,
            offsets,
            self.compute_weight(),
            bias_H=self.bias_H,
            dilation=self.dilation,
            before_BRI=before_BRI,
        )

    def step(self, inputs_BI: Tensor, before_BRI: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of one step, [B, H], and the last R steps."""
        seen_BRI = torch.cat([before_BRI, inputs_BI[:, None]], dim=1)
        taps_BKI = seen_BRI[:, :: self.dilation]
        output_BH = torch.einsum("bki,hik->bh", taps_BKI, self.compute_weight()) + self.bias_H
        return output_BH, seen_BRI[:, 1:]
