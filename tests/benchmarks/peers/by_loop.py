"""A loop as tutorials write it: a DataLoader, a padded batch, packed or not, and AdamW.

Shapes: B sequences, T steps of the longest, H units.
"""

from typing import Any

import torch
from lesson import CLIP_NORM, WEIGHT_DECAY, Clock, Lesson, run
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset

KERNELS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Net(nn.Module):
    """An embedding where there are ids, one recurrent layer, a pooling, a linear layer."""

    def __init__(self, lesson: Lesson, *, packed: bool = False) -> None:
        super().__init__()
        self.packed, self.pooling = packed, lesson.pooling
        self.embedding = nn.Embedding(lesson.ids, lesson.embedding) if lesson.ids else None
        inputs = lesson.embedding if lesson.ids else lesson.values.shape[1]
        self.rnn = KERNELS[lesson.cell](inputs, lesson.hidden, batch_first=True)
        self.scores = nn.Linear(lesson.hidden, lesson.classes)

    def forward(self, padded: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return logits."""
        steps_BTC = self.embedding(padded) if self.embedding is not None else padded
        if self.packed and lengths_B is not None:
            steps_BTC = pack_padded_sequence(
                steps_BTC, lengths_B, batch_first=True, enforce_sorted=False
            )
        outputs_BTH, _ = self.rnn(steps_BTC)
        if self.packed:
            outputs_BTH, _ = pad_packed_sequence(outputs_BTH, batch_first=True)
        return self.scores(self.pooled(outputs_BTH, lengths_B))

    def pooled(self, outputs_BTH: Tensor, lengths_B: Tensor | None) -> Tensor:
        """Return the last outputs, or their mean."""
        if lengths_B is None:
            return outputs_BTH[:, -1] if self.pooling == "last" else outputs_BTH.mean(1)
        if self.pooling == "last":
            return outputs_BTH[torch.arange(len(lengths_B)), lengths_B - 1]
        here_BT = torch.arange(outputs_BTH.shape[1]) < lengths_B[:, None]
        return (outputs_BTH * here_BT[:, :, None]).sum(1) / lengths_B[:, None]


def loader(lesson: Lesson, *, training: bool) -> DataLoader:
    """Hand out batches, padded to their longest where lengths differ."""
    sizes = {"batch_size": lesson.batch if training else 256, "shuffle": training}
    if lesson.equal:
        arrays = lesson.padded(training=training)
        return DataLoader(TensorDataset(*(torch.from_numpy(array) for array in arrays)), **sizes)
    parts, labels_S = lesson.sequences(training=training)
    items = [
        (torch.from_numpy(part), int(label)) for part, label in zip(parts, labels_S, strict=True)
    ]

    def collate(rows: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
        values = [row[0] for row in rows]
        lengths = torch.tensor([len(value) for value in values])
        padded = pad_sequence(values, batch_first=True)
        return padded, lengths, torch.tensor([row[1] for row in rows])

    return DataLoader(items, collate_fn=collate, **sizes)


@torch.no_grad()
def score(network: Net, batches: DataLoader) -> float:
    """Return the mean loss."""
    network.eval()
    total, rows = 0.0, 0
    for *given, answers in batches:
        loss = nn.functional.cross_entropy(network(*given), answers, reduction="sum")
        total, rows = total + loss.item(), rows + len(answers)
    return total / rows


def learn(lesson: Lesson, clock: Clock) -> dict[str, Any]:
    """Train."""
    torch.set_num_threads(lesson.threads)
    torch.manual_seed(lesson.seed)
    network = Net(lesson, packed=lesson.options["packed"])
    optimizer = torch.optim.AdamW(network.parameters(), lesson.rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lesson.share)
    batches, scored = loader(lesson, training=True), loader(lesson, training=False)
    clock.start()
    for _ in range(lesson.epochs):
        network.train()
        for *given, answers in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=lesson.options["bf16"]):
                loss = nn.functional.cross_entropy(network(*given), answers)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimizer.step()
            schedule.step()
        clock.epoch(score(network, scored))
    return {"parameters": sum(weight.numel() for weight in network.parameters())}


if __name__ == "__main__":
    run(learn)
