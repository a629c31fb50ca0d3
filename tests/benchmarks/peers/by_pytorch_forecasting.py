"""pytorch-forecasting: its RecurrentNetwork, which forecasts each step from the previous one.

Its learning rate is constant, because it does not take a decaying schedule.
"""

import logging
import warnings
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
from pytorch_forecasting import RecurrentNetwork, TimeSeriesDataSet
from pytorch_forecasting.data.encoders import TorchNormalizer
from pytorch_forecasting.metrics import MAE
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

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


def train(task: Task, timer: EpochTimer) -> dict[str, Any]:
    """Train, and return the facts of the report."""
    torch.set_num_threads(task.threads)
    lightning.seed_everything(task.seed, verbose=False)
    frame = pd.DataFrame(
        {
            "series": np.repeat(np.arange(len(task.lengths_S)), task.lengths_S).astype(str),
            "step": np.concatenate([np.arange(length) for length in task.lengths_S]),
            "steps_left": np.concatenate([np.arange(length)[::-1] for length in task.lengths_S]),
            "y": task.values,  # noqa: PD011 - an array
        }
    )
    training = TimeSeriesDataSet(
        frame[frame["steps_left"] >= HORIZON].drop(columns="steps_left"),
        time_idx="step",
        target="y",
        group_ids=["series"],
        time_varying_unknown_reals=["y"],
        min_encoder_length=LOOKBACK,
        max_encoder_length=LOOKBACK,
        max_prediction_length=HORIZON,
        target_normalizer=TorchNormalizer(method="identity"),
    )
    validation = TimeSeriesDataSet.from_dataset(
        training, frame.drop(columns="steps_left"), predict=True, stop_randomization=True
    )
    network = RecurrentNetwork.from_dataset(
        training,
        cell_type=task.cell.upper(),
        hidden_size=task.hidden_size,
        rnn_layers=1,
        dropout=0.0,
        learning_rate=task.learning_rate,
        weight_decay=WEIGHT_DECAY,
        optimizer="adamw",
        loss=MAE(),
        log_interval=-1,
        reduce_on_plateau_patience=1000,
    )
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        accelerator="cpu",
        callbacks=[build_lightning_callback(lightning.Callback, timer, metric="val_loss")],
        gradient_clip_val=MAX_GRAD_NORM,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        num_sanity_val_steps=0,
        limit_train_batches=task.options.get("max_steps", task.steps_per_epoch),
    )
    trainer.fit(
        network,
        training.to_dataloader(train=True, batch_size=task.batch_size, num_workers=0),
        validation.to_dataloader(train=False, batch_size=256, num_workers=0),
    )
    return {"parameters": sum(weight.numel() for weight in network.parameters())}


if __name__ == "__main__":
    run(train)
