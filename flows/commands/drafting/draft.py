"""The draft of a job, and what its author says about the data."""

from collections.abc import Callable
from dataclasses import dataclass, field

AskChoice = Callable[[str, list[str]], str]
"""Asks a person to choose: the question and the choices; returns one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftOptions:
    """What is told of the data; what is None is found in them."""

    target: str | None = None
    """The column to predict."""
    targets: tuple[str, ...] = ()
    """Several columns to forecast together, each one or a list with commas."""
    time: str | None = None
    """The column with the time of each row."""
    time_format: str | None = None
    """Format of a time in texts, as in strftime."""
    entity: str | None = None
    """The column that identifies the series of a row, or the group of a row that is a sequence."""
    horizon: int | None = None
    """Steps ahead."""
    season: int | None = None
    """Steps after which the series repeats; 1 for none."""
    ask: AskChoice | None = None
    """None where nobody can be asked."""


@dataclass(kw_only=True, slots=True)
class JobDraft:
    """The settings of a job file, with what is said about them."""

    kind: str
    """Kind of the input."""
    columns: list[str]
    """Columns of the input."""
    target: str
    target_kind: str
    targets: list[str] = field(default_factory=list)
    """Several columns that are forecast together, `target` among them; empty for one."""
    category_columns: list[str] = field(default_factory=list)
    """Columns of the input with classes of each step."""
    time: str | None = None
    entity: str | None = None
    split: str | None = None
    """Column with the split of each row."""
    group: str | None = None
    """Column whose rows stay in one split."""
    parse: dict[str, str] = field(default_factory=dict)
    """Format of columns of text, by name."""
    lookback: int | None = None
    horizon: int | None = None
    season: int = 1
    by_time: bool = False
    """Whether rows that are no windows are split by time."""
    shares: dict[str, float] = field(default_factory=dict)
    """Shares of the split that differ from the defaults."""
    input_options: dict[str, str] = field(default_factory=dict)
    """Further settings of the input, as YAML."""
    downsample: int = 1
    comments: dict[str, str] = field(default_factory=dict)
    """Why a section is as it is, by its key."""
    notes: list[str] = field(default_factory=list)
    """What the author of the job should know; it is shown on the terminal too."""

    @property
    def target_columns(self) -> list[str]:
        """The columns with the target."""
        return self.targets or [self.target]

    @property
    def used_columns(self) -> list[str]:
        """The columns that the job reads, each once."""
        names = [
            *self.columns,
            *self.category_columns,
            self.time,
            self.entity,
            *self.target_columns,
            self.split,
            self.group,
        ]
        return list(dict.fromkeys(name for name in names if name))
