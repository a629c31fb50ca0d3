"""darts: its BlockRNNModel over the same windows, with one linear layer as decoder, like ours."""

import logging
from typing import Any

import numpy as np
import pytorch_lightning
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel
from task import (
    HORIZON,
    LOOKBACK,
    MAX_GRAD_NORM,
    WEIGHT_DECAY,
    EpochTimer,
    Task,
    build_lightning_callback,
    run,
)

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
MODELS = {"lstm": "LSTM", "gru": "GRU"}


def train(task: Task, timer: EpochTimer) -> dict[str, Any]:
    """Train, and return the facts of the report."""
    torch.set_num_threads(task.threads)
    callback = build_lightning_callback(pytorch_lightning.Callback, timer, metric="val_loss")
    model = BlockRNNModel(
        input_chunk_length=LOOKBACK,
        output_chunk_length=HORIZON,
        model=MODELS[task.cell],
        hidden_dim=task.hidden_size,
        batch_size=task.batch_size,
        n_epochs=task.epochs,
        loss_fn=torch.nn.L1Loss(),
        optimizer_cls=torch.optim.AdamW,
        optimizer_kwargs={"lr": task.learning_rate, "weight_decay": WEIGHT_DECAY},
        lr_scheduler_cls=torch.optim.lr_scheduler.LambdaLR,
        lr_scheduler_kwargs={"lr_lambda": task.compute_rate_factor, "interval": "step"},
        random_state=task.seed,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "callbacks": [callback],
            "gradient_clip_val": MAX_GRAD_NORM,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "logger": False,
            "num_sanity_val_steps": 0,
            "limit_train_batches": task.options.get("max_steps", task.steps_per_epoch),
        },
    )
    parts = np.split(task.values, task.stops_S[:-1])
    training = [TimeSeries.from_values(part[:-HORIZON]) for part in parts]
    validation = [TimeSeries.from_values(part[-LOOKBACK - HORIZON :]) for part in parts]
    model.fit(training, val_series=validation, verbose=False)
    return {"parameters": sum(weight.numel() for weight in model.model.parameters())}


if __name__ == "__main__":
    run(train)
