"""Each cell compared with its arithmetic: the share of the time that its matrix products need.

    python tests/benchmarks/floors.py [ROUNDS]

One layer over 64 sequences of 100 steps of 32 numbers with 128 units, forwards and backwards. A
weight matrix is multiplied with every step three times: forwards, for its own gradient, and for
the gradient of its input, which the layer's input does not need. The limit is the time of these
products at the rate of a product of 1,024 x 1,024 numbers in float32, measured before and after.

Shapes: I inputs.
"""

import sys
import time
from statistics import median

import torch
from torch import nn

from models.learning.memory import retain_freed_memory
from models.networks.benchmark import BenchmarkShape, _build_benchmark_cell, measure_cells

SIDE = 1_024
SHAPE = BenchmarkShape()
CPU = torch.device("cpu")


def measure_product_rate(rounds: int) -> float:
    """Return the operations a second of a large matrix product."""
    left, right, out = (torch.randn(SIDE, SIDE) for _ in range(3))
    seconds = []
    for _ in range(rounds + 1):
        start_time = time.perf_counter()
        torch.mm(left, right, out=out)
        seconds.append(time.perf_counter() - start_time)
    return 2 * SIDE**3 / median(seconds[1:])


def count_operations(cell: nn.Module) -> int:
    """Count the operations of the products with the weights, both passes over a batch."""
    matrices = [weight for weight in cell.parameters() if weight.dim() >= 2]
    all_weights = sum(weight.numel() for weight in matrices)
    input_weights = sum(weight.numel() for weight in matrices if weight.shape[1] == SHAPE.inputs)
    return 2 * SHAPE.sequences * SHAPE.steps * (3 * all_weights - input_weights)


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    retain_freed_memory()
    before = measure_product_rate(rounds)
    speeds = measure_cells(SHAPE, device=CPU, rounds=rounds)
    after = measure_product_rate(rounds)
    rate = (before + after) / 2
    print(f"{torch.get_num_threads()} threads, {before / 1e9:.0f} and {after / 1e9:.0f} GFLOP/s")
    print("| cell | ms | GFLOP | of the product's rate |\n|---|---:|---:|---:|")
    for name, speed in speeds.items():
        operations = count_operations(_build_benchmark_cell(name, SHAPE, CPU))
        share = operations / rate / (speed.milliseconds / 1000)
        print(f"| {name} | {speed.milliseconds:.1f} | {operations / 1e9:.2f} | {share:.2f} |")


if __name__ == "__main__":
    main()
