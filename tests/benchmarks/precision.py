"""bf16 beside fp32 on this CPU: whole steps of learning, cell by cell and width by width.

    python tests/benchmarks/precision.py [TURNS]

Both take turns on the same batch: 64 sequences of 100 steps of 32 numbers, one layer. Ratios above
1 say that bf16 is faster. `models/learning/precision.py` decides by what is printed here.
"""

import sys
import time
from statistics import median

import numpy as np
import torch

from models.features.feature_spec import Numbers
from models.learning.batches import SequenceSet, Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.memory import keep_memory
from models.learning.step import take_step
from models.learning.weights import Optimizer
from models.networks.config import ModelConfig
from models.networks.families import CellName
from models.networks.heads.build import HeadSpec
from models.networks.network import NetworkSpec, build_network

BATCH, STEPS, CHANNELS, CLASSES = 64, 100, 32, 4
WIDTHS = (64, 128, 256, 512)
CELLS: tuple[CellName, ...] = (
    "lstm", "gru", "mingru", "minlstm", "qrnn", "sru", "mlstm", "slstm", "tcn", "rnn",
)  # fmt: skip


def made() -> SequenceSet:
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


def milliseconds(cell: CellName, hidden: int, turns: int) -> dict[str, float]:
    """Time steps of both precisions, which take turns."""
    data, rows = made(), np.arange(BATCH)
    face = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=CLASSES)
    )
    networks = {
        name: build_network(ModelConfig(cell=cell, hidden_size=hidden), face, seed=0).train()
        for name in ("fp32", "bf16")
    }
    learners = {name: Optimizer(net, TrainingConfig()) for name, net in networks.items()}
    taken: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(turns + 2):
        for name in ("fp32", "bf16"):
            config = TrainingConfig(precision="bf16" if name == "bf16" else "fp32")
            began = time.perf_counter()
            take_step(networks[name], learners[name], data, rows=rows, rate=1e-4, config=config)
            if turn > 1:
                taken[name].append(1000 * (time.perf_counter() - began))
    return {name: median(times) for name, times in taken.items()}


def main() -> None:
    """Print the table."""
    keep_memory()
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    print("| cell | width | fp32 ms | bf16 ms | x fp32 |\n|---|---:|---:|---:|---:|")
    for cell in CELLS:
        for hidden in WIDTHS:
            found = milliseconds(cell, hidden, turns)
            ratio = found["fp32"] / found["bf16"]
            print(
                f"| {cell} | {hidden} | {found['fp32']:.1f} | {found['bf16']:.1f} | {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
