"""How a network learns: batches, the loop, and the checkpoint that makes it resume exactly."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.units import Duration

StopName = Literal[
    "loss", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "mae", "rmse", "r2",
    "micro_f1", "exact_match", "hamming_loss", "smape", "pinball",
    "character_error_rate", "word_error_rate", "bleu", "unexplained_variance",
]  # fmt: skip


PrecisionName = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How long and how hard to train."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    epochs: int = 50
    """Upper bound on passes over the training rows."""
    patience: int = 8
    """Epochs without a better validation loss, or metric, before training stops."""
    early_stopping_metric: StopName = "loss"
    """What the best epoch is the best by, on the validation rows: the loss, or a metric that the
    gate knows for this kind of target. The weights of that epoch are kept, and a `plateau` follows
    the same."""
    budget: Duration | None = None
    """Time that training may take, such as `10m`: as many epochs as fit, or a part of the first,
    are planned from a short measurement, and the schedule fitted to them."""
    batch_size: int | Literal["auto"] = 64
    """Sequences that are read at once. `auto`: the largest power of two from 16 to 512 that fits,
    reads faster than the one before by a tenth, and leaves an epoch 50 steps. It is measured once,
    so another machine may come to another."""
    data_loading: Literal["auto", "in_memory", "streaming"] = "auto"
    """Where the steps are while they are learned from. `resident`: in the device's memory; on a
    CPU, in files that are mapped into it. `streamed`: on disk, in blocks that are mixed in a
    bounded buffer, the next one read meanwhile. `auto`: streamed where they would take more than
    half of the memory that is free."""
    gradient_accumulation: int = 1
    """Batches whose gradients make one step, where memory holds no larger batch."""
    sampler: Literal["random", "balanced"] = "random"
    """`balanced` draws rows so that every class is shown equally often."""
    learning_rate: float | Literal["auto"] = 2e-3
    """Highest step size of AdamW, to which a warm-up leads; `auto` tries a range of them first."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """What follows the warm-up. `cosine`: it falls over the planned epochs. `plateau`: it is halved
    whenever half the patience has passed without a better epoch."""
    weight_averaging: Literal["none", "ema", "swa"] = "none"
    """Which weights are validated and kept: those of the step, or an average of the last steps
    (`ema`) or of the epochs of the last quarter, from which on the patience counts (`swa`)."""
    weight_decay: float = 1e-2
    """How strongly weights are drawn to zero."""
    max_grad_norm: float = 1.0
    """Largest gradient norm let through; recurrent networks explode without it."""
    precision: PrecisionName = "auto"
    """`auto`: bf16 on CUDA, and on a CPU that multiplies it in tiles (AMX) for cells and widths
    that were measured to learn clearly faster by it; else fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU when there is one."""
    ensemble: int = 1
    """Networks that are trained, with this seed and those after it; the model answers with their
    mean."""
    distill: bool = False
    """Let one network learn from the mean answers of the `ensemble`, beside the truth, and serve
    alone: nearly as good, and as small and quick as one."""
    seed: int = 7
    """Same seed, data and job: same model, bit for bit on one kind of CPU."""
    checkpoint_every: Duration = 30.0
    """Time between checkpoints; a killed run loses no more than that."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
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
        """Sequences that are read at once; 64 while it is not measured."""
        return 64 if self.batch_size == "auto" else self.batch_size

    @property
    def unit(self) -> int:
        """Sequences of one step."""
        return self.initial_batch_size * self.gradient_accumulation
