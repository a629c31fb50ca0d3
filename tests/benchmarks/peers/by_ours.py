"""Our training loop, called as in the train stage, over features as the featurizer makes them."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from task import HORIZON, LOOKBACK, EpochTimer, Task, run

from models.features.feature_spec import Numbers, Tokens
from models.learning.batches import SequenceSet, Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, fit
from models.learning.memory import retain_freed_memory
from models.learning.precision import choose_precision
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.heads.config import HeadConfig
from models.networks.network import NetworkSpec, build_network, count_parameters

NO_CHECKPOINTS = CheckpointStore(load=lambda: None, save=lambda _: None)


def build_classification(task: Task) -> tuple[SequenceSet, SequenceSet, NetworkSpec]:
    """Return training and validation sequences with a class each, and the network's spec."""
    kind = np.int32 if task.vocab_size else np.float32
    values_NC = task.values.reshape(len(task.values), -1).astype(kind)
    rows = np.arange(len(task.labels_S))
    data = to_device(
        values_NC,
        Spans(task.starts_S, task.stops_S),
        targets_M=task.labels_S.astype(np.float32),
        target_spans=Spans(rows, rows + 1),
        device=torch.device("cpu"),
    )
    features = (
        Tokens(size=task.vocab_size) if task.vocab_size else Numbers(channels=values_NC.shape[1])
    )
    spec = NetworkSpec(features=features, head=HeadSpec(kind="category", num_classes=task.classes))
    return (
        select_rows(data, rows[: task.training_rows]),
        select_rows(data, rows[task.training_rows :]),
        spec,
    )


def select_rows(data: SequenceSet, rows: np.ndarray) -> SequenceSet:
    """Return some of the sequences."""
    statics = type(data.statics)(*(values[rows] for values in data.statics))
    return replace(
        data,
        spans=data.spans.select(rows),
        target_spans=data.target_spans.select(rows),
        statics=statics,
    )


def build_forecast(task: Task) -> tuple[SequenceSet, SequenceSet, NetworkSpec]:
    """Return training and validation windows, which share their steps, and the network's spec."""
    last_S = task.stops_S - HORIZON
    ends_S = [
        np.arange(start + LOOKBACK, last - HORIZON + 1)
        for start, last in zip(task.starts_S, last_S, strict=True)
    ]
    ends = np.concatenate([*ends_S, last_S])
    data = to_device(
        task.values[:, None],
        Spans(ends - LOOKBACK, ends),
        targets_M=task.values,
        target_spans=Spans(ends, ends + HORIZON),
        device=torch.device("cpu"),
    )
    head = HeadConfig(normalization="nlinear", loss="mae")
    head_spec = HeadSpec(kind="forecast", horizon=HORIZON, config=head)
    spec = NetworkSpec(
        features=Numbers(channels=1), head=head_spec, target_channels=(0,), num_observed=1
    )
    windows = np.arange(len(ends))
    training_count = len(ends) - len(last_S)
    training = windows[: task.options.get("max_steps", training_count) * task.batch_size][
        :training_count
    ]
    return select_rows(data, training), select_rows(data, windows[training_count:]), spec


def train(task: Task, timer: EpochTimer) -> dict[str, Any]:
    """Train, and return the facts of the report."""
    torch.set_num_threads(task.threads)
    retain_freed_memory()
    build = build_classification if len(task.labels_S) else build_forecast
    training, validation, spec = build(task)
    model = ModelConfig(
        cell=task.cell,
        hidden_size=task.hidden_size,
        embedding_dim=task.embedding_dim,
        pooling=task.pooling,
    )
    network = build_network(model, spec, seed=task.seed)
    config = TrainingConfig(
        epochs=task.epochs,
        patience=task.epochs,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        seed=task.seed,
        precision=task.options.get("precision", "auto"),
    )
    precision = choose_precision(config, model, torch.device("cpu"), None)
    timer.start()
    fit(
        network,
        training,
        validation,
        config=replace(config, precision=precision),
        checkpoints=NO_CHECKPOINTS,
        callbacks=Callbacks(lambda epoch: timer.end_epoch(epoch.validation_loss)),
    )
    return {"parameters": count_parameters(network), "precision": precision}


if __name__ == "__main__":
    run(train)
