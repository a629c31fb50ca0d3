"""What a job says of a series, and how far a window reaches around its row."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from models.features.config import Layout
from models.features.series.width import parse_frequency

ROW = "__row__"
"""Column with the number that a row has in its table, in tables that are lined up or resampled."""

Calendar = Literal["minute", "hour", "weekday", "day", "week", "month", "quarter", "day_of_year"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesInput:
    """Numbers over time."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str | tuple[str, ...]
    """The columns that hold it, one a channel."""
    kind: Literal["series"] = "series"
    """`series`: numbers over time, as one row a step (give `window`) or one list a row."""
    known_future: tuple[str, ...] = ()
    """Channels that are known in advance, such as prices or holidays: a step shows their values
    of `window.horizon` steps later, so that the last one shows those of the answered row."""
    calendar: tuple[Calendar, ...] = ()
    """Parts of the step's own time, in its own time zone, each as a sine and a cosine."""
    time_delta: bool = False
    """Whether the time since the step before is a channel (its logarithm, so that its unit does
    not matter); for series that are not regular."""
    scaler: Literal["standard", "robust", "minmax", "arcsinh", "none"] = "standard"
    """`standard`: mean and spread. `robust`: median and quartiles. `minmax`: from 0 to 1.
    `arcsinh`: as robust, then bent, for values of very different sizes. All of training alone."""
    scale_per: Literal["all", "entity"] = "all"
    """Whether each entity has a scale of its own, its target too; new ones, and those with few
    training steps, take that of all."""
    impute: Literal["mean", "last", "zero"] = "mean"
    """What stands where a value is missing: the channel's typical value in training, the last one
    seen (the typical one where none is in reach), or zero."""
    impute_limit: int | None = None
    """Steps that `missing: last` looks back at most; left out: as many as a window is long, or
    to the beginning of a list."""
    missing_indicator: Literal["auto", "always", "never"] = "auto"
    """Whether a channel with gaps has a companion that flags them; `auto`: if training has any."""
    frequency: str | None = None
    """Width of a regular grid that the series is brought to, such as `1h`, `1d` or `1mo`; a number
    where time is one."""
    aggregate: Literal["mean", "sum", "last", "minimum", "maximum"] = "mean"
    """How the rows of one step of the grid become one."""

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if not self.observed:
            raise ValueError("column: name at least one column")
        names = [*self.observed, *self.known_future]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            where = "known_future" if twice[0] in self.known_future else "column"
            raise ValueError(f"{where}: '{twice[0]}' is named twice; name each column once")
        if len(set(self.calendar)) < len(self.calendar):
            raise ValueError("calendar: a part is named twice; name each once")
        if self.impute_limit is not None and self.impute != "last":
            raise ValueError(
                f"impute_limit: nothing looks back with impute: {self.impute}; "
                "remove it, or set impute: last"
            )
        if self.impute_limit is not None and self.impute_limit < 1:
            raise ValueError(f"impute_limit: {self.impute_limit} is no reach; give at least 1")
        if self.frequency is not None:
            parse_frequency(self.frequency)
        if self.frequency is not None and self.time_delta:
            raise ValueError(
                "time_delta: with `frequency` each step is as long as any; remove one of them"
            )

    @property
    def observed(self) -> tuple[str, ...]:
        """The channels that are seen up to the window's end."""
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, one or many."""
        return (*self.observed, *self.known_future)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What to call the channels that are scaled, in their order."""
        return (*self.columns, *(("(time since the step before)",) if self.time_delta else ()))


def get_series_input(layout: Layout) -> SeriesInput:
    """See the layout's input as a series."""
    assert isinstance(layout.input, SeriesInput)  # noqa: S101 - chosen by its kind
    return layout.input


def is_resampled(layout: Layout) -> bool:
    """Return whether rows are brought to a regular grid."""
    read = layout.input
    return isinstance(read, SeriesInput) and read.frequency is not None


def scales_entities(layout: Layout) -> bool:
    """Return whether each entity has a scale of its own."""
    read = layout.input
    return isinstance(read, SeriesInput) and read.scale_per == "entity" and bool(layout.entity)


def get_lookback(layout: Layout) -> int | None:
    """Return how many steps back a missing value is looked for; None for a whole list."""
    read = get_series_input(layout)
    if read.impute != "last":
        return 0
    if read.impute_limit is not None:
        return read.impute_limit
    return layout.window.lookback if layout.window else None


class Context(NamedTuple):
    """How many rows around a slice of a lined up table decide about its rows' windows."""

    past_steps: int
    future_steps: int


def context(layout: Layout) -> Context:
    """Return how far windows, fillings, differences and answers reach.

    The first step of a slice's first window may be filled from as far back as `impute_limit`, and
    has a step before it. Other kinds reach no further than their window.
    """
    assert layout.window is not None  # noqa: S101 - only windows have a context
    past = layout.window.lookback - 1
    if isinstance(layout.input, SeriesInput):
        past += max(get_lookback(layout) or 0, int(layout.input.time_delta))
    return Context(max(1, past), max(1, layout.window.horizon))
