"""From raw columns to jagged sequences of numbers, with all that is fitted on the way."""

from dataclasses import dataclass
from typing import ClassVar, Literal

Kind = Literal["series", "image"]


@dataclass(frozen=True, kw_only=True, slots=True)
class InputConfig:
    """What is read from the source, and how."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str | tuple[str, ...]
    """The column that holds the input; for a series, one column a channel."""
    kind: Kind
    """`series`: numbers over time, as one row a step (give `window`) or one list a row.
    `image`: PNG or JPEG bytes, or rows of numbers, read as a sequence of rows."""

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if not self.columns:
            raise ValueError("column: name at least one column")
        if self.kind == "image" and len(self.columns) > 1:
            raise ValueError("column: an image is read from one column")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, one or many."""
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowConfig:
    """How a long series is cut into sequences: one window a row, never copied."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    length: int
    """Steps that the network sees, the row itself included."""
    horizon: int = 1
    """Steps from the window's last row to the row whose target is predicted; 0 is the same row."""

    def __post_init__(self) -> None:
        """Refuse windows without steps, and targets in the past."""
        if self.length < 1:
            raise ValueError(f"length: {self.length} is not a length; give at least 1 step")
        if self.horizon < 0:
            raise ValueError(f"horizon: {self.horizon} lies in the past; give 0 or more steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """What is predicted."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """The column with the answer."""
    kind: Literal["category", "number"]
    """`category`: one of the values seen in training. `number`: a real number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Which columns of a table make its sequences; what every kind of input is read by."""

    input: InputConfig
    window: WindowConfig | None
    time: str | None
    entity: str | None

    @property
    def raw_columns(self) -> list[str]:
        """The columns that a prediction needs, in a fixed order and each once."""
        names = [*self.input.columns]
        if self.window:
            names += [name for name in (self.time, self.entity) if name]
        return list(dict.fromkeys(names))
