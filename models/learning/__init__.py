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
    batch: int = 64
    """Sequences in a step."""
    learning_rate: float = 2e-3
    """Highest step size of AdamW; a warm-up leads to it and a cosine away from it."""
    weight_decay: float = 1e-2
    """How strongly weights are drawn to zero."""
    clip_norm: float = 1.0
    """Largest gradient norm let through; recurrent networks explode without it."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device multiplies it faster (CUDA), else fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU when there is one."""
    seed: int = 7
    """Same seed, data and job: same model, bit for bit on one kind of CPU."""
    checkpoint_every: Duration = 30.0
    """Time between checkpoints; a killed run loses no more than that."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
        for name, count in (
            ("epochs", self.epochs),
            ("patience", self.patience),
            ("batch", self.batch),
        ):
            if count < 1:
                raise ValueError(f"{name}: {count} is too small; give at least 1")
        for name, number in (("learning_rate", self.learning_rate), ("clip_norm", self.clip_norm)):
            if number <= 0:
                raise ValueError(f"{name}: {number} is not above 0")
        if self.weight_decay < 0 or self.checkpoint_every < 0:
            raise ValueError("weight_decay and checkpoint_every: give 0 or more")
