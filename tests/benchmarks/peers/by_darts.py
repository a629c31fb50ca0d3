"""darts: its BlockRNNModel over the same windows; its decoder is one linear layer, as ours is."""

import logging
from typing import Any

import numpy as np
import pytorch_lightning
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel
from lesson import CLIP_NORM, HORIZON, LOOKBACK, WEIGHT_DECAY, Clock, Lesson, run, watcher

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
MODELS = {"lstm": "LSTM", "gru": "GRU"}


def learn(lesson: Lesson, clock: Clock) -> dict[str, Any]:
    """Train."""
    torch.set_num_threads(lesson.threads)
    callback = watcher(pytorch_lightning.Callback, clock, score="val_loss")
    model = BlockRNNModel(
        input_chunk_length=LOOKBACK,
        output_chunk_length=HORIZON,
        model=MODELS[lesson.cell],
        hidden_dim=lesson.hidden,
        batch_size=lesson.batch,
        n_epochs=lesson.epochs,
        loss_fn=torch.nn.L1Loss(),
        optimizer_cls=torch.optim.AdamW,
        optimizer_kwargs={"lr": lesson.rate, "weight_decay": WEIGHT_DECAY},
        lr_scheduler_cls=torch.optim.lr_scheduler.LambdaLR,
        lr_scheduler_kwargs={"lr_lambda": lesson.share, "interval": "step"},
        random_state=lesson.seed,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "callbacks": [callback],
            "gradient_clip_val": CLIP_NORM,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "logger": False,
            "num_sanity_val_steps": 0,
            "limit_train_batches": lesson.options.get("steps", lesson.steps),
        },
    )
    parts = np.split(lesson.values, lesson.stops_S[:-1])
    learned = [TimeSeries.from_values(part[:-HORIZON]) for part in parts]
    scored = [TimeSeries.from_values(part[-LOOKBACK - HORIZON :]) for part in parts]
    model.fit(learned, val_series=scored, verbose=False)
    return {"parameters": sum(weight.numel() for weight in model.model.parameters())}


if __name__ == "__main__":
    run(learn)
