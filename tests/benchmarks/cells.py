"""Cells beside their definitions: how far off, and how much faster, in one run.

    python tests/benchmarks/cells.py [ROUNDS]

Errors are the largest difference from the equations in float64, step by step, of the outputs and
of the gradients, relative to the largest value; sequences of 5 to 40 steps, 16 units. Speed is of
64 sequences of 100 steps of 32 numbers through 128 units, forwards and backwards, contenders taking
turns; the definition reads sequence after sequence and so is timed on one sequence of the 64.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from models.networks.cell import Cell, run_step_by_step
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.jagged import Offsets
from models.networks.layer import build_cell

CELLS = [name for name, family in FAMILIES.items() if family.causal]
LENGTHS = [40, 5, 17, 40, 23]
OWN = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def slopes(
    cell: Cell, values: Tensor, read: Callable[..., tuple[Tensor, object]]
) -> tuple[Tensor, Tensor]:
    """Outputs, and the gradients of input and weights as one row."""
    values = values.clone().requires_grad_()
    outputs, _ = read(values, Offsets.from_lengths(LENGTHS))
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=torch.float64).view_as(outputs)
    learned = [values, *cell.parameters()]
    found = torch.autograd.grad((outputs.double() * weights).sum(), learned, materialize_grads=True)
    return outputs.detach().double(), torch.cat([slope.double().flatten() for slope in found])


def errors(name: str) -> list[float]:
    """Errors of outputs and gradients in float64, float32 and bf16."""
    torch.manual_seed(0)
    cell = build_cell(ModelConfig(cell=name, hidden_size=16), inputs=8)
    values = torch.randn(sum(LENGTHS), 8)
    exact = cell.double()
    truth = slopes(exact, values.double(), lambda v, o: run_step_by_step(exact, v, o))
    found = []
    for dtype, half in ((torch.float64, False), (torch.float32, False), (torch.float32, True)):
        cell = cell.to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            got = slopes(cell, values.to(dtype), cell)
        for ours, right in zip(got, truth, strict=True):
            found.append(float((ours - right).abs().max() / right.abs().max()))
    return found


def timed(learn: Callable[[], Tensor]) -> float:
    """Seconds of one way forwards and backwards."""
    began = time.perf_counter()
    learn().sum().backward()
    return time.perf_counter() - began


def speeds(name: str, rounds: int) -> tuple[float, float, float]:
    """Milliseconds of ours, times faster than the definition, and than torch's own or its LSTM."""
    cell = build_cell(ModelConfig(cell=name, hidden_size=128), inputs=32)
    own = OWN.get(name, nn.LSTM)(32, 128, batch_first=True)
    values, one = torch.randn(6400, 32), torch.randn(100, 32)
    batch, single = Offsets.from_lengths([100] * 64), Offsets.from_lengths([100])
    padded = values.view(64, 100, 32)
    ways = {
        "ours": lambda: cell.outputs(values, batch),
        "plain": lambda: run_step_by_step(cell, one, single)[0],
        "own": lambda: own(padded)[0],
    }
    seconds = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, learn in ways.items():
            took = timed(learn)
            if turn:
                seconds[way].append(took)
    ours, slow, torchs = (median(seconds[way]) for way in ways)
    return 1000 * ours, 64 * slow / ours, torchs / ours


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(
        "| cell | f64 out | grad | f32 out | grad | bf16 out | grad | ms | x definition "
        "| x torch's own (LSTM where it has none) |\n|---|" + "---:|" * 9
    )
    for name in CELLS:
        figures = [f"{error:.0e}" for error in errors(name)]
        ours, over_plain, over_torch = speeds(name, rounds)
        print(
            f"| {name} | {' | '.join(figures)} | {ours:.1f} | {over_plain:.0f} | {over_torch:.2f} |"
        )


if __name__ == "__main__":
    main()
