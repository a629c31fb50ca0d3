"""Keras 3, on the backend of KERAS_BACKEND: `fit` over padded arrays, masked.

The model that was traced in the warm-up epoch is used again: its weights and the state of its
optimizer are reset.
"""

from typing import Any

import keras
from task import (
    FINAL_RATE,
    MAX_GRAD_NORM,
    WARMUP_SHARE,
    WEIGHT_DECAY,
    EpochTimer,
    Task,
    print_report,
    read_task,
)

LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def limit_threads(task: Task) -> None:
    """Limit the backend to the task's threads."""
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(task.threads)
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(task.threads)


def build_model(task: Task) -> keras.Model:
    """Build and compile the network."""
    keras.utils.set_random_seed(task.seed)
    is_mean = task.pooling == "mean"
    layers = [LAYERS[task.cell](task.hidden_size, return_sequences=is_mean)]
    if task.vocab_size:
        layers.insert(
            0, keras.layers.Embedding(task.vocab_size, task.embedding_dim, mask_zero=True)
        )
    if is_mean:
        layers.append(keras.layers.GlobalAveragePooling1D())
    steps = None if task.vocab_size else int(task.lengths_S.max())
    shape = (steps, *task.values.shape[1:])
    logits = keras.layers.Dense(task.classes)
    model = keras.Sequential([keras.Input(shape), *layers, logits])
    total = task.epochs * task.steps_per_epoch
    warmup = max(1, round(total * WARMUP_SHARE))
    rate = keras.optimizers.schedules.CosineDecay(
        task.learning_rate / warmup,
        total - warmup,
        alpha=FINAL_RATE,
        warmup_target=task.learning_rate,
        warmup_steps=warmup,
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, global_clipnorm=MAX_GRAD_NORM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


class TimerCallback(keras.callbacks.Callback):
    """End the timer's epochs."""

    def __init__(self, timer: EpochTimer) -> None:
        super().__init__()
        self.timer = timer

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record the validation loss."""
        del epoch
        self.timer.end_epoch(logs["val_loss"])


def fit(model: keras.Model, task: Task, *, timer: EpochTimer, epochs: int) -> None:
    """Train for `epochs` epochs over padded arrays."""
    values, labels_S = task.pad_sequences(training=True)
    validation = task.pad_sequences(training=False)
    timer.start()
    model.fit(
        values,
        labels_S,
        batch_size=task.batch_size,
        epochs=epochs,
        validation_data=validation,
        validation_batch_size=256,
        verbose=0,
        callbacks=[TimerCallback(timer)],
    )


def reset(model: keras.Model, weights: list[Any]) -> None:
    """Reset the weights and the optimizer's state, but not its learning rate."""
    model.set_weights(weights)
    for variable in model.optimizer.variables:
        if variable.path.rpartition("/")[2] != "learning_rate":
            variable.assign(keras.ops.zeros_like(variable))


def main() -> None:
    """Train on the warm-up task and on the whole task, and print the report."""
    task = read_task()
    limit_threads(task)
    model = build_model(task)
    weights = model.get_weights()
    fit(model, task.take_warmup_task(), timer=EpochTimer(), epochs=1)
    reset(model, weights)
    timer = EpochTimer()
    fit(model, task, timer=timer, epochs=task.epochs)
    print_report(timer, {"parameters": model.count_params()})


if __name__ == "__main__":
    main()
