"""From raw columns to jagged sequences of numbers, with all that is fitted on the way."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from models.features.static_covariates import StaticInput


class SequenceInput(Protocol):
    """What every kind of sequence says of itself; the kinds are listed in `kinds`."""

    @property
    def kind(self) -> str:
        """Its name in the job file."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is read from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowConfig:
    """How a long series is cut into sequences: one window a row, never copied."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    lookback: int
    """Steps that the network sees, the row itself included."""
    horizon: int = 1
    """Steps from the window's last row to the row whose target is predicted; 0 is the same row."""

    def __post_init__(self) -> None:
        """Refuse windows without steps, and targets in the past."""
        if self.lookback < 1:
            raise ValueError(f"lookback: {self.lookback} is not a length; give at least 1 step")
        if self.horizon < 0:
            raise ValueError(f"horizon: {self.horizon} lies in the past; give 0 or more steps")


TargetKind = Literal[
    "category", "number", "tags", "forecast", "text", "next_step", "reconstruction"
]

Unit = Literal["character", "bpe"]

SELF_SUPERVISED = ("next_step", "reconstruction")
"""Kinds that have no answer but the sequence itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """What is predicted."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str = ""
    """The column with the answer; `next_step` and `reconstruction` have none."""
    kind: TargetKind
    """`category`: one of the values seen in training. `number`: a real number. `tags`: any of the
    values seen in training, as a list. `forecast`: the next `window.horizon` numbers of a series.
    `text`: a text, written symbol by symbol. `next_step` and `reconstruction`: nothing is known;
    what the network fails to foretell, or to tell again, is unusual, and its vectors show which
    sequences are alike."""
    tokenizer: Unit = "character"
    """What a text is written in: characters, or byte pairs merged by how often training has
    them together."""
    vocab_size: int = 8_000
    """Largest number of a text's symbols."""

    def __post_init__(self) -> None:
        """Refuse a column where there is no answer, and none where there is one."""
        if (self.kind in SELF_SUPERVISED) == bool(self.column):
            raise ValueError(
                f"column: kind {self.kind} reads no answer; remove it"
                if self.column
                else f"column: kind {self.kind} needs one, the column with the answer"
            )
        if self.kind != "text" and (self.tokenizer, self.vocab_size) != ("character", 8_000):
            raise ValueError(f"unit and vocabulary: only a text has symbols, not {self.kind}")
        if self.vocab_size < 2 or (self.tokenizer == "bpe" and self.vocab_size < 257):
            raise ValueError(f"vocab_size: {self.vocab_size} is too small for {self.tokenizer}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, if there is one."""
        return (self.column,) if self.column else ()

    @property
    def required(self) -> str | None:
        """The column that must not have gaps; a forecast's may."""
        return self.column if self.column and self.kind != "forecast" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Which columns of a table make its sequences; what every kind of input is read by."""

    input: SequenceInput
    window: WindowConfig | None
    time: str | None
    entity: str | None
    statics: tuple[StaticInput, ...] = ()
    """Side inputs that are one value a sequence."""

    @property
    def raw_columns(self) -> list[str]:
        """The columns that a prediction needs, in a fixed order and each once."""
        names = [*self.input.columns, *(side.column for side in self.statics)]
        if self.window:
            names += [name for name in (self.time, self.entity) if name]
        return list(dict.fromkeys(names))
