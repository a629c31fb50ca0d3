"""The training loop, compared with its floor and with common practice: sequences a second, ratios.

    python tests/benchmarks/training.py [ROUNDS]

Every contender trains the same LSTM for classes on the same sequences in batches of 64,
alternately. `bare`: a minimal loop over batches that were gathered beforehand; `floor`: the same
with subnormal numbers flushed to 0, as in our loop.
`packed`: a DataLoader, pad_sequence and pack_padded_sequence, as in tutorials; and `default
memory`: our loop, both in processes of their own whose freed memory goes back to the kernel after
every step, as is the default. Ratios above 1 mean that ours is faster.

Shapes: S sequences, N steps of all, C channels.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain, repeat
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

from models.features.feature_spec import Numbers
from models.learning.batches import SequenceSet, Spans, gather, to_device
from models.learning.config import TrainingConfig
from models.learning.flush_denormals import flush_subnormals
from models.learning.loop import Callbacks, CheckpointStore, fit
from models.learning.memory import retain_freed_memory
from models.learning.step import draw_steps
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.network import Network, NetworkSpec, build_network

CLASSES = 6
EPOCHS = 3
CONFIG = TrainingConfig(epochs=EPOCHS, batch_size=64, seed=7)
SCORED = 8
NO_CHECKPOINTS = CheckpointStore(load=lambda: None, save=lambda _: None)

SETS = {
    "short texts, 5 to 50 steps": (4_000, (5, 50), 64, 128),
    "windows of 52 steps": (8_000, (52, 52), 8, 128),
    "image rows, 28 steps": (6_000, (28, 28), 28, 128),
    "long series, 1,460 steps": (96, (1460, 1460), 1, 64),
}
"""Sequences, their shortest and longest, channels, units."""


def draw_set(name: str) -> tuple[SequenceSet, ModelConfig, int]:
    """Draw a set; return its sequences, model and channels."""
    rows, (shortest, longest), channels, hidden = SETS[name]
    draw = np.random.default_rng(0)
    lengths = draw.integers(shortest, longest + 1, rows)
    stops = np.cumsum(lengths)
    sequences = to_device(
        draw.normal(size=(stops[-1], channels)).astype(np.float32),
        Spans(stops - lengths, stops),
        targets_M=draw.integers(0, CLASSES, rows).astype(np.float32),
        target_spans=Spans(np.arange(rows), np.arange(rows) + 1),
        device=torch.device("cpu"),
    )
    return sequences, ModelConfig(cell="lstm", hidden_size=hidden, pooling="last"), channels


def build_recurrent_network(model: ModelConfig, channels: int) -> Network:
    """Build the network that all but the packed loop train."""
    spec = NetworkSpec(
        features=Numbers(channels=channels), head=HeadSpec(kind="category", num_classes=CLASSES)
    )
    return build_network(model, spec, seed=0)


def build_our_loop(sequences: SequenceSet, model: ModelConfig, channels: int) -> Callable[[], None]:
    """Build our loop, which is scored on a few sequences after each epoch."""
    network = build_recurrent_network(model, channels)
    scored = SequenceSet(
        sequences.values_NC,
        sequences.spans.select(np.arange(SCORED)),
        sequences.targets_M,
        sequences.target_spans.select(np.arange(SCORED)),
        type(sequences.statics)(*(values[:SCORED] for values in sequences.statics)),
    )

    def train() -> None:
        fit(
            network,
            sequences,
            scored,
            config=CONFIG,
            checkpoints=NO_CHECKPOINTS,
            callbacks=Callbacks(lambda _: None),
        )

    return train


def build_bare_loop(
    sequences: SequenceSet, model: ModelConfig, channels: int
) -> Callable[[], None]:
    """Build a minimal loop over the same network, with its batches in memory beforehand."""
    network = build_recurrent_network(model, channels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    batches = [gather(sequences, rows) for rows in draw_steps(sequences, CONFIG, epoch=0)]

    def train() -> None:
        network.train()
        for batch in batches * EPOCHS:
            loss = network.loss(network.encode(batch.values_NC, batch.offsets), batch.targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return train


def build_floor_loop(
    sequences: SequenceSet, model: ModelConfig, channels: int
) -> Callable[[], None]:
    """Build the minimal loop without subnormal numbers."""
    return flush_subnormals()(build_bare_loop(sequences, model, channels))


class PackedNetwork(nn.Module):
    """An LSTM and a linear layer, as in tutorials."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, batch_first=True)
        self.scores = nn.Linear(hidden, CLASSES)

    def forward(self, padded_BTC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return logits."""
        packed = pack_padded_sequence(padded_BTC, lengths_B, batch_first=True, enforce_sorted=False)
        _, (last_1BH, _) = self.lstm(packed)
        return self.scores(last_1BH[0])


def build_packed_loop(
    sequences: SequenceSet, model: ModelConfig, channels: int
) -> Callable[[], None]:
    """Build a loop over a DataLoader of single sequences, padded and packed."""
    spans = sequences.spans
    items = [
        (sequences.values_NC[start:stop], int(target))
        for start, stop, target in zip(
            spans.starts_S, spans.stops_S, sequences.targets_M, strict=True
        )
    ]

    def collate(rows: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
        values = [row[0] for row in rows]
        lengths = torch.tensor([len(value) for value in values])
        return pad_sequence(values, batch_first=True), lengths, torch.tensor([r[1] for r in rows])

    loader = DataLoader(items, batch_size=64, shuffle=True, collate_fn=collate)
    network = PackedNetwork(channels, model.hidden_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def train() -> None:
        for padded, lengths, targets in chain.from_iterable(repeat(loader, EPOCHS)):
            loss = nn.functional.cross_entropy(network(padded, lengths), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return train


LOOPS = {
    "ours": build_our_loop,
    "bare": build_bare_loop,
    "floor": build_floor_loop,
    "packed": build_packed_loop,
}


def time_alternately(
    contenders: dict[str, Callable[[], None]], rounds: int
) -> dict[str, list[float]]:
    """Run the contenders alternately, after a round that is not counted; return their seconds."""
    elapsed: dict[str, list[float]] = {name: [] for name in contenders}
    for round_index in range(rounds + 1):
        for name, train in contenders.items():
            start_time = time.perf_counter()
            train()
            if round_index:
                elapsed[name].append(time.perf_counter() - start_time)
    return elapsed


def time_with_default_memory(name: str, loop: str, rounds: int) -> float:
    """Return the median seconds of a loop in a process of its own that does not retain memory."""
    code = "import training, sys; print(training.time_loop(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, name, loop, str(rounds)]
    folder = __file__.rpartition("/")[0]
    result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return float(result.stdout)


def time_loop(name: str, loop: str, rounds: str) -> float:
    """Return the median seconds of one loop."""
    train = LOOPS[loop](*draw_set(name))
    return median(time_alternately({loop: train}, int(rounds))[loop])


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    retain_freed_memory()
    print(f"{torch.get_num_threads()} threads, medians of {rounds} rounds")
    print("| set | ours, sequences/s | of floor | x bare | x packed | x default memory |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in SETS:
        sequences, model, channels = draw_set(name)
        contenders = {
            loop: LOOPS[loop](sequences, model, channels) for loop in ("ours", "floor", "bare")
        }
        elapsed = time_alternately(contenders, rounds)
        ours = median(elapsed["ours"])
        ratios = [
            median(np.divide(elapsed["floor"], elapsed["ours"]).tolist()),
            median(np.divide(elapsed["bare"], elapsed["ours"]).tolist()),
            time_with_default_memory(name, "packed", rounds) / ours,
            time_with_default_memory(name, "ours", rounds) / ours,
        ]
        speed = EPOCHS * len(sequences) / ours
        print(f"| {name} | {speed:,.0f} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


if __name__ == "__main__":
    main()
