"""Small data sets, networks trained on them, and a process that can be killed meanwhile."""

import numpy as np
import torch

from models.learning.batches import SequenceSet, Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, EpochResult, ValidationMetric, fit
from models.networks.config import ModelConfig
from models.networks.network import Network, build_network
from tests.support.model_parts import face

NOWHERE = CheckpointStore(load=lambda: None, save=lambda _: None)

CONFIG = TrainingConfig(
    epochs=4, patience=4, batch_size=8, learning_rate=0.02, checkpoint_every=0.0
)


class PulledPlugError(Exception):
    """The process is killed here."""


class Disk:
    """Keeps the newest checkpoint; the process is killed after `lives` of them."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.saved = 0

    def checkpoints(self, *, lives: int = 10_000) -> CheckpointStore:
        last = self.saved + lives

        def save(data: bytes) -> None:
            self.state = data
            self.saved += 1
            if self.saved == last:
                raise PulledPlugError

        return CheckpointStore(load=lambda: self.state, save=save)


def sequences(count: int, goal: str, seed: int = 0) -> SequenceSet:
    """Sequences whose target is the sum of their first channel, or its sign."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 7, count)
    stops = np.cumsum(sizes)
    values = draw.normal(size=(stops[-1], 2)).astype(np.float32)
    sums = np.add.reduceat(values[:, 0], stops - sizes)
    return to_device(
        values,
        Spans(stops - sizes, stops),
        target_spans=Spans(np.arange(count), np.arange(count) + 1),
        targets_M=((sums > 0) if goal == "category" else sums / 2).astype(np.float32),
        device=torch.device("cpu"),
    )


def new_network(cell: str = "gru", goal: str = "category") -> Network:
    config = ModelConfig(
        cell=cell, hidden_size=6, num_layers=2, pooling="attention", dropout=0.3, num_heads=2
    )
    return build_network(config, face(2, 2 if goal == "category" else 1), seed=3)


def train(
    network: Network,
    checkpoints: CheckpointStore = NOWHERE,
    *,
    goal: str = "category",
    config: TrainingConfig = CONFIG,
    seen: list[EpochResult] | None = None,
    metric: ValidationMetric | None = None,
) -> list[EpochResult]:
    return fit(
        network,
        sequences(36, goal),
        sequences(16, goal, seed=1),
        config=config,
        checkpoints=checkpoints,
        callbacks=Callbacks((seen if seen is not None else []).append),
        metric=metric,
    )[1]


def assert_equal_weights(found: Network, expected: Network) -> None:
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
