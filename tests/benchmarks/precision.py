"""bf16 compared with fp32 on this CPU: whole training steps, by cell and hidden size.

    python tests/benchmarks/precision.py [ROUNDS]

Both run alternately on the same batch: 64 sequences of 100 steps of 32 numbers, one layer. Ratios
above 1 mean that bf16 is faster. The thresholds in `models/learning/precision.py` are from here.
"""

import sys
import time
from statistics import median

import numpy as np
import torch

from models.features.feature_spec import Numbers
from models.learning.batches import SequenceSet, Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.memory import retain_freed_memory
from models.learning.optimizer import Optimizer
from models.learning.step import take_step
from models.networks.config import ModelConfig
from models.networks.families import CellName
from models.networks.heads.build import HeadSpec
from models.networks.network import NetworkSpec, build_network

BATCH, STEPS, CHANNELS, CLASSES = 64, 100, 32, 4
WIDTHS = (64, 128, 256, 512)
CELLS: tuple[CellName, ...] = (
    "lstm", "gru", "mingru", "minlstm", "qrnn", "sru", "mlstm", "slstm", "tcn", "rnn",
)  # fmt: skip


def draw_batch() -> SequenceSet:
    """Draw a batch."""
    draw = np.random.default_rng(0)
    starts, rows = np.arange(BATCH) * STEPS, np.arange(BATCH)
    return to_device(
        draw.normal(size=(BATCH * STEPS, CHANNELS)).astype(np.float32),
        Spans(starts, starts + STEPS),
        targets_M=draw.integers(0, CLASSES, BATCH).astype(np.float32),
        target_spans=Spans(rows, rows + 1),
        device=torch.device("cpu"),
    )


def measure_milliseconds(cell: CellName, hidden: int, rounds: int) -> dict[str, float]:
    """Run steps of both precisions alternately; return the median milliseconds of each."""
    data, rows = draw_batch(), np.arange(BATCH)
    spec = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=CLASSES)
    )
    networks = {
        name: build_network(ModelConfig(cell=cell, hidden_size=hidden), spec, seed=0).train()
        for name in ("fp32", "bf16")
    }
    optimizers = {name: Optimizer(net, TrainingConfig()) for name, net in networks.items()}
    elapsed: dict[str, list[float]] = {name: [] for name in networks}
    for round_index in range(rounds + 2):
        for name in ("fp32", "bf16"):
            config = TrainingConfig(precision="bf16" if name == "bf16" else "fp32")
            start_time = time.perf_counter()
            take_step(
                networks[name], optimizers[name], data, rows=rows, learning_rate=1e-4, config=config
            )
            if round_index > 1:
                elapsed[name].append(1000 * (time.perf_counter() - start_time))
    return {name: median(times) for name, times in elapsed.items()}


def main() -> None:
    """Print the table."""
    retain_freed_memory()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    print("| cell | hidden | fp32 ms | bf16 ms | x fp32 |\n|---|---:|---:|---:|---:|")
    for cell in CELLS:
        for hidden in WIDTHS:
            medians = measure_milliseconds(cell, hidden, rounds)
            ratio = medians["fp32"] / medians["bf16"]
            print(
                f"| {cell} | {hidden} | {medians['fp32']:.1f} | {medians['bf16']:.1f} "
                f"| {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
