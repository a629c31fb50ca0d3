"""The loop beside its floor and its peers, in one run: sequences a second, and ratios.

    python tests/benchmarks/training.py [ROUNDS]

Every contender trains the same LSTM for classes on the same sequences in batches of 64, taking
turns. `bare`: a loop over batches that were gathered beforehand, with nothing around it; `floor`:
the same with subnormal numbers taken for 0, as ours takes them.
`packed`: a DataLoader, pad_sequence and pack_padded_sequence, as tutorials have it; and `default
memory`: our loop, both in processes of their own whose memory goes back to the kernel after every
step, as it does where nobody says otherwise. Ratios above 1 say that ours is faster.

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
from models.learning.memory import keep_memory
from models.learning.step import draw_steps
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.network import Network, NetworkSpec, build_network

CLASSES = 6
EPOCHS = 3
CONFIG = TrainingConfig(epochs=EPOCHS, batch_size=64, seed=7)
SCORED = 8
SILENT = Callbacks(lambda _: None)
NOWHERE = CheckpointStore(load=lambda: None, save=lambda _: None)

SETS = {
    "short texts, 5 to 50 steps": (4_000, (5, 50), 64, 128),
    "windows of 52 steps": (8_000, (52, 52), 8, 128),
    "image rows, 28 steps": (6_000, (28, 28), 28, 128),
    "long series, 1,460 steps": (96, (1460, 1460), 1, 64),
}
"""Sequences, their shortest and longest, channels, units."""


def made(name: str) -> tuple[SequenceSet, ModelConfig, int]:
    """Draw a set."""
    rows, (least, most), channels, hidden = SETS[name]
    draw = np.random.default_rng(0)
    lengths = draw.integers(least, most + 1, rows)
    stops = np.cumsum(lengths)
    sequences = to_device(
        draw.normal(size=(stops[-1], channels)).astype(np.float32),
        Spans(stops - lengths, stops),
        targets_M=draw.integers(0, CLASSES, rows).astype(np.float32),
        target_spans=Spans(np.arange(rows), np.arange(rows) + 1),
        device=torch.device("cpu"),
    )
    return sequences, ModelConfig(cell="lstm", hidden_size=hidden, pooling="last"), channels


def network_of(model: ModelConfig, channels: int) -> Network:
    """Make the network that all but the packed loop train."""
    face = NetworkSpec(
        features=Numbers(channels=channels), head=HeadSpec(kind="category", num_classes=CLASSES)
    )
    return build_network(model, face, seed=0)


def ours(sequences: SequenceSet, model: ModelConfig, channels: int) -> Callable[[], None]:
    """Our loop, scored on a few sequences after each epoch."""
    network = network_of(model, channels)
    few = SequenceSet(
        sequences.values_NC,
        sequences.spans.select(np.arange(SCORED)),
        sequences.targets_M,
        sequences.target_spans.select(np.arange(SCORED)),
        type(sequences.statics)(*(beside[:SCORED] for beside in sequences.statics)),
    )

    def learn() -> None:
        fit(
            network,
            sequences,
            few,
            config=CONFIG,
            checkpoints=NOWHERE,
            callbacks=Callbacks(lambda _: None),
        )

    return learn


def bare(sequences: SequenceSet, model: ModelConfig, channels: int) -> Callable[[], None]:
    """The same network in the barest loop, its batches in memory before it begins."""
    network = network_of(model, channels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    batches = [gather(sequences, rows) for rows in draw_steps(sequences, CONFIG, epoch=0)]

    def learn() -> None:
        network.train()
        for batch in batches * EPOCHS:
            loss = network.loss(network.encode(batch.values_NC, batch.offsets), batch.targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return learn


def floor(sequences: SequenceSet, model: ModelConfig, channels: int) -> Callable[[], None]:
    """The barest loop that learns without subnormal numbers."""
    return flush_subnormals()(bare(sequences, model, channels))


class Packed(nn.Module):
    """The network as tutorials write it."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, batch_first=True)
        self.scores = nn.Linear(hidden, CLASSES)

    def forward(self, padded_BTC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return logits."""
        packed = pack_padded_sequence(padded_BTC, lengths_B, batch_first=True, enforce_sorted=False)
        _, (last_1BH, _) = self.lstm(packed)
        return self.scores(last_1BH[0])


def packed(sequences: SequenceSet, model: ModelConfig, channels: int) -> Callable[[], None]:
    """A DataLoader over single sequences, padded and packed."""
    places = sequences.spans
    items = [
        (sequences.values_NC[start:stop], int(answer))
        for start, stop, answer in zip(
            places.starts_S, places.stops_S, sequences.targets_M, strict=True
        )
    ]

    def collate(rows: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
        values = [row[0] for row in rows]
        lengths = torch.tensor([len(value) for value in values])
        return pad_sequence(values, batch_first=True), lengths, torch.tensor([r[1] for r in rows])

    loader = DataLoader(items, batch_size=64, shuffle=True, collate_fn=collate)
    network = Packed(channels, model.hidden_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def learn() -> None:
        for padded, lengths, answers in chain.from_iterable(repeat(loader, EPOCHS)):
            loss = nn.functional.cross_entropy(network(padded, lengths), answers)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return learn


WAYS = {"ours": ours, "bare": bare, "floor": floor, "packed": packed}


def seconds(contenders: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Let them take turns, after one that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, learn in contenders.items():
            began = time.perf_counter()
            learn()
            if turn:
                taken[name].append(time.perf_counter() - began)
    return taken


def default_memory(name: str, way: str, rounds: int) -> float:
    """Time a contender in a process of its own that gives memory back; return its median."""
    code = "import training, sys; print(training.alone(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, name, way, str(rounds)]
    folder = __file__.rpartition("/")[0]
    found = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return float(found.stdout)


def alone(name: str, way: str, rounds: str) -> float:
    """Return the median seconds of one contender."""
    made_one = WAYS[way](*made(name))
    return median(seconds({way: made_one}, int(rounds))[way])


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    keep_memory()
    print(f"{torch.get_num_threads()} threads, medians of {rounds} turns")
    print("| set | ours, sequences/s | of floor | x bare | x packed | x default memory |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in SETS:
        sequences, model, channels = made(name)
        contenders = {
            way: WAYS[way](sequences, model, channels) for way in ("ours", "floor", "bare")
        }
        taken = seconds(contenders, rounds)
        own = median(taken["ours"])
        ratios = [
            median(np.divide(taken["floor"], taken["ours"]).tolist()),
            median(np.divide(taken["bare"], taken["ours"]).tolist()),
            default_memory(name, "packed", rounds) / own,
            default_memory(name, "ours", rounds) / own,
        ]
        speed = EPOCHS * len(sequences) / own
        print(f"| {name} | {speed:,.0f} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


if __name__ == "__main__":
    main()
