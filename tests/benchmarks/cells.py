"""Cells compared with their definitions: errors and speed.

    python tests/benchmarks/cells.py [ROUNDS]

Errors are the largest difference from the equations in float64, step by step, of the outputs and
of the gradients, relative to the largest value; sequences of 5 to 40 steps, 16 units. Speed is of
64 sequences of 100 steps of 32 numbers through 128 units, forwards and backwards, contenders
alternating; the definition reads one sequence after the other and is timed on one of the 64.
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
TORCH_LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def compute_gradients(
    cell: Cell, values: Tensor, run_cell: Callable[..., tuple[Tensor, object]]
) -> tuple[Tensor, Tensor]:
    """Return the outputs, and the gradients of input and weights as one vector."""
    values = values.clone().requires_grad_()
    outputs, _ = run_cell(values, Offsets.from_lengths(LENGTHS))
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=torch.float64).view_as(outputs)
    inputs = [values, *cell.parameters()]
    gradients = torch.autograd.grad(
        (outputs.double() * weights).sum(), inputs, materialize_grads=True
    )
    return outputs.detach().double(), torch.cat(
        [gradient.double().flatten() for gradient in gradients]
    )


def measure_errors(name: str) -> list[float]:
    """Return the errors of outputs and gradients in float64, float32 and bf16."""
    torch.manual_seed(0)
    cell = build_cell(ModelConfig(cell=name, hidden_size=16), inputs=8)
    values = torch.randn(sum(LENGTHS), 8)
    exact = cell.double()
    expected = compute_gradients(exact, values.double(), lambda v, o: run_step_by_step(exact, v, o))
    errors = []
    for dtype, half in ((torch.float64, False), (torch.float32, False), (torch.float32, True)):
        cell = cell.to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            computed = compute_gradients(cell, values.to(dtype), cell)
        for ours, exact_values in zip(computed, expected, strict=True):
            errors.append(float((ours - exact_values).abs().max() / exact_values.abs().max()))
    return errors


def time_run(forward: Callable[[], Tensor]) -> float:
    """Return the seconds of one forward and backward pass."""
    start_time = time.perf_counter()
    forward().sum().backward()
    return time.perf_counter() - start_time


def measure_speeds(name: str, rounds: int) -> tuple[float, float, float]:
    """Return our milliseconds, and the speedups over the definition and torch's own or its LSTM."""
    cell = build_cell(ModelConfig(cell=name, hidden_size=128), inputs=32)
    torch_layer = TORCH_LAYERS.get(name, nn.LSTM)(32, 128, batch_first=True)
    values, one = torch.randn(6400, 32), torch.randn(100, 32)
    batch, single = Offsets.from_lengths([100] * 64), Offsets.from_lengths([100])
    padded = values.view(64, 100, 32)
    runs = {
        "ours": lambda: cell.outputs(values, batch),
        "definition": lambda: run_step_by_step(cell, one, single)[0],
        "torch": lambda: torch_layer(padded)[0],
    }
    seconds = {contender: [] for contender in runs}
    for round_index in range(rounds + 1):
        for contender, forward in runs.items():
            elapsed = time_run(forward)
            if round_index:
                seconds[contender].append(elapsed)
    ours, definition, torch_seconds = (median(seconds[contender]) for contender in runs)
    return 1000 * ours, 64 * definition / ours, torch_seconds / ours


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(
        "| cell | f64 out | grad | f32 out | grad | bf16 out | grad | ms | x definition "
        "| x torch's own (LSTM where it has none) |\n|---|" + "---:|" * 9
    )
    for name in CELLS:
        errors = [f"{error:.0e}" for error in measure_errors(name)]
        ours, over_definition, over_torch = measure_speeds(name, rounds)
        print(
            f"| {name} | {' | '.join(errors)} | {ours:.1f} | {over_definition:.0f} "
            f"| {over_torch:.2f} |"
        )


if __name__ == "__main__":
    main()
