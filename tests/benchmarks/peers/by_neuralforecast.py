"""neuralforecast: its LSTM or GRU, whose decoder is one linear layer, as ours is.

It draws windows at random (so many a step, of 32 series) and scales each robustly, as it does
where nothing is said; an epoch here is as many steps as ours has.
"""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning
import torch
from lesson import CLIP_NORM, HORIZON, LOOKBACK, WEIGHT_DECAY, Clock, Lesson, run, watcher
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.models import GRU, LSTM

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
MODELS = {"lstm": LSTM, "gru": GRU}


def learn(lesson: Lesson, clock: Clock) -> dict[str, Any]:
    """Train."""
    torch.set_num_threads(lesson.threads)
    steps = lesson.options.get("steps", lesson.steps)
    callback = watcher(pytorch_lightning.Callback, clock, score="valid_loss")
    model = MODELS[lesson.cell](
        h=HORIZON,
        input_size=LOOKBACK,
        encoder_n_layers=1,
        encoder_hidden_size=lesson.hidden,
        decoder_layers=1,
        decoder_hidden_size=lesson.hidden,
        loss=MAE(),
        learning_rate=lesson.rate,
        max_steps=lesson.epochs * steps,
        val_check_steps=steps,
        windows_batch_size=lesson.batch,
        random_seed=lesson.seed,
        optimizer=torch.optim.AdamW,
        optimizer_kwargs={"weight_decay": WEIGHT_DECAY},
        lr_scheduler=torch.optim.lr_scheduler.LambdaLR,
        lr_scheduler_kwargs={"lr_lambda": lesson.share},
        gradient_clip_val=CLIP_NORM,
        callbacks=[callback],
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
    )
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(lesson.lengths_S)), lesson.lengths_S),
            "ds": np.concatenate([np.arange(length) for length in lesson.lengths_S]),
            "y": lesson.values,  # noqa: PD011 - an array
        }
    )
    NeuralForecast(models=[model], freq=1).fit(frame, val_size=HORIZON)
    return {"parameters": sum(weight.numel() for weight in model.parameters())}


if __name__ == "__main__":
    run(learn)
