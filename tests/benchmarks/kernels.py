"""Compiled kernels beside torch's own layers and the machine's limits, in one run.

    python tests/benchmarks/kernels.py [ROUNDS] [THREADS]

Forwards and backwards, medians of alternating rounds: with the compiled kernels, without them, and
torch's own layer (where it has none of this kind, its LSTM). The peak is that of a product of
matrices of 768 x 768 in the same rounds. For the gru the share is of that peak. For the rest
it is of the floor: the product of input and weights, and its gradients, at the peak, and thirteen
passes over outputs at the speed of a copy. The last table has lstm, gru and mingru in float32 and
under bf16's autocast. With one thread it counts the processor's time, which a busy machine moves
less; else the wall's.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.learning.memory import keep_memory
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
    """What is read."""

    sequences: int
    steps: int
    inputs: int
    hidden: int


SHAPES = {"A": Shape(64, 100, 32, 128), "B": Shape(256, 50, 64, 256)}
WIDTHS = 64, 128, 256

Ways = dict[str, Callable[[], object]]


def medians(ways: Ways, rounds: int) -> dict[str, float]:
    """Seconds of each, which take turns."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, run in ways.items():
            began = clock()
            run()
            if turn:
                seconds[way].append(clock() - began)
    return {way: median(found) for way, found in seconds.items()}


def learn(read: Callable[[], Tensor], *, half: bool = False) -> None:
    """Go forwards and backwards once."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        outputs = read()
    outputs.backward(torch.ones_like(outputs))


def without(read: Callable[[], Tensor]) -> None:
    """Go forwards and backwards without the compiled kernels."""
    with kernels.pin_kernels() as keep:
        keep(kernels.TORCH)
        learn(read)


def limits(shape: Shape) -> Ways:
    """A product and a copy, whose rates are the machine's."""
    left, right = torch.randn(2, EDGE, EDGE)
    values = torch.randn(shape.sequences * shape.steps, shape.hidden)
    room = torch.empty_like(values)
    return {"product": lambda: left @ right, "copy": lambda: room.copy_(values)}


def floor(name: str, shape: Shape, found: dict[str, float]) -> float:
    """Seconds that a cell takes at the least."""
    steps, hidden = shape.sequences * shape.steps, shape.hidden
    product = found["product"] / (2 * EDGE**3)
    if name in GATES:
        ways = 2 * (shape.inputs + hidden) + hidden
        return 2 * GATES[name] * steps * hidden * ways * product
    columns = PRODUCTS[name] * hidden
    return 3 * 2 * steps * shape.inputs * columns * product + PASSES / 2 * found["copy"]


def contenders(name: str, shape: Shape) -> Ways:
    """The three ways to read."""
    cell, values, offsets = made(name, shape)
    stock = {"gru": nn.GRU}.get(name, nn.LSTM)(shape.inputs, shape.hidden, batch_first=True)
    padded = values.view(shape.sequences, shape.steps, shape.inputs)
    read = partial(cell.outputs, values, offsets)
    return {
        name: partial(learn, read),
        f"{name} without": partial(without, read),
        f"{name} stock": partial(learn, lambda: stock(padded)[0]),
    }


def made(name: str, shape: Shape) -> tuple[Cell, Tensor, Offsets]:
    """Make a cell and what it reads."""
    cell = build_cell(ModelConfig(cell=name, hidden_size=shape.hidden), inputs=shape.inputs)
    values = torch.randn(shape.sequences * shape.steps, shape.inputs, requires_grad=True)
    return cell, values, Offsets.from_lengths([shape.steps] * shape.sequences)


def compare(shape: Shape, rounds: int) -> None:
    """Print a line for each cell."""
    names = [name for name in (*GATES, *PRODUCTS) if name in FAMILIES]
    ways = limits(shape)
    for name in names:
        ways |= contenders(name, shape)
    found = medians(ways, rounds)
    copied = 8 * shape.sequences * shape.steps * shape.hidden / found["copy"] / 1e9
    print(
        f"{shape}: peak {2 * EDGE**3 / found['product'] / 1e9:.0f} GFLOP/s, copy {copied:.0f} GB/s"
    )
    print("cell       ours ms  without ms  stock ms  x without  x stock  floor ms  floor/ours")
    for name in names:
        ours, alone, stock = (found[name + way] for way in ("", " without", " stock"))
        least = floor(name, shape, found)
        print(
            f"{name:9} {1e3 * ours:8.2f} {1e3 * alone:11.2f} {1e3 * stock:9.2f}"
            f" {alone / ours:10.2f} {stock / ours:8.2f} {1e3 * least:9.2f} {least / ours:11.2f}"
        )


def compare_half(rounds: int) -> None:
    """Print float32 beside bf16's autocast."""
    ways: Ways = {}
    for width in WIDTHS:
        for name in ("lstm", "gru", "mingru"):
            cell, values, offsets = made(name, Shape(64, 100, 32, width))
            read = partial(cell.outputs, values, offsets)
            ways[f"{name} {width}"] = partial(learn, read)
            ways[f"{name} {width} half"] = partial(learn, read, half=True)
    found = medians(ways, rounds)
    print("cell  hidden  float32 ms  bf16 ms  x")
    for way in ways:
        if not way.endswith("half"):
            full, half = found[way], found[f"{way} half"]
            print(f"{way:12} {1e3 * full:10.2f} {1e3 * half:8.2f} {full / half:5.2f}")


def main(rounds: int, threads: int) -> None:
    """Measure and print."""
    keep_memory()
    torch.set_num_threads(threads)
    print(f"kernels {kernels.get_kernel_name()}, {threads} threads, {rounds} rounds")
    for shape in SHAPES.values():
        compare(shape, rounds)
    compare_half(rounds)


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*(given + [11, 2][len(given) :]))
