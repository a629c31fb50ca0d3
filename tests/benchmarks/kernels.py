"""Compiled kernels, compared with torch's own layers and the machine's limits.

    python tests/benchmarks/kernels.py [ROUNDS] [THREADS]

Forwards and backwards, medians of alternating rounds: with the compiled kernels, without them, and
torch's own layer (its LSTM where it has no such cell). The peak is that of a product of matrices
of 768 x 768 in the same rounds. The floor of the gru is its products at that peak. The floor of
the others is the product of input and weights, and its gradients, at the peak, and thirteen passes
over the outputs at the speed of a copy. The last table has lstm, gru and mingru in float32 and
under bf16's autocast. With one thread CPU time is measured, which varies less on a busy machine;
otherwise wall time.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.learning.memory import retain_freed_memory
from models.networks.cell import Cell
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.jagged import Offsets
from models.networks.layer import build_cell
from models.networks.native import kernels

GATES = {"gru": 3}
PRODUCTS = {"mingru": 2, "minlstm": 3, "sru": 4, "qrnn": 6}
"""Columns of the input's weights, in units; qrnn's two steps of input count as columns."""
PASSES = 13
EDGE = 768


class Shape(NamedTuple):
    """The size of a batch and of a layer."""

    sequences: int
    steps: int
    inputs: int
    hidden: int


SHAPES = {"A": Shape(64, 100, 32, 128), "B": Shape(256, 50, 64, 256)}
WIDTHS = 64, 128, 256

Runs = dict[str, Callable[[], object]]


def measure_medians(runs: Runs, rounds: int) -> dict[str, float]:
    """Run the contenders alternately; return the median seconds of each."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_index in range(rounds + 1):
        for name, run in runs.items():
            start_time = clock()
            run()
            if round_index:
                seconds[name].append(clock() - start_time)
    return {name: median(each) for name, each in seconds.items()}


def run_backward(forward: Callable[[], Tensor], *, half: bool = False) -> None:
    """Run one forward and backward pass."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        outputs = forward()
    outputs.backward(torch.ones_like(outputs))


def run_without_kernels(forward: Callable[[], Tensor]) -> None:
    """Run one forward and backward pass without the compiled kernels."""
    with kernels.pin_kernels() as pin:
        pin(kernels.TORCH)
        run_backward(forward)


def build_limit_runs(shape: Shape) -> Runs:
    """Build runs of a matrix product and a copy, which measure the machine's limits."""
    left, right = torch.randn(2, EDGE, EDGE)
    values = torch.randn(shape.sequences * shape.steps, shape.hidden)
    buffer = torch.empty_like(values)
    return {"product": lambda: left @ right, "copy": lambda: buffer.copy_(values)}


def compute_floor(name: str, shape: Shape, medians: dict[str, float]) -> float:
    """Return the least seconds that a cell can take."""
    steps, hidden = shape.sequences * shape.steps, shape.hidden
    product = medians["product"] / (2 * EDGE**3)
    if name in GATES:
        products = 2 * (shape.inputs + hidden) + hidden
        return 2 * GATES[name] * steps * hidden * products * product
    columns = PRODUCTS[name] * hidden
    return 3 * 2 * steps * shape.inputs * columns * product + PASSES / 2 * medians["copy"]


def build_runs(name: str, shape: Shape) -> Runs:
    """Build the runs with our kernels, without them, and of torch's own layer."""
    cell, values, offsets = build_cell_inputs(name, shape)
    torch_layer = {"gru": nn.GRU}.get(name, nn.LSTM)(shape.inputs, shape.hidden, batch_first=True)
    padded = values.view(shape.sequences, shape.steps, shape.inputs)
    forward = partial(cell.outputs, values, offsets)
    return {
        name: partial(run_backward, forward),
        f"{name} without": partial(run_without_kernels, forward),
        f"{name} torch": partial(run_backward, lambda: torch_layer(padded)[0]),
    }


def build_cell_inputs(name: str, shape: Shape) -> tuple[Cell, Tensor, Offsets]:
    """Build a cell, and the values and offsets that it reads."""
    cell = build_cell(ModelConfig(cell=name, hidden_size=shape.hidden), inputs=shape.inputs)
    values = torch.randn(shape.sequences * shape.steps, shape.inputs, requires_grad=True)
    return cell, values, Offsets.from_lengths([shape.steps] * shape.sequences)


def compare(shape: Shape, rounds: int) -> None:
    """Print the table of all cells for one shape."""
    names = [name for name in (*GATES, *PRODUCTS) if name in FAMILIES]
    runs = build_limit_runs(shape)
    for name in names:
        runs |= build_runs(name, shape)
    medians = measure_medians(runs, rounds)
    copied = 8 * shape.sequences * shape.steps * shape.hidden / medians["copy"] / 1e9
    peak = 2 * EDGE**3 / medians["product"] / 1e9
    print(f"{shape}: peak {peak:.0f} GFLOP/s, copy {copied:.0f} GB/s")
    print("cell       ours ms  without ms  torch ms  x without  x torch  floor ms  floor/ours")
    for name in names:
        ours, without, torch_seconds = (
            medians[name + suffix] for suffix in ("", " without", " torch")
        )
        floor = compute_floor(name, shape, medians)
        print(
            f"{name:9} {1e3 * ours:8.2f} {1e3 * without:11.2f} {1e3 * torch_seconds:9.2f}"
            f" {without / ours:10.2f} {torch_seconds / ours:8.2f} {1e3 * floor:9.2f}"
            f" {floor / ours:11.2f}"
        )


def compare_half(rounds: int) -> None:
    """Print the table of float32 and bf16's autocast."""
    runs: Runs = {}
    for width in WIDTHS:
        for name in ("lstm", "gru", "mingru"):
            cell, values, offsets = build_cell_inputs(name, Shape(64, 100, 32, width))
            forward = partial(cell.outputs, values, offsets)
            runs[f"{name} {width}"] = partial(run_backward, forward)
            runs[f"{name} {width} half"] = partial(run_backward, forward, half=True)
    medians = measure_medians(runs, rounds)
    print("cell  hidden  float32 ms  bf16 ms  x")
    for name in runs:
        if not name.endswith("half"):
            full, half = medians[name], medians[f"{name} half"]
            print(f"{name:12} {1e3 * full:10.2f} {1e3 * half:8.2f} {full / half:5.2f}")


def main(rounds: int, threads: int) -> None:
    """Measure and print."""
    retain_freed_memory()
    torch.set_num_threads(threads)
    print(f"kernels {kernels.get_kernel_name()}, {threads} threads, {rounds} rounds")
    for shape in SHAPES.values():
        compare(shape, rounds)
    compare_half(rounds)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [11, 2][len(numbers) :]))
