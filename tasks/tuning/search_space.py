"""What a search may change: settings of a job by their dotted key, and what each of them may be."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_type_hints

from pydantic import TypeAdapter, ValidationError, WithJsonSchema

from models.learning.config import TrainingConfig
from models.networks.config import PLAIN, ModelConfig
from models.networks.families import FAMILIES
from models.networks.heads.config import HeadConfig
from models.units import Duration

SECTIONS: dict[str, Any] = {
    "model": ModelConfig,
    "training": TrainingConfig,
    "head": HeadConfig,
}
"""Parts of a job that a search may change, and what configures each."""

FIXED = {
    "training.seed": "a lucky seed is no better setting",
    "training.ensemble": "set it in `training`, for the networks of the best settings",
    "training.distill": "set it in `training`, for the network of the best settings",
    "training.device": "it changes no answer",
    "training.checkpoint_every": "it changes no answer",
}
"""Settings that are not searched, and why."""

MEASURES = ("loss", "quantiles", "class_weights", "focal_gamma", "label_smoothing", "decoder")
"""Settings of the head that change what the loss measures."""

NUMBERS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, bool | int | float | None])

DIGITS = 3
"""Of a drawn number; more would only make job files hard to read."""

SPACE_SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": "array"},
            {
                "type": "object",
                "properties": {
                    "low": {"type": "number"},
                    "high": {"type": "number"},
                    "log": {"type": "boolean"},
                    "step": {"type": "number"},
                },
                "required": ["low", "high"],
                "additionalProperties": False,
            },
        ]
    },
    "propertyNames": {"pattern": f"^({'|'.join(SECTIONS)})\\.[a-z_]+$"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Numbers between two ends, both included; whole ones where both ends are."""

    low: float
    high: float
    log: bool = False
    """Draw as often between 1 and 10 as between 10 and 100."""
    step: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0, and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step {self.step:g} is not above 0")

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        ends = (self.low, self.high, 1 if self.step is None else self.step)
        return all(isinstance(end, int) for end in ends)

    def near(self, number: float) -> float:
        """Write a number with few digits, without leaving the range."""
        if self.whole or not number:
            return number
        digits = DIGITS - 1 - math.floor(math.log10(abs(number)))
        return min(self.high, max(self.low, round(number, digits)))


Domain = tuple[Any, ...] | Range
"""The values that a setting may have: some of them, or a range."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningConfig:
    """How `ostinato tune` searches for better settings."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    n_trials: int = 20
    """Settings that are tried, the job's own first."""
    budget: Duration | None = None
    """Time after which no further trial is begun, such as `30m`; a trial that is at work then ends
    with its epoch. Time of earlier runs of the same search counts."""
    metric: str = "loss"
    """What is improved on the validation rows: their `loss`, or a metric of the report, such as
    accuracy."""
    pruner: Literal["median", "halving", "hyperband", "none"] = "median"
    """Which trials are ended early: those that do worse than the `median` of the others at the same
    epoch, or those that fall behind in successive `halving`, in one bracket or several
    (`hyperband`)."""
    search_space: Annotated[dict[str, Any], WithJsonSchema(SPACE_SCHEMA)] = field(
        default_factory=dict
    )
    """What is tried, by dotted key: a list of values, or a range such as
    {low: 1e-4, high: 1e-2, log: true}. It replaces or joins what is tried by default; an empty list
    leaves the job's own value alone."""

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        if self.n_trials < 1:
            raise ValueError(f"trials: {self.n_trials} is too small; give at least 1")
        if self.budget is not None and self.budget <= 0:
            raise ValueError(f"budget: {self.budget} is not above 0; give more")
        for key, told in self.search_space.items():
            domain = read_domain(key, told)
            if self.metric == "loss" and domain and key in {f"head.{name}" for name in MEASURES}:
                raise ValueError(
                    f"space.{key}: it changes what the loss measures, so losses would not compare; "
                    "set tuning.metric to a metric of the report, such as accuracy"
                )

    @property
    def domains(self) -> dict[str, Domain]:
        """The space as it is told, read."""
        return {key: read_domain(key, told) for key, told in self.search_space.items()}


def read_domain(key: str, told: object) -> Domain:
    """Read what a setting may be.

    Raises:
        ValueError: there is no such setting, or it cannot be that.
    """
    kind = kind_of(key)
    if isinstance(told, Mapping):
        known = {end.name for end in fields(Range)}
        if strange := [name for name in told if name not in known]:
            raise ValueError(
                f"space.{key}: '{strange[0]}' is not a key of a range; "
                "write {low: 1e-4, high: 1e-2, log: true}"
            )
        try:
            ends = NUMBERS.validate_python(told)
            for name in {"low", "high"} & set(ends):
                ends[name] = checked(key, kind, ends[name])
            return Range(**ends)
        except (TypeError, ValidationError) as error:
            raise ValueError(f"space.{key}: a range needs numbers as low and high") from error
        except ValueError as error:
            raise ValueError(prefixed(str(error), f"space.{key}: ")) from error
    if not isinstance(told, list | tuple):
        raise ValueError(  # noqa: TRY004 - of a job file
            f"space.{key}: {told!r} is neither a list of values nor a range; write [{told}], or "
            "{low: ..., high: ...}"
        )
    return tuple(checked(key, kind, value) for value in told)


def prefixed(text: str, prefix: str) -> str:
    """Put the key before a text that does not begin with it."""
    return text if text.startswith(prefix) else prefix + text


def kind_of(key: str) -> Any:  # noqa: ANN401 - the type of a field
    """Find the type of the setting that a key names.

    Raises:
        ValueError: there is none, or it is not searched.
    """
    if key in FIXED:
        raise ValueError(f"space.{key}: it is not searched, for {FIXED[key]}; remove it")
    section, _, name = key.partition(".")
    if section in SECTIONS and name in (kinds := get_type_hints(SECTIONS[section])):
        return kinds[name]
    every = [f"{part}.{each.name}" for part, kind in SECTIONS.items() for each in fields(kind)]
    near = difflib.get_close_matches(key, every, n=1, cutoff=0.6)
    mend = f"did you mean '{near[0]}'?" if near else f"keys begin with {', '.join(SECTIONS)}"
    raise ValueError(f"space.{key}: there is no such setting; {mend}")


def checked(key: str, kind: Any, value: object) -> Any:  # noqa: ANN401 - any
    """Return the value as the setting takes it.

    Raises:
        ValueError: it does not.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].lower()
        raise ValueError(f"space.{key}: {value!r} is not valid: {reason}") from error


class Settings(NamedTuple):
    """The sections of a job that a search changes."""

    model: ModelConfig
    head: HeadConfig
    training: TrainingConfig

    def get(self, key: str) -> Any:  # noqa: ANN401 - of any setting
        """Return the value under a dotted key."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)

    def changed(self, chosen: Mapping[str, Any]) -> "Settings":
        """Put other values under some keys; what a new cell does not take goes.

        Raises:
            ValueError: they do not go together.
        """
        cell = chosen.get("model.cell", self.model.cell)
        values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        for name, plain in (PLAIN | {"bidirectional": False}).items():
            if not takes(cell, f"model.{name}"):
                values["model"][name] = plain
        for key, value in chosen.items():
            section, _, name = key.partition(".")
            values[section][name] = value
        return Settings(*(replace(getattr(self, name), **values[name]) for name in self._fields))


def takes(cell: str, key: str) -> bool:
    """Tell whether a cell has such a setting."""
    name = key.removeprefix("model.")
    if name == "bidirectional":
        return FAMILIES[cell].causal
    return name not in PLAIN or name in FAMILIES[cell].options
