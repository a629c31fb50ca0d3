"""Settings of training."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from models.units import Duration

EarlyStoppingMetric = Literal[
    "loss", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "mae", "rmse", "r2",
    "micro_f1", "exact_match", "hamming_loss", "smape", "pinball",
    "character_error_rate", "word_error_rate", "bleu", "unexplained_variance",
]  # fmt: skip


Precision = Literal["auto", "fp32", "bf16"]

_MIN_PATIENCE = 8

_MAX_SEED = 2**32 - 1
"""The largest seed of every random number generator that is used."""

PRETRAINING_SHARE = 0.3
"""Share of the budget that predicting the next step takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How long and how hard to train."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    epochs: int | Literal["auto"] = "auto"
    """Upper bound on passes over the training rows. `auto`: 60, but so many that 500 to 1,000
    optimizer steps are taken, and at least 12."""
    patience: int | Literal["auto"] = "auto"
    """Epochs without a better validation loss, or metric, before training stops. `auto`: a third
    of the epochs, and at least 8."""
    early_stopping_metric: EarlyStoppingMetric = "loss"
    """What selects the best epoch on the validation rows: the loss, or a metric of this kind of
    target. The weights of that epoch are kept, and `schedule: plateau` uses the same value."""
    budget: Duration | None = None
    """Time that all of training may take, such as `10m`, shared by the networks of an ensemble, of
    folds and of a distillation: how many epochs fit into it, or which part of the first, is planned
    from a short measurement, and the schedule is fitted to that."""
    batch_size: int | Literal["auto", "fastest"] = "auto"
    """Sequences in a batch. `auto`: the largest power of two from 4 to 64 that leaves 10 steps in
    an epoch. `fastest`: the largest one from 16 to 512 that fits into memory, is faster than the
    one before by 10 %, and leaves 50 steps in an epoch; it is measured once per training, so
    another machine may choose another."""
    data_loading: Literal["auto", "in_memory", "streaming"] = "auto"
    """Where the sequences are during training. `in_memory`: in the device's memory; on a CPU, in
    memory-mapped files. `streaming`: on disk, read in blocks that are shuffled in a bounded
    buffer while the next one is read. `auto`: streaming where they would take more than half of
    the free memory."""
    gradient_accumulation: int = 1
    """Batches whose gradients are summed into one step, where memory holds no larger batch."""
    max_windows: int | None = 30_000
    """Training windows that a network learns from at most, spread evenly over all series: those
    that end a step apart have nearly all steps in common. `null` for all of them."""
    sampler: Literal["random", "balanced"] = "random"
    """`balanced` draws rows so that every class is seen equally often."""
    learning_rate: float | Literal["auto"] = 2e-3
    """Peak learning rate of AdamW, after a warm-up; `auto` runs a learning rate range test."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """Learning rate after the warm-up. `cosine`: decays over the planned epochs. `plateau`: is
    halved whenever half the patience has passed without a better epoch."""
    weight_averaging: Literal["none", "ema", "swa"] = "ema"
    """Which weights are validated and kept: the current ones, their exponential moving average
    (`ema`), or their mean over the last quarter of the epochs (stochastic weight averaging, `swa`;
    `patience` then counts in that quarter only)."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; recurrent networks diverge without it."""
    precision: Precision = "auto"
    """Number format of the computation. `auto`: bf16 on CUDA, and on a CPU with AMX for cells and
    sizes that train clearly faster with it by measurement; else fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that trains. `auto`: the GPU where there is one."""
    folds: int | Literal["auto"] = "auto"
    """With 1, the networks are validated on the validation split. With more, the rows of training
    and validation are cut into so many stratified folds; a network is trained for each, validated
    on its fold, and all predict together. `auto`: 5 where there are fewer than 1,000 rows that do
    not depend on each other, else 1."""
    ensemble: int | Literal["auto"] = 1
    """Number of networks that are trained, with this seed and the following ones; the model
    predicts their mean. `auto`: networks of several recipes and cells are trained, in the order of
    what usually wins on such data, the job's own first, until the `budget` ends; which of them
    predict, and how much each counts together with the branches, is selected on rows that none of
    them has seen. Up to 20,000 rows are cut into folds for that."""
    distill: bool = False
    """Whether one network is trained on the mean predictions of the `ensemble` and on the targets,
    and serves alone: nearly as accurate, and as small and fast as one."""
    pretrain: Literal["none", "next_step"] = "none"
    """Whether the networks start from a network that was trained before to predict the next step of
    the training rows, without their targets. `next_step`: the tokens of a text, in both directions
    of reading, as in ULMFiT, or the steps of a series. It takes 30 % of the `budget`, and is done
    once for all networks of an ensemble and of folds. The layers then learn gradually, from the
    head down, the lower ones more slowly."""
    seed: int = 7
    """Seed of all random numbers. The same seed, data and job give the same model, bit for bit on
    one kind of CPU with the same number of threads."""
    checkpoint_every: Duration = 30.0
    """Time between checkpoints; a killed run loses no more than that."""

    def __post_init__(self) -> None:
        """Check ranges and combinations.

        Raises:
            ValueError: names the key and how to fix it.
        """
        for name in (
            "epochs", "patience", "batch_size", "gradient_accumulation", "max_windows", "ensemble",
            "folds",
        ):  # fmt: skip
            count = getattr(self, name)
            if isinstance(count, int) and count < 1:
                raise ValueError(f"{name}: {count} is too small; give at least 1")
        for name in ("learning_rate", "max_grad_norm", "budget"):
            number = getattr(self, name)
            if number not in {None, "auto"} and number <= 0:
                raise ValueError(f"{name}: {number} is not above 0; give more")
        for name, most in (("ensemble", 100), ("folds", 100), ("batch_size", 2**20)):
            count = getattr(self, name)
            if not isinstance(count, str) and count > most:
                raise ValueError(f"{name}: {count} is too large; give at most {most}")
        if self.distill and self.ensemble == 1:
            raise ValueError("distill: there is no ensemble to learn from; set ensemble: 5")
        if not 0 <= self.seed <= _MAX_SEED:
            raise ValueError(f"seed: {self.seed} is not from 0 to {_MAX_SEED}")
        if self.weight_decay < 0 or self.checkpoint_every < 0:
            raise ValueError("weight_decay and checkpoint_every: give 0 or more")

    def share_budget(self, networks: int) -> "TrainingConfig":
        """Return the training of one of so many networks, with its share of the time."""
        if self.budget is None:
            return self
        return replace(self, budget=round(self.budget / networks, 3))

    def split_pretraining(self) -> tuple["TrainingConfig", "TrainingConfig"]:
        """Return the training that predicts the next step, and the one that starts from it.

        The first depends on few settings, so that trainings that differ in others share it.
        """
        shared = {
            name: getattr(self, name)
            for name in (
                "epochs", "batch_size", "data_loading", "gradient_accumulation", "precision",
                "device", "seed", "checkpoint_every",
            )
        }  # fmt: skip
        if self.budget is None:
            return TrainingConfig(**shared), self
        spent = round(self.budget * PRETRAINING_SHARE, 3)
        left = round(self.budget - spent, 3)
        return TrainingConfig(**shared, budget=spent), replace(self, budget=left)

    @property
    def patience_epochs(self) -> int:
        """Epochs without a better one before training stops, once the epochs are planned."""
        if self.patience != "auto":
            return self.patience
        return _MIN_PATIENCE if self.epochs == "auto" else max(_MIN_PATIENCE, self.epochs // 3)

    @property
    def initial_batch_size(self) -> int:
        """Sequences in a batch; 64 before it is chosen."""
        return 64 if isinstance(self.batch_size, str) else self.batch_size

    @property
    def sequences_per_step(self) -> int:
        """Sequences whose gradients make one step."""
        return self.initial_batch_size * self.gradient_accumulation
