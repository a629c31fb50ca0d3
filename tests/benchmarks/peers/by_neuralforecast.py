"""neuralforecast: its LSTM or GRU with one linear layer as decoder, like ours.

It draws random windows (a batch of them from 32 series a step) and scales each robustly, its
defaults; an epoch here has as many steps as ours.
"""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.models import GRU, LSTM
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
MODELS = {"lstm": LSTM, "gru": GRU}


def train(task: Task, timer: EpochTimer) -> dict[str, Any]:
    """Train, and return the facts of the report."""
    torch.set_num_threads(task.threads)
    steps = task.options.get("max_steps", task.steps_per_epoch)
    callback = build_lightning_callback(pytorch_lightning.Callback, timer, metric="valid_loss")
    model = MODELS[task.cell](
        h=HORIZON,
        input_size=LOOKBACK,
        encoder_n_layers=1,
        encoder_hidden_size=task.hidden_size,
        decoder_layers=1,
        decoder_hidden_size=task.hidden_size,
        loss=MAE(),
        learning_rate=task.learning_rate,
        max_steps=task.epochs * steps,
        val_check_steps=steps,
        windows_batch_size=task.batch_size,
        random_seed=task.seed,
        optimizer=torch.optim.AdamW,
        optimizer_kwargs={"weight_decay": WEIGHT_DECAY},
        lr_scheduler=torch.optim.lr_scheduler.LambdaLR,
        lr_scheduler_kwargs={"lr_lambda": task.compute_rate_factor},
        gradient_clip_val=MAX_GRAD_NORM,
        callbacks=[callback],
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
    )
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(task.lengths_S)), task.lengths_S),
            "ds": np.concatenate([np.arange(length) for length in task.lengths_S]),
            "y": task.values,  # noqa: PD011 - an array
        }
    )
    NeuralForecast(models=[model], freq=1).fit(frame, val_size=HORIZON)
    return {"parameters": sum(weight.numel() for weight in model.parameters())}


if __name__ == "__main__":
    run(train)
