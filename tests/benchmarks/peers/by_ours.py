"""Our own loop, as the training stage calls it, over what the featurizer makes of such rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lesson import HORIZON, LOOKBACK, Clock, Lesson, run

from models.features.feature_spec import Numbers, Tokens
from models.learning.batches import SequenceSet, Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, fit
from models.learning.memory import keep_memory
from models.learning.precision import choose_precision
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.heads.config import HeadConfig
from models.networks.network import NetworkSpec, build_network, count_parameters

NOWHERE = CheckpointStore(load=lambda: None, save=lambda _: None)


def classified(lesson: Lesson) -> tuple[SequenceSet, SequenceSet, NetworkSpec]:
    """Lay out sequences with a class each."""
    kind = np.int32 if lesson.ids else np.float32
    values_NC = lesson.values.reshape(len(lesson.values), -1).astype(kind)
    rows = np.arange(len(lesson.labels_S))
    every = to_device(
        values_NC,
        Spans(lesson.starts_S, lesson.stops_S),
        targets_M=lesson.labels_S.astype(np.float32),
        target_spans=Spans(rows, rows + 1),
        device=torch.device("cpu"),
    )
    signal = Tokens(size=lesson.ids) if lesson.ids else Numbers(channels=values_NC.shape[1])
    face = NetworkSpec(features=signal, head=HeadSpec(kind="category", num_classes=lesson.classes))
    return taken(every, rows[: lesson.training]), taken(every, rows[lesson.training :]), face


def taken(every: SequenceSet, rows: np.ndarray) -> SequenceSet:
    """Take some of the sequences."""
    statics = type(every.statics)(*(beside[rows] for beside in every.statics))
    return replace(
        every,
        spans=every.spans.select(rows),
        target_spans=every.target_spans.select(rows),
        statics=statics,
    )


def foretold(lesson: Lesson) -> tuple[SequenceSet, SequenceSet, NetworkSpec]:
    """Lay out the windows of series, which share their steps."""
    last_S = lesson.stops_S - HORIZON
    ends_S = [
        np.arange(start + LOOKBACK, last - HORIZON + 1)
        for start, last in zip(lesson.starts_S, last_S, strict=True)
    ]
    ends = np.concatenate([*ends_S, last_S])
    every = to_device(
        lesson.values[:, None],
        Spans(ends - LOOKBACK, ends),
        targets_M=lesson.values,
        target_spans=Spans(ends, ends + HORIZON),
        device=torch.device("cpu"),
    )
    head = HeadConfig(normalization="nlinear", loss="mae")
    asked = HeadSpec(kind="forecast", horizon=HORIZON, config=head)
    face = NetworkSpec(features=Numbers(channels=1), head=asked, target_channel=0, num_observed=1)
    windows = np.arange(len(ends))
    cut = len(ends) - len(last_S)
    learned = windows[: lesson.options.get("steps", cut) * lesson.batch][:cut]
    return taken(every, learned), taken(every, windows[cut:]), face


def learn(lesson: Lesson, clock: Clock) -> dict[str, Any]:
    """Train."""
    torch.set_num_threads(lesson.threads)
    keep_memory()
    lay_out = classified if len(lesson.labels_S) else foretold
    training, validation, face = lay_out(lesson)
    model = ModelConfig(
        cell=lesson.cell,
        hidden_size=lesson.hidden,
        embedding_dim=lesson.embedding,
        pooling=lesson.pooling,
    )
    network = build_network(model, face, seed=lesson.seed)
    config = TrainingConfig(
        epochs=lesson.epochs,
        patience=lesson.epochs,
        batch_size=lesson.batch,
        learning_rate=lesson.rate,
        seed=lesson.seed,
        precision=lesson.options.get("precision", "auto"),
    )
    precision = choose_precision(config, model, torch.device("cpu"), None)
    clock.start()
    fit(
        network,
        training,
        validation,
        config=replace(config, precision=precision),
        checkpoints=NOWHERE,
        callbacks=Callbacks(lambda epoch: clock.epoch(epoch.validation_loss)),
    )
    return {"parameters": count_parameters(network), "precision": precision}


if __name__ == "__main__":
    run(learn)
