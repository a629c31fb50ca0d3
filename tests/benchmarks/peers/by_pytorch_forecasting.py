"""pytorch-forecasting: its RecurrentNetwork, which foretells each step from the one before.

Its rate stays as it is, for it takes no schedule that falls.
"""

import logging
import warnings
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
from lesson import CLIP_NORM, HORIZON, LOOKBACK, WEIGHT_DECAY, Clock, Lesson, run, watcher
from pytorch_forecasting import RecurrentNetwork, TimeSeriesDataSet
from pytorch_forecasting.data.encoders import TorchNormalizer
from pytorch_forecasting.metrics import MAE

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


def learn(lesson: Lesson, clock: Clock) -> dict[str, Any]:
    """Train."""
    torch.set_num_threads(lesson.threads)
    lightning.seed_everything(lesson.seed, verbose=False)
    frame = pd.DataFrame(
        {
            "series": np.repeat(np.arange(len(lesson.lengths_S)), lesson.lengths_S).astype(str),
            "step": np.concatenate([np.arange(length) for length in lesson.lengths_S]),
            "left": np.concatenate([np.arange(length)[::-1] for length in lesson.lengths_S]),
            "y": lesson.values,  # noqa: PD011 - an array
        }
    )
    learned = TimeSeriesDataSet(
        frame[frame["left"] >= HORIZON].drop(columns="left"),
        time_idx="step",
        target="y",
        group_ids=["series"],
        time_varying_unknown_reals=["y"],
        min_encoder_length=LOOKBACK,
        max_encoder_length=LOOKBACK,
        max_prediction_length=HORIZON,
        target_normalizer=TorchNormalizer(method="identity"),
    )
    scored = TimeSeriesDataSet.from_dataset(
        learned, frame.drop(columns="left"), predict=True, stop_randomization=True
    )
    network = RecurrentNetwork.from_dataset(
        learned,
        cell_type=lesson.cell.upper(),
        hidden_size=lesson.hidden,
        rnn_layers=1,
        dropout=0.0,
        learning_rate=lesson.rate,
        weight_decay=WEIGHT_DECAY,
        optimizer="adamw",
        loss=MAE(),
        log_interval=-1,
        reduce_on_plateau_patience=1000,
    )
    trainer = lightning.Trainer(
        max_epochs=lesson.epochs,
        accelerator="cpu",
        callbacks=[watcher(lightning.Callback, clock, score="val_loss")],
        gradient_clip_val=CLIP_NORM,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        num_sanity_val_steps=0,
        limit_train_batches=lesson.options.get("steps", lesson.steps),
    )
    trainer.fit(
        network,
        learned.to_dataloader(train=True, batch_size=lesson.batch, num_workers=0),
        scored.to_dataloader(train=False, batch_size=256, num_workers=0),
    )
    return {"parameters": sum(weight.numel() for weight in network.parameters())}


if __name__ == "__main__":
    run(learn)
