"""Keras 3, on the backend that KERAS_BACKEND names: `fit` over padded arrays, masked.

What was traced in the epoch that isn't counted is kept: the weights and the optimizer's state are
set back instead.
"""

from typing import Any

import keras
from lesson import (
    CLIP_NORM,
    FINAL_RATE,
    WARMUP_SHARE,
    WEIGHT_DECAY,
    Clock,
    Lesson,
    read_lesson,
    report,
)

LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def limit_threads(lesson: Lesson) -> None:
    """Compute on so many threads."""
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(lesson.threads)
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(lesson.threads)
        tf.config.threading.set_inter_op_parallelism_threads(lesson.threads)


def made(lesson: Lesson) -> keras.Model:
    """Make the network and what trains it."""
    keras.utils.set_random_seed(lesson.seed)
    mean = lesson.pooling == "mean"
    inner = [LAYERS[lesson.cell](lesson.hidden, return_sequences=mean)]
    if lesson.ids:
        inner.insert(0, keras.layers.Embedding(lesson.ids, lesson.embedding, mask_zero=True))
    if mean:
        inner.append(keras.layers.GlobalAveragePooling1D())
    steps = None if lesson.ids else int(lesson.lengths_S.max())
    shape = (steps, *lesson.values.shape[1:])
    scores = keras.layers.Dense(lesson.classes)
    model = keras.Sequential([keras.Input(shape), *inner, scores])
    total = lesson.epochs * lesson.steps
    warmup = max(1, round(total * WARMUP_SHARE))
    rate = keras.optimizers.schedules.CosineDecay(
        lesson.rate / warmup,
        total - warmup,
        alpha=FINAL_RATE,
        warmup_target=lesson.rate,
        warmup_steps=warmup,
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, global_clipnorm=CLIP_NORM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


class Watcher(keras.callbacks.Callback):
    """Lets the clock run."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Take the validation's loss."""
        del epoch
        self.clock.epoch(logs["val_loss"])


def fit(model: keras.Model, lesson: Lesson, *, clock: Clock, epochs: int) -> None:
    """Train."""
    values, labels_S = lesson.padded(training=True)
    scored = lesson.padded(training=False)
    clock.start()
    model.fit(
        values,
        labels_S,
        batch_size=lesson.batch,
        epochs=epochs,
        validation_data=scored,
        validation_batch_size=256,
        verbose=0,
        callbacks=[Watcher(clock)],
    )


def blank(model: keras.Model, weights: list[Any]) -> None:
    """Set all back to where it began."""
    model.set_weights(weights)
    for variable in model.optimizer.variables:
        if variable.path.rpartition("/")[2] != "learning_rate":
            variable.assign(keras.ops.zeros_like(variable))


def main() -> None:
    """Learn a little, then in earnest, and report."""
    lesson = read_lesson()
    limit_threads(lesson)
    model = made(lesson)
    weights = model.get_weights()
    fit(model, lesson.few(), clock=Clock(), epochs=1)
    blank(model, weights)
    clock = Clock()
    fit(model, lesson, clock=clock, epochs=lesson.epochs)
    report(clock, {"parameters": model.count_params()})


if __name__ == "__main__":
    main()
