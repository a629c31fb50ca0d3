"""Columns of the input, windows and target: the parts of a job that every kind of input shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from models.features.static_covariates import StaticInput

TargetKind = Literal[
    "category", "number", "tags", "forecast", "text", "next_step", "reconstruction"
]

SymbolTokenizer = Literal["character", "bpe"]

SELF_SUPERVISED = ("next_step", "reconstruction")
"""Kinds whose target is the input sequence itself."""


class SequenceInput(Protocol):
    """What the config of every kind of sequence has; the kinds are listed in `kinds`."""

    @property
    def kind(self) -> str:
        """The name of the kind in the job file."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the sequence is read from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowConfig:
    """How a long series is cut into sequences: one window for each row, as views without copies."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    lookback: int
    """Steps that the network reads, the row itself included."""
    horizon: int = 1
    """Steps from the window's last row to the row whose target is predicted; 0 is the same row."""

    def __post_init__(self) -> None:
        """Validate the numbers.

        Raises:
            ValueError: a window without steps, or a target in the past.
        """
        if self.lookback < 1:
            raise ValueError(f"lookback: {self.lookback} is too small; give at least 1 step")
        if self.horizon < 0:
            raise ValueError(f"horizon: {self.horizon} lies in the past; give 0 or more steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """What is predicted."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str | tuple[str, ...] = ""
    """Column with the target; `next_step` and `reconstruction` have none. A list of columns is
    forecast together by one model: `[a, b, c]`, of kind `forecast`."""
    kind: TargetKind
    """`category`: one of the values seen in training. `number`: a real number. `tags`: any of the
    values seen in training, as a list. `forecast`: the next `window.horizon` numbers of a series.
    `text`: a text, generated token by token. `next_step` and `reconstruction` are self-supervised
    and need no target: the prediction error of a sequence is its anomaly score, and its embedding
    finds similar sequences."""
    tokenizer: SymbolTokenizer = "character"
    """Tokens of a text target: characters, or byte pair encoding (BPE) learned from the training
    rows."""
    vocab_size: int = 8_000
    """Largest number of tokens of a text target."""

    def __post_init__(self) -> None:
        """Check that a column is given where the kind needs one, and the options of a text."""
        self._check_columns()
        if (self.kind in SELF_SUPERVISED) == bool(self.column):
            raise ValueError(
                f"column: kind {self.kind} is self-supervised and has no target column; remove it"
                if self.column
                else f"column: kind {self.kind} needs one, the column with the target"
            )
        if self.kind != "text" and (self.tokenizer, self.vocab_size) != ("character", 8_000):
            raise ValueError(
                f"tokenizer, vocab_size: only kind text has tokens, not {self.kind}; remove them"
            )
        if self.vocab_size < 2 or (self.tokenizer == "bpe" and self.vocab_size < 257):
            raise ValueError(
                f"vocab_size: {self.vocab_size} is too small for tokenizer {self.tokenizer}; "
                f"give at least {257 if self.tokenizer == 'bpe' else 2}"
            )

    def _check_columns(self) -> None:
        """Check a list of columns; a list of one is that column.

        Raises:
            ValueError: it is empty, names a column twice, or the kind has one column only.
        """
        if isinstance(self.column, str):
            return
        names = tuple(self.column)
        if not all(names):
            raise ValueError("column: the list has an empty name; name the columns, or one column")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"column: {', '.join(map(repr, repeated))} is listed twice; remove it")
        if len(names) > 1 and self.kind != "forecast":
            raise ValueError(
                f"column: several columns are predicted together by kind forecast alone, not by "
                f"{self.kind}; name one column, and write a job for each of the others"
            )
        object.__setattr__(self, "column", names if len(names) > 1 else "".join(names))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns with the target; empty for self-supervised kinds."""
        if isinstance(self.column, tuple):
            return self.column
        return (self.column,) if self.column else ()

    @property
    def name(self) -> str:
        """The column with the target, or the columns in one text; empty for none."""
        return ", ".join(self.columns)

    @property
    def required_column(self) -> str | None:
        """The column that must not have missing values; that of a forecast may."""
        return self.name if self.name and self.kind != "forecast" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Which columns of a table its sequences are made of; every kind of input is read by it."""

    input: SequenceInput
    window: WindowConfig | None
    time: str | None
    entity: str | None
    static_inputs: tuple[StaticInput, ...] = ()
    """Static covariates: one value for each sequence."""
    parse: Mapping[str, str] = field(default_factory=dict)
    """Format of columns that are text in the raw rows."""

    @property
    def raw_columns(self) -> list[str]:
        """The columns that a prediction needs, in a fixed order and each once."""
        names = [*self.input.columns, *(static.column for static in self.static_inputs)]
        if self.window:
            names += [name for name in (self.time, self.entity) if name]
        return list(dict.fromkeys(names))
