"""skorch: the network of `by_loop.py` in a NeuralNetClassifier, with its usual callbacks."""

from typing import Any

import numpy as np
import torch
from by_loop import TutorialNetwork
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from task import MAX_GRAD_NORM, WEIGHT_DECAY, EpochTimer, Task, run
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, TensorDataset


class PaddedNetwork(nn.Module):
    """The network over batches padded with 0, from which it counts the lengths."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network = TutorialNetwork(task, packed=False)
        self.is_padded = not task.has_equal_lengths

    def forward(self, padded: Tensor) -> Tensor:
        """Return logits."""
        return self.network(padded, (padded != 0).sum(1).cpu() if self.is_padded else None)


class TimerCallback(Callback):
    """Start the timer and end its epochs."""

    def __init__(self, timer: EpochTimer) -> None:
        self.timer = timer

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Start the first epoch."""
        del net
        self.timer.start()

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Record the validation loss."""
        self.timer.end_epoch(net.history[-1, "valid_loss"])


def collate(rows: list[tuple[np.ndarray, int]]) -> tuple[Tensor, Tensor]:
    """Pad a batch to its longest sequence."""
    values = [torch.as_tensor(row[0]) for row in rows]
    return pad_sequence(values, batch_first=True), torch.tensor([int(row[1]) for row in rows])


class SequenceDataset(Dataset):
    """Sequences with their classes; skorch would take a list for several inputs."""

    def __init__(self, parts: list[np.ndarray], labels_S: np.ndarray) -> None:
        self.parts, self.labels_S = parts, labels_S

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.parts)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return a sequence and its class."""
        return self.parts[index], int(self.labels_S[index])


def build_dataset(task: Task, *, training: bool) -> Any:
    """Build a data set of sequences with their classes."""
    if not task.has_equal_lengths:
        return SequenceDataset(*task.list_sequences(training=training))
    return TensorDataset(*map(torch.from_numpy, task.pad_sequences(training=training)))


def train(task: Task, timer: EpochTimer) -> dict[str, Any]:
    """Train, and return the facts of the report."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    validation = build_dataset(task, training=False)
    loader_options = {} if task.has_equal_lengths else {"collate_fn": collate}
    net = NeuralNetClassifier(
        PaddedNetwork,
        module__task=task,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=WEIGHT_DECAY,
        lr=task.learning_rate,
        batch_size=task.batch_size,
        max_epochs=task.epochs,
        iterator_train__shuffle=True,
        iterator_valid__batch_size=256,
        **{
            f"iterator_{part}__{name}": value
            for part in ("train", "valid")
            for name, value in loader_options.items()
        },
        train_split=predefined_split(validation),
        classes=list(range(task.classes)),
        verbose=0,
        callbacks=[
            GradientNormClipping(MAX_GRAD_NORM),
            LRScheduler(LambdaLR, lr_lambda=task.compute_rate_factor, step_every="batch"),
            ("timer", TimerCallback(timer)),
        ],
    )
    net.fit(build_dataset(task, training=True), None)
    return {"parameters": sum(weight.numel() for weight in net.module_.parameters())}


if __name__ == "__main__":
    run(train)
