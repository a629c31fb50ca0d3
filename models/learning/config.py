"""Settings of training."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.units import Duration

EarlyStoppingMetric = Literal[
    "loss", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "mae", "rmse", "r2",
    "micro_f1", "exact_match", "hamming_loss", "smape", "pinball",
    "character_error_rate", "word_error_rate", "bleu", "unexplained_variance",
]  # fmt: skip


Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How long and how hard to train."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    epochs: int = 50
    """Upper bound on passes over the training rows."""
    patience: int = 8
    """Epochs without a better validation loss, or metric, before training stops."""
    early_stopping_metric: EarlyStoppingMetric = "loss"
    """What selects the best epoch on the validation rows: the loss, or a metric of this kind of
    target. The weights of that epoch are kept, and `schedule: plateau` watches the same value."""
    budget: Duration | None = None
    """Time that training may take, such as `10m`: the number of epochs that fit, or a part of the
    first, is planned from a short measurement, and the schedule is fitted to it."""
    batch_size: int | Literal["auto"] = 64
    """Sequences in a batch. `auto`: the largest power of two from 16 to 512 that fits into memory,
    is faster than the one before by 10 %, and leaves 50 steps in an epoch. It is measured once per
    training, so another machine may choose another."""
    data_loading: Literal["auto", "in_memory", "streaming"] = "auto"
    """Where sequences are during training. `in_memory`: in the device's memory; on a CPU, in
    memory-mapped files. `streaming`: on disk, read in blocks that are shuffled in a bounded
    buffer while the next one is read. `auto`: streaming where they would take more than half of
    the free memory."""
    gradient_accumulation: int = 1
    """Batches whose gradients are summed into one step, where memory holds no larger batch."""
    sampler: Literal["random", "balanced"] = "random"
    """`balanced` draws rows so that every class is seen equally often."""
    learning_rate: float | Literal["auto"] = 2e-3
    """Peak learning rate of AdamW, after a warm-up; `auto` runs a learning rate range test."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """Learning rate after the warm-up. `cosine`: decays over the planned epochs. `plateau`: is
    halved whenever half the patience has passed without a better epoch."""
    weight_averaging: Literal["none", "ema", "swa"] = "none"
    """Which weights are validated and kept: the current ones, an exponential moving average of the
    last steps (`ema`), or the mean over the last quarter of the epochs, from where on the patience
    counts (`swa`)."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; recurrent networks diverge without it."""
    precision: Precision = "auto"
    """`auto`: bf16 on CUDA, and on a CPU with AMX for cells and sizes that were measured to train
    clearly faster with it; else fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU where there is one."""
    ensemble: int = 1
    """Networks that are trained, with this seed and the following ones; the model predicts with
    their mean."""
    distill: bool = False
    """Train one network on the mean predictions of the `ensemble` and on the targets, and serve it
    alone: nearly as good, and as small and fast as one."""
    seed: int = 7
    """Same seed, data and job give the same model, bit for bit on one kind of CPU with the same
    number of threads."""
    checkpoint_every: Duration = 30.0
    """Time between checkpoints; a killed run loses no more than that."""

    def __post_init__(self) -> None:
        """Check ranges and combinations.

        Raises:
            ValueError: names the key and how to fix it.
        """
        for name in ("epochs", "patience", "batch_size", "gradient_accumulation", "ensemble"):
            count = getattr(self, name)
            if count != "auto" and count < 1:
                raise ValueError(f"{name}: {count} is too small; give at least 1")
        for name in ("learning_rate", "max_grad_norm", "budget"):
            number = getattr(self, name)
            if number not in {None, "auto"} and number <= 0:
                raise ValueError(f"{name}: {number} is not above 0; give more")
        if self.distill and self.ensemble < 2:
            raise ValueError("distill: there is no ensemble to learn from; set ensemble: 5")
        if self.weight_decay < 0 or self.checkpoint_every < 0:
            raise ValueError("weight_decay and checkpoint_every: give 0 or more")

    @property
    def initial_batch_size(self) -> int:
        """Sequences in a batch; 64 before `auto` is measured."""
        return 64 if self.batch_size == "auto" else self.batch_size

    @property
    def sequences_per_step(self) -> int:
        """Sequences whose gradients make one step."""
        return self.initial_batch_size * self.gradient_accumulation
