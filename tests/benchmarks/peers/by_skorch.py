"""skorch: the tutorial's network in a NeuralNetClassifier, with its usual callbacks."""

from typing import Any

import numpy as np
import torch
from by_loop import Net
from lesson import CLIP_NORM, WEIGHT_DECAY, Clock, Lesson, run
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, TensorDataset


class Jagged(nn.Module):
    """The network over a batch whose padding is 0, which says how long its sequences are."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()
        self.net = Net(lesson, packed=False)
        self.jagged = not lesson.equal

    def forward(self, padded: Tensor) -> Tensor:
        """Return logits."""
        return self.net(padded, (padded != 0).sum(1).cpu() if self.jagged else None)


class Watcher(Callback):
    """Lets the clock run."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Begin."""
        del net
        self.clock.start()

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Take the validation's loss."""
        self.clock.epoch(net.history[-1, "valid_loss"])


def collate(rows: list[tuple[np.ndarray, int]]) -> tuple[Tensor, Tensor]:
    """Pad a batch to its longest."""
    values = [torch.as_tensor(row[0]) for row in rows]
    return pad_sequence(values, batch_first=True), torch.tensor([int(row[1]) for row in rows])


class Rows(Dataset):
    """Sequences with their classes, which skorch would take for several inputs if it saw a list."""

    def __init__(self, parts: list[np.ndarray], labels_S: np.ndarray) -> None:
        self.parts, self.labels_S = parts, labels_S

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.parts)

    def __getitem__(self, place: int) -> tuple[np.ndarray, int]:
        """Return a sequence and its class."""
        return self.parts[place], int(self.labels_S[place])


def rows_of(lesson: Lesson, *, training: bool) -> Any:
    """Hand out sequences with their classes, by number."""
    if not lesson.equal:
        return Rows(*lesson.sequences(training=training))
    return TensorDataset(*map(torch.from_numpy, lesson.padded(training=training)))


def learn(lesson: Lesson, clock: Clock) -> dict[str, Any]:
    """Train."""
    torch.set_num_threads(lesson.threads)
    torch.manual_seed(lesson.seed)
    scored = rows_of(lesson, training=False)
    jagged = {} if lesson.equal else {"collate_fn": collate}
    net = NeuralNetClassifier(
        Jagged,
        module__lesson=lesson,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=WEIGHT_DECAY,
        lr=lesson.rate,
        batch_size=lesson.batch,
        max_epochs=lesson.epochs,
        iterator_train__shuffle=True,
        iterator_valid__batch_size=256,
        **{
            f"iterator_{part}__{name}": f
            for part in ("train", "valid")
            for name, f in jagged.items()
        },
        train_split=predefined_split(scored),
        classes=list(range(lesson.classes)),
        verbose=0,
        callbacks=[
            GradientNormClipping(CLIP_NORM),
            LRScheduler(LambdaLR, lr_lambda=lesson.share, step_every="batch"),
            ("clock", Watcher(clock)),
        ],
    )
    net.fit(rows_of(lesson, training=True), None)
    return {"parameters": sum(weight.numel() for weight in net.module_.parameters())}


if __name__ == "__main__":
    run(learn)
