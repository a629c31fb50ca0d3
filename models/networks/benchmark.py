"""How fast each cell learns on this machine.

Shapes: N steps of all sequences, B sequences, I inputs.
"""

import time
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import UnlearnableError
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.jagged import Offsets
from models.networks.layer import build_cell


class BenchmarkShape(NamedTuple):
    """What is measured."""

    sequences: int = 64
    steps: int = 100
    inputs: int = 32
    hidden: int = 128


class CellSpeed(NamedTuple):
    """What one cell came to."""

    parameters: int
    milliseconds: float
    """Forwards and backwards over the whole batch, the median of the rounds."""
    steps_per_second: float


def measure_cells(
    shape: BenchmarkShape, *, device: torch.device, rounds: int = 5
) -> dict[str, CellSpeed]:
    """Train one layer of each family for a moment, in turns.

    Families whose optional package is missing are left out.
    """
    cells = {
        name: cell
        for name in FAMILIES
        if (cell := _build_benchmark_cell(name, shape, device)) is not None
    }
    values_NI = torch.randn(shape.sequences * shape.steps, shape.inputs, device=device)
    offsets = Offsets.from_lengths([shape.steps] * shape.sequences, device)
    nodes_N3 = torch.from_numpy(_make_left_leaning_trees(shape))
    seconds: dict[str, list[float]] = {name: [] for name in cells}
    for turn in range(rounds + 1):
        for name, cell in cells.items():
            began = time.perf_counter()
            _run_training_step(name, cell, values_NI, offsets=offsets, nodes_N3=nodes_N3)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {
        name: CellSpeed(
            parameters=sum(weight.numel() for weight in cell.parameters()),
            milliseconds=1000 * median(seconds[name]),
            steps_per_second=len(values_NI) / median(seconds[name]),
        )
        for name, cell in cells.items()
    }


def _build_benchmark_cell(
    name: str, shape: BenchmarkShape, device: torch.device
) -> nn.Module | None:
    """Make one cell, or nothing where a package is missing."""
    heads = max(count for count in (1, 2, 4) if shape.hidden % (2 * count) == 0 or count == 1)
    config = ModelConfig(cell=name, hidden_size=shape.hidden, num_heads=heads)
    try:
        cell: nn.Module = build_cell(config, inputs=shape.inputs)
    except (ImportError, UnlearnableError):
        return None
    return cell.to(device)


def _run_training_step(
    name: str, cell: nn.Module, values_NI: Tensor, *, offsets: Offsets, nodes_N3: Tensor
) -> None:
    """Go forwards and backwards once, and wait for the device."""
    beside = (nodes_N3,) if FAMILIES[name].reads == "trees" else ()
    outputs: Tensor = cell.outputs(values_NI, *beside, offsets)  # type: ignore[operator]
    outputs.sum().backward()
    if values_NI.is_cuda:
        torch.cuda.synchronize()


def _make_left_leaning_trees(shape: BenchmarkShape) -> NDArray[np.int64]:
    """Lay out binary trees that lean to the left, the deepest there are: nodes of [0, up, height].

    Each inner node holds the one before it and a leaf. Where the steps are even, the last tree
    node is a root of its own.
    """
    place_T = np.arange(shape.steps)
    up_T, height_T = 2 - place_T % 2, np.where(place_T % 2, 0, place_T // 2)
    last = shape.steps - 1 - (shape.steps + 1) % 2
    up_T[last:], height_T[last + 1 :] = 0, 0
    own_T3 = np.stack([np.zeros_like(up_T), up_T, height_T], axis=1)
    return np.tile(own_T3, (shape.sequences, 1))
