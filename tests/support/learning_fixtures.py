"""Small data sets, networks that are trained on them, and a checkpoint store that stops them."""

import numpy as np
import torch

from models.learning.batches import SequenceSet, Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, EpochResult, ValidationMetric, fit
from models.networks.config import ModelConfig
from models.networks.network import Network, build_network
from tests.support.model_parts import build_plain_spec

NO_CHECKPOINTS = CheckpointStore(load=lambda: None, save=lambda _: None)

CONFIG = TrainingConfig(
    epochs=4, patience=4, batch_size=8, learning_rate=0.02, checkpoint_every=0.0
)


class ProcessKilledError(Exception):
    """Stands for the end of a killed process."""


class CheckpointDisk:
    """Store the newest checkpoint in memory, and raise an error once enough are saved."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.saved = 0

    def open_store(self, *, max_saves: int = 10_000) -> CheckpointStore:
        last = self.saved + max_saves

        def save(data: bytes) -> None:
            self.state = data
            self.saved += 1
            if self.saved == last:
                raise ProcessKilledError

        return CheckpointStore(load=lambda: self.state, save=save)


def draw_sequences(count: int, kind: str, seed: int = 0) -> SequenceSet:
    """Draw sequences whose target is half the sum of their first channel, or its sign."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 7, count)
    stops = np.cumsum(sizes)
    values = draw.normal(size=(stops[-1], 2)).astype(np.float32)
    sums = np.add.reduceat(values[:, 0], stops - sizes)
    return to_device(
        values,
        Spans(stops - sizes, stops),
        target_spans=Spans(np.arange(count), np.arange(count) + 1),
        targets_M=((sums > 0) if kind == "category" else sums / 2).astype(np.float32),
        device=torch.device("cpu"),
    )


def build_small_network(cell: str = "gru", kind: str = "category") -> Network:
    config = ModelConfig(
        cell=cell, hidden_size=6, num_layers=2, pooling="attention", dropout=0.3, num_heads=2
    )
    return build_network(config, build_plain_spec(2, 2 if kind == "category" else 1), seed=3)


def train(
    network: Network,
    checkpoints: CheckpointStore = NO_CHECKPOINTS,
    *,
    kind: str = "category",
    config: TrainingConfig = CONFIG,
    results: list[EpochResult] | None = None,
    metric: ValidationMetric | None = None,
) -> list[EpochResult]:
    return fit(
        network,
        draw_sequences(36, kind),
        draw_sequences(16, kind, seed=1),
        config=config,
        checkpoints=checkpoints,
        callbacks=Callbacks((results if results is not None else []).append),
        metric=metric,
    )[1]


def assert_equal_weights(network: Network, expected: Network) -> None:
    for name, tensor in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
