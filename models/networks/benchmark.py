"""Training speed of each cell on this machine.

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
    """Size of the batch and of the layer that are measured."""

    sequences: int = 64
    steps: int = 100
    inputs: int = 32
    hidden: int = 128


class CellSpeed(NamedTuple):
    """Result of one cell."""

    parameters: int
    milliseconds: float
    """Forward and backward pass over the whole batch, the median of the rounds."""
    steps_per_second: float


def measure_cells(
    shape: BenchmarkShape, *, device: torch.device, rounds: int = 5
) -> dict[str, CellSpeed]:
    """Time training steps of one layer of each family, in turns.

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
    for round_number in range(rounds + 1):
        for name, cell in cells.items():
            began = time.perf_counter()
            _run_training_step(name, cell, values_NI, offsets=offsets, nodes_N3=nodes_N3)
            # The first round also allocates memory.
            if round_number:
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
    """Build one cell; None where its package is missing."""
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
    """Run one forward and backward pass, and wait for the device."""
    nodes = (nodes_N3,) if FAMILIES[name].reads == "trees" else ()
    outputs: Tensor = cell.outputs(values_NI, *nodes, offsets)  # type: ignore[operator]
    outputs.sum().backward()
    if values_NI.is_cuda:
        torch.cuda.synchronize()


def _make_left_leaning_trees(shape: BenchmarkShape) -> NDArray[np.int64]:
    """Build the deepest binary trees, which lean to the left: nodes of [0, distance, height].

    The distance is that to the parent. The children of an inner node are the node before it and a
    leaf. Where the number of steps is even, the last node is a tree of its own.
    """
    index_T = np.arange(shape.steps)
    distance_T, height_T = 2 - index_T % 2, np.where(index_T % 2, 0, index_T // 2)
    root = shape.steps - 1 - (shape.steps + 1) % 2
    distance_T[root:], height_T[root + 1 :] = 0, 0
    tree_T3 = np.stack([np.zeros_like(distance_T), distance_T, height_T], axis=1)
    return np.tile(tree_T3, (shape.sequences, 1))
