"""How a network learns: batches, the loop, and the checkpoint that makes it resume exactly."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from models.units import Duration


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How long and how hard to train."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    epochs: int = 50
    """Upper bound on passes over the training rows."""
    patience: int = 8
    """Epochs without a better validation loss before training stops."""
    budget: Duration | None = None
    """Time that training may take, such as `10m`: as many epochs as fit, or a part of the first,
    are planned from a short measurement, and the schedule fitted to them."""
    batch: int = 64
    """Sequences that are read at once."""
    accumulate: int = 1
    """Batches whose gradients make one step, where memory holds no larger batch."""
    sampling: Literal["natural", "balanced"] = "natural"
    """`balanced` draws rows so that every class is shown equally often."""
    learning_rate: float | Literal["auto"] = 2e-3
    """Highest step size of AdamW, to which a warm-up leads; `auto` tries a range of them first."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """What follows the warm-up. `cosine`: it falls over the planned epochs. `plateau`: it is halved
    whenever half the patience has passed without a better validation loss."""
    average: Literal["none", "ema", "swa"] = "none"
    """Which weights are validated and kept: those of the step, or an average of the last steps
    (`ema`) or of the epochs of the last quarter, from which on the patience counts (`swa`)."""
    weight_decay: float = 1e-2
    """How strongly weights are drawn to zero."""
    clip_norm: float = 1.0
    """Largest gradient norm let through; recurrent networks explode without it."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device multiplies it faster (CUDA), else fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU when there is one."""
    ensemble: int = 1
    """Networks that are trained, with this seed and those after it; the model answers with their
    mean."""
    seed: int = 7
    """Same seed, data and job: same model, bit for bit on one kind of CPU."""
    checkpoint_every: Duration = 30.0
    """Time between checkpoints; a killed run loses no more than that."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
        for name in ("epochs", "patience", "batch", "accumulate", "ensemble"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give at least 1")
        for name in ("learning_rate", "clip_norm", "budget"):
            number = getattr(self, name)
            if number not in {None, "auto"} and number <= 0:
                raise ValueError(f"{name}: {number} is not above 0; give more")
        if self.weight_decay < 0 or self.checkpoint_every < 0:
            raise ValueError("weight_decay and checkpoint_every: give 0 or more")
