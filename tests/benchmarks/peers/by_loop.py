"""A loop as in tutorials: a DataLoader, padded batches, packed or not, and AdamW.

Shapes: B sequences, T steps of the longest, H units.
"""

from typing import Any

import torch
from task import MAX_GRAD_NORM, WEIGHT_DECAY, EpochTimer, Task, run
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset

KERNELS = {"lstm": nn.LSTM, "gru": nn.GRU}


class TutorialNetwork(nn.Module):
    """An embedding if there are ids, one recurrent layer, a pooling, a linear layer."""

    def __init__(self, task: Task, *, packed: bool = False) -> None:
        super().__init__()
        self.packed, self.pooling = packed, task.pooling
        self.embedding = (
            nn.Embedding(task.vocab_size, task.embedding_dim) if task.vocab_size else None
        )
        inputs = task.embedding_dim if task.vocab_size else task.values.shape[1]
        self.rnn = KERNELS[task.cell](inputs, task.hidden_size, batch_first=True)
        self.logits = nn.Linear(task.hidden_size, task.classes)

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
        return self.logits(self.pool(outputs_BTH, lengths_B))

    def pool(self, outputs_BTH: Tensor, lengths_B: Tensor | None) -> Tensor:
        """Return the last outputs, or their mean."""
        if lengths_B is None:
            return outputs_BTH[:, -1] if self.pooling == "last" else outputs_BTH.mean(1)
        if self.pooling == "last":
            return outputs_BTH[torch.arange(len(lengths_B)), lengths_B - 1]
        is_step_BT = torch.arange(outputs_BTH.shape[1]) < lengths_B[:, None]
        return (outputs_BTH * is_step_BT[:, :, None]).sum(1) / lengths_B[:, None]


def build_loader(task: Task, *, training: bool) -> DataLoader:
    """Build a loader of batches, padded to their longest sequence if lengths differ."""
    options = {"batch_size": task.batch_size if training else 256, "shuffle": training}
    if task.has_equal_lengths:
        arrays = task.pad_sequences(training=training)
        return DataLoader(TensorDataset(*(torch.from_numpy(array) for array in arrays)), **options)
    parts, labels_S = task.list_sequences(training=training)
    items = [
        (torch.from_numpy(part), int(label)) for part, label in zip(parts, labels_S, strict=True)
    ]

    def collate(rows: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
        values = [row[0] for row in rows]
        lengths = torch.tensor([len(value) for value in values])
        padded = pad_sequence(values, batch_first=True)
        return padded, lengths, torch.tensor([row[1] for row in rows])

    return DataLoader(items, collate_fn=collate, **options)


@torch.no_grad()
def compute_loss(network: TutorialNetwork, batches: DataLoader) -> float:
    """Return the mean loss over all rows."""
    network.eval()
    total, rows = 0.0, 0
    for *inputs, targets in batches:
        loss = nn.functional.cross_entropy(network(*inputs), targets, reduction="sum")
        total, rows = total + loss.item(), rows + len(targets)
    return total / rows


def train(task: Task, timer: EpochTimer) -> dict[str, Any]:
    """Train, and return the facts of the report."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    network = TutorialNetwork(task, packed=task.options["packed"])
    optimizer = torch.optim.AdamW(
        network.parameters(), task.learning_rate, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, task.compute_rate_factor)
    batches, validation = build_loader(task, training=True), build_loader(task, training=False)
    timer.start()
    for _ in range(task.epochs):
        network.train()
        for *inputs, targets in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=task.options["bf16"]):
                loss = nn.functional.cross_entropy(network(*inputs), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            schedule.step()
        timer.end_epoch(compute_loss(network, validation))
    return {"parameters": sum(weight.numel() for weight in network.parameters())}


if __name__ == "__main__":
    run(train)
