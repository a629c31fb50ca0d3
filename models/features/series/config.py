"""Settings of a series, and how many rows around its own a window depends on."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from models.features.config import Layout
from models.features.series.frequency import parse_frequency

ROW_COLUMN = "__row__"
"""Column with the number of a row in its original table, in sorted and resampled tables."""

CalendarPart = Literal[
    "minute", "hour", "weekday", "day", "week", "month", "quarter", "day_of_year"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesInput:
    """Numbers over time."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str | tuple[str, ...]
    """The column of each channel; `[]` where there are only `categories`."""
    kind: Literal["series"] = "series"
    """`series`: numbers over time, with one row per step (set `window`) or one list per row."""
    known_future: tuple[str, ...] = ()
    """Channels that are known in advance, such as prices or holidays. Each step has their values
    of `window.horizon` steps later, so the last step has those of the row that is predicted."""
    categories: tuple[str, ...] = ()
    """Columns with classes of each step, such as the past of the target: one channel of 0 and 1 for
    each class of the training rows. All are 0 where the class is missing, not yet known or new."""
    calendar: tuple[CalendarPart, ...] = ()
    """Parts of each step's timestamp, in its time zone, each encoded as a sine and a cosine."""
    time_delta: bool = False
    """Whether the logarithm of the time since the previous step is a channel; for irregular
    series."""
    scaler: Literal["standard", "log", "robust", "minmax", "arcsinh", "none"] = "standard"
    """`standard`: by mean and standard deviation. `log`: the same of the logarithms of observed
    columns whose training values are all above 0, for series that grow by shares; a forecast of
    such a column is made of its logarithms too. `robust`: by median and interquartile range.
    `minmax`: to 0 to 1. `arcsinh`: `robust`, then the inverse hyperbolic sine, for values of very
    different magnitudes. Always fitted on the training rows alone."""
    scale_per: Literal["all", "entity"] = "all"
    """Whether each entity is scaled separately, target included; new entities, and those with
    few training steps, get the scale of all."""
    impute: Literal["mean", "last", "zero"] = "mean"
    """What replaces a missing value: the channel's mean in training (its median with `robust` and
    `arcsinh`), the last observed value (the mean where there is none within `impute_limit`), or
    zero."""
    impute_limit: int | None = None
    """Most steps that `impute: last` looks back; by default the length of a window, or back to
    the beginning of a list."""
    missing_indicator: Literal["auto", "always", "never"] = "auto"
    """Whether a second channel flags the missing values of a channel; `auto`: if the training rows
    have any."""
    frequency: str | None = None
    """Step of the regular grid that the series is resampled to, such as `1h`, `1d` or `1mo`; a
    number where the time is a number."""
    aggregate: Literal["mean", "sum", "last", "minimum", "maximum"] = "mean"
    """How the rows within one step of the grid are aggregated."""

    def __post_init__(self) -> None:
        """Validate the columns and the settings of imputation and frequency.

        Raises:
            ValueError: a column is named twice, or two settings contradict each other.
        """
        if not self.observed and not self.categories:
            raise ValueError("column: name at least one column")
        names = list(self.columns)
        if twice := [name for index, name in enumerate(names) if name in names[:index]]:
            named = {"categories": self.categories, "known_future": self.known_future}
            where = next((key for key, own in named.items() if twice[0] in own), "column")
            raise ValueError(f"{where}: '{twice[0]}' is named twice; name each column once")
        if len(set(self.calendar)) < len(self.calendar):
            raise ValueError("calendar: a part is named twice; name each once")
        if self.impute_limit is not None and self.impute != "last":
            raise ValueError(
                f"impute_limit: nothing looks back with impute: {self.impute}; "
                "remove it, or set impute: last"
            )
        if self.impute_limit is not None and self.impute_limit < 1:
            raise ValueError(f"impute_limit: {self.impute_limit} is too small; give at least 1")
        if self.frequency is not None:
            parse_frequency(self.frequency)
        if self.frequency is not None and self.time_delta:
            raise ValueError(
                "time_delta: with `frequency` each step is as long as any; remove one of them"
            )

    @property
    def observed(self) -> tuple[str, ...]:
        """The channels that are known up to the end of the window only."""
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns of numbers: observed, then known in advance."""
        return (*self.observed, *self.known_future)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns: those of numbers, then those of classes."""
        return (*self.numbers, *self.categories)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels that are scaled, in their order."""
        return (*self.numbers, *(("(time since the step before)",) if self.time_delta else ()))


class WindowContext(NamedTuple):
    """How many rows before and after a slice of a sorted table its windows depend on."""

    past_steps: int
    future_steps: int


def get_series_input(layout: Layout) -> SeriesInput:
    """Return the config of the layout's input, which has to be a series."""
    assert isinstance(layout.input, SeriesInput)  # noqa: S101 - chosen by its kind
    return layout.input


def is_resampled(layout: Layout) -> bool:
    """Return whether the series is resampled to a regular grid."""
    config = layout.input
    return isinstance(config, SeriesInput) and config.frequency is not None


def scales_per_entity(layout: Layout) -> bool:
    """Return whether each entity has a scale of its own."""
    config = layout.input
    return isinstance(config, SeriesInput) and config.scale_per == "entity" and bool(layout.entity)


def get_impute_limit(layout: Layout) -> int | None:
    """Return how many steps back a missing value is looked for; None for a whole list."""
    config = get_series_input(layout)
    if config.impute != "last":
        return 0
    if config.impute_limit is not None:
        return config.impute_limit
    return layout.window.lookback if layout.window else None


def compute_context(layout: Layout) -> WindowContext:
    """Return how far windows, imputed values, differences and targets reach.

    The first step of the first window may be imputed from `impute_limit` steps back, and its time
    difference needs the step before. Other kinds of input reach no further than their window.
    """
    assert layout.window is not None  # noqa: S101 - only windows have a context
    past = layout.window.lookback - 1
    if isinstance(layout.input, SeriesInput):
        past += max(get_impute_limit(layout) or 0, int(layout.input.time_delta))
    return WindowContext(max(1, past), max(1, layout.window.horizon))
