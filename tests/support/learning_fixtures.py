"""Small sets to learn from, networks that learn them, and a plug that can be pulled meanwhile."""

import numpy as np
import torch

from models.learning.batches import Places, SequenceSet, to_device
from models.learning.config import TrainingConfig
from models.learning.loop import Checkpoints, Epoch, Judge, Watch, fit
from models.networks.config import ModelConfig
from models.networks.network import Network, build
from tests.support.model_parts import face

NOWHERE = Checkpoints(load=lambda: None, save=lambda _: None)

CONFIG = TrainingConfig(
    epochs=4, patience=4, batch_size=8, learning_rate=0.02, checkpoint_every=0.0
)


class PulledPlugError(Exception):
    """The process ends here."""


class Disk:
    """Keeps the newest checkpoint; the plug is pulled after some of them."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.saved = 0

    def checkpoints(self, *, lives: int = 10_000) -> Checkpoints:
        last = self.saved + lives

        def save(data: bytes) -> None:
            self.state = data
            self.saved += 1
            if self.saved == last:
                raise PulledPlugError

        return Checkpoints(load=lambda: self.state, save=save)


def sequences(count: int, goal: str, seed: int = 0) -> SequenceSet:
    """Sequences whose answer is the sum of their first channel, or its sign."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 7, count)
    stops = np.cumsum(sizes)
    values = draw.normal(size=(stops[-1], 2)).astype(np.float32)
    sums = np.add.reduceat(values[:, 0], stops - sizes)
    return to_device(
        values,
        Places(stops - sizes, stops),
        answer_places=Places(np.arange(count), np.arange(count) + 1),
        answers_M=((sums > 0) if goal == "category" else sums / 2).astype(np.float32),
        device=torch.device("cpu"),
    )


def new_network(cell: str = "gru", goal: str = "category") -> Network:
    config = ModelConfig(
        cell=cell, hidden_size=6, num_layers=2, pooling="attention", dropout=0.3, num_heads=2
    )
    return build(config, face(2, 2 if goal == "category" else 1), seed=3)


def train(
    network: Network,
    checkpoints: Checkpoints = NOWHERE,
    *,
    goal: str = "category",
    config: TrainingConfig = CONFIG,
    seen: list[Epoch] | None = None,
    judge: Judge | None = None,
) -> list[Epoch]:
    return fit(
        network,
        sequences(36, goal),
        sequences(16, goal, seed=1),
        config=config,
        checkpoints=checkpoints,
        watch=Watch((seen if seen is not None else []).append),
        judge=judge,
    )[1]


def assert_equal_weights(found: Network, expected: Network) -> None:
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
