"""One layer: a cell that reads forwards or in both directions, with the job's options around it.

Shapes: N steps of all sequences, B sequences, I inputs, H units, D directions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.networks.cell import Cell, State
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.jagged import Offsets


def build_cell(config: ModelConfig, *, inputs: int, depth: int = 0) -> Any:  # noqa: ANN401 - trees are read by another interface
    """Build one cell of the job's family, with the options that it has."""
    family = FAMILIES[config.cell]
    other = {"dilation", "learn_initial_state", "pretrained_weights"}
    options = {name: getattr(config, name) for name in family.options if name not in other}
    if options.get("kernel_size", 0) is None:
        del options["kernel_size"]
    if "dilation" in family.options:
        options["dilation"] = 2**depth
    return family.load()(inputs, config.hidden_size, **options)


class Layer(nn.Module):
    """One recurrent layer."""

    def __init__(self, config: ModelConfig, *, inputs: int, depth: int = 0) -> None:
        super().__init__()
        cells = [
            build_cell(config, inputs=inputs, depth=depth)
            for _ in range(2 if config.bidirectional else 1)
        ]
        self.cells = nn.ModuleList(cells)
        self.starts = nn.ModuleList(
            _InitialState(cell, inputs) for cell in cells if config.learn_initial_state
        )
        self.channels = sum(cell.hidden for cell in cells)
        self.residual = config.residual and inputs == self.channels

    def forward(
        self, values_NI: Tensor, offsets: Offsets, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the outputs at every step, [N, D * H], and the last states.

        The backward direction begins at each sequence's own end; its last state is the one at the
        sequence's first step. The states of both directions are concatenated.
        """
        states = self.split_state(state, len(offsets))
        forward_NH, ends = self.cells[0](values_NI, offsets, states[0])
        outputs_NH = forward_NH
        if len(self.cells) > 1:
            reversed_NI = offsets.reverse(values_NI)
            backward_NH, backward_ends = self.cells[1](reversed_NI, offsets, states[1])
            outputs_NH = torch.cat([forward_NH, offsets.reverse(backward_NH)], dim=1)
            ends = (*ends, *backward_ends)
        return self.add_residual(values_NI, outputs_NH), ends

    def outputs(self, values_NI: Tensor, offsets: Offsets) -> Tensor:
        """Return the outputs alone."""
        states = self.split_state(None, len(offsets))
        outputs = [self.cells[0].outputs(values_NI, offsets, states[0])]  # type: ignore[operator]
        if len(self.cells) > 1:
            backward_NH = self.cells[1].outputs(offsets.reverse(values_NI), offsets, states[1])  # type: ignore[operator]
            outputs.append(offsets.reverse(backward_NH))
        return self.add_residual(
            values_NI, torch.cat(outputs, dim=1) if outputs[1:] else outputs[0]
        )

    def split_state(self, state: State | None, rows: int) -> list[State | None]:
        """Return each direction's state before its first step."""
        if state is not None:
            size = len(state) // len(self.cells)
            return [state[:size], state[size:]]
        if not self.starts:
            return [None] * len(self.cells)
        return [start(rows) for start in self.starts]

    def add_residual(self, values_NI: Tensor, outputs_NH: Tensor) -> Tensor:
        """Add the input, where `residual` is set and the widths are equal."""
        return outputs_NH + values_NI if self.residual else outputs_NH


class VariationalDropout(nn.Module):
    """Dropout with one mask for all steps of a sequence (Gal and Ghahramani 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Apply dropout, in training."""
        if not self.training or not self.rate:
            return values_NC
        random_BC = torch.rand(
            len(offsets), values_NC.shape[1], dtype=values_NC.dtype, device=values_NC.device
        )
        mask_BC = (random_BC >= self.rate).to(values_NC.dtype) / (1 - self.rate)
        return values_NC * offsets.repeat_per_step(mask_BC)


class StepDropout(nn.Module):
    """Dropout with a mask of its own for every step."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(rate)

    def forward(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Apply dropout, in training."""
        del offsets
        dropped_NC: Tensor = self.dropout(values_NC)
        return dropped_NC


class _InitialState(nn.Module):
    """A learned initial state, the same for every sequence."""

    def __init__(self, cell: Cell, inputs: int) -> None:
        super().__init__()
        parts = cell.init_state(torch.zeros(1, inputs), 1)
        self.parts = nn.ParameterList(nn.Parameter(0.01 * torch.randn_like(p[0])) for p in parts)

    def forward(self, rows: int) -> State:
        """Return it for so many sequences."""
        return tuple(part.expand(rows, *part.shape) for part in self.parts)
