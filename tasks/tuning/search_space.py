"""The search space: which settings a search may change, by dotted key, and their domains.

It is the default space, by the kinds of input and target, with the domains of the job in place of
its own.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_type_hints

from pydantic import TypeAdapter, ValidationError, WithJsonSchema

from models.features.config import SELF_SUPERVISED, Layout, TargetConfig
from models.learning.config import TrainingConfig
from models.networks.config import OPTION_DEFAULTS, ModelConfig
from models.networks.families import FAMILIES
from models.networks.heads.config import HeadConfig
from models.units import Duration

_SECTIONS: dict[str, Any] = {
    "model": ModelConfig,
    "training": TrainingConfig,
    "head": HeadConfig,
}
"""Sections of a job that a search may change, and their classes."""

_NOT_SEARCHED = {
    "training.seed": "a seed that scores better by chance is no better setting",
    "training.ensemble": "set it in `training`, for the networks of the best settings",
    "training.distill": "set it in `training`, for the network of the best settings",
    "training.device": "it changes no prediction",
    "training.checkpoint_every": "it changes no prediction",
}
"""Settings that cannot be searched, and why."""

_LOSS_SETTINGS = ("loss", "quantiles", "class_weights", "focal_gamma", "label_smoothing", "decoder")
"""Settings of the head that change what the loss measures."""

_RANGE_ADAPTER: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, bool | int | float | None])

_SIGNIFICANT_DIGITS = 3
"""Digits of a drawn number: more would make job files hard to read."""

_SPACE_SCHEMA = {
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
    "propertyNames": {"pattern": f"^({'|'.join(_SECTIONS)})\\.[a-z_]+$"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; integers where both are."""

    low: float
    high: float
    log: bool = False
    """Whether the logarithm is drawn uniformly."""
    step: float | None = None

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0, and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step {self.step:g} is not above 0")

    @property
    def is_integer(self) -> bool:
        """Whether only integers are drawn."""
        ends = (self.low, self.high, 1 if self.step is None else self.step)
        return all(isinstance(end, int) for end in ends)

    def round_value(self, number: float) -> float:
        """Round a number to few digits, within the range."""
        if self.is_integer or not number:
            return number
        digits = _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(number)))
        return min(self.high, max(self.low, round(number, digits)))


Domain = tuple[Any, ...] | Range
"""The values that a setting may have: a list of choices, or a range."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningConfig:
    """How `ostinato tune` searches for better settings."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    n_trials: int = 20
    """Number of trials; the first are the job's own settings."""
    budget: Duration | None = None
    """Time after which no further trial is started, such as `30m`; a running trial then ends with
    its epoch. The time of earlier runs of the same search counts too."""
    metric: str = "loss"
    """What is optimised on the validation rows: the `loss`, or a metric of the report, such as
    `accuracy`."""
    pruner: Literal["median", "halving", "hyperband", "none"] = "median"
    """Which trials are ended early: those that do worse than the `median` of the others at the same
    epoch, or those that fall behind in successive `halving`, in one bracket or several
    (`hyperband`)."""
    search_space: Annotated[dict[str, Any], WithJsonSchema(_SPACE_SCHEMA)] = field(
        default_factory=dict
    )
    """The domain of each setting, by dotted key: a list of values, or a range such as
    {low: 1e-4, high: 1e-2, log: true}. It replaces or extends the default space; an empty list
    keeps the job's own value."""

    def __post_init__(self) -> None:
        """Check numbers and search space."""
        if self.n_trials < 1:
            raise ValueError(f"n_trials: {self.n_trials} is too small; give at least 1")
        if self.budget is not None and self.budget <= 0:
            raise ValueError(f"budget: {self.budget} is not above 0; give more")
        for key, given in self.search_space.items():
            domain = _read_domain(key, given)
            if (
                self.metric == "loss"
                and domain
                and key in {f"head.{name}" for name in _LOSS_SETTINGS}
            ):
                raise ValueError(
                    f"search_space.{key}: it changes what the loss measures, so losses would not "
                    "compare; set tuning.metric to a metric of the report, such as accuracy"
                )

    @property
    def domains(self) -> dict[str, Domain]:
        """The given search space, parsed and checked."""
        return {key: _read_domain(key, given) for key, given in self.search_space.items()}


class Settings(NamedTuple):
    """The sections of a job that a search changes."""

    model: ModelConfig
    head: HeadConfig
    training: TrainingConfig

    def get(self, key: str) -> Any:  # noqa: ANN401 - of any setting
        """Return the value under a dotted key."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)

    def with_values(self, params: Mapping[str, Any]) -> "Settings":
        """Return the settings with other values; options that a new cell does not have are reset.

        Args:
            params: values by dotted key.

        Raises:
            ValueError: the values do not go together.
        """
        cell = params.get("model.cell", self.model.cell)
        values: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
        for name, plain in (OPTION_DEFAULTS | {"bidirectional": False}).items():
            if not accepts_setting(cell, f"model.{name}"):
                values["model"][name] = plain
        for key, value in params.items():
            section, _, name = key.partition(".")
            values[section][name] = value
        return Settings(*(replace(getattr(self, name), **values[name]) for name in self._fields))


def accepts_setting(cell: str, key: str) -> bool:
    """Return whether a cell has the setting of a dotted key."""
    name = key.removeprefix("model.")
    if name == "bidirectional":
        return FAMILIES[cell].causal
    return name not in OPTION_DEFAULTS or name in FAMILIES[cell].options


def build_search_space(
    tuning: TuningConfig, base: Settings, layout: Layout, target: TargetConfig
) -> dict[str, Domain]:
    """Build the space of a job: the default one, with the domains of the job in place of its own.

    Default domains are widened to contain the job's own values. The cell comes first, for it
    decides which other settings there are.
    """
    default = _build_default_space(layout, target, metric=tuning.metric)
    given = tuning.domains
    space = {key: _widen_domain(domain, base.get(key)) for key, domain in default.items()} | given
    searched = {key: domain for key, domain in space.items() if domain != ()}
    return dict(sorted(searched.items(), key=lambda entry: (entry[0] != "model.cell", entry[0])))


def contains_value(domain: Domain, value: Any) -> bool:  # noqa: ANN401 - of any setting
    """Return whether a domain contains a value."""
    if not isinstance(domain, Range):
        return value in domain
    return isinstance(value, int | float) and domain.low <= value <= domain.high


_EMBEDDED_KINDS = ("text", "tree")
"""Kinds of input whose steps are embeddings."""

_TRAINING_SPACE: dict[str, Domain] = {
    "training.learning_rate": Range(low=5e-4, high=2e-2, log=True),
    "training.batch_size": (16, 32, 64, 128),
    "training.weight_decay": Range(low=1e-4, high=0.3, log=True),
}


def _build_default_space(layout: Layout, target: TargetConfig, *, metric: str) -> dict[str, Domain]:
    """Build the space that is searched by default.

    Args:
        layout: with the kind of input.
        target: with the kind of target.
        metric: that is optimised.
    """
    kind = layout.input.kind
    space: dict[str, Domain] = {
        "model.hidden_size": (32, 64, 128, 256),
        "model.num_layers": (1, 2),
        "model.dropout": Range(low=0.0, high=0.5),
    }
    if kind in _EMBEDDED_KINDS:
        space["model.embedding_dim"] = (64, 128, 256)
    if kind == "tree":
        space["model.children"] = ("n-ary", "child-sum")
    else:
        space["model.cell"] = ("gru", "lstm", "mingru", "qrnn")
    if kind != "tree" and target.kind != "next_step":
        space["model.bidirectional"] = (False, True)
    if not getattr(layout.input, "supervise_nodes", False) and target.kind not in SELF_SUPERVISED:
        space["model.pooling"] = ("last", "mean", "max", "attention")
    space |= _TRAINING_SPACE
    if target.kind == "category" and metric != "loss":
        space["training.sampler"] = ("random", "balanced")
    return space


def _widen_domain(domain: Domain, value: Any) -> Domain:  # noqa: ANN401 - of any setting
    """Return the domain, widened to contain a value where it can."""
    if not isinstance(domain, Range):
        return domain if value in domain else (*domain, value)
    if isinstance(value, str) or value is None or (domain.log and value <= 0):
        return domain
    return replace(domain, low=min(domain.low, value), high=max(domain.high, value))


def _read_domain(key: str, given: object) -> Domain:
    """Parse the domain of a setting.

    Raises:
        ValueError: there is no such setting, or a value is not valid for it.
    """
    setting_type = _find_setting_type(key)
    if isinstance(given, Mapping):
        range_keys = {end.name for end in fields(Range)}
        if unknown := [name for name in given if name not in range_keys]:
            raise ValueError(
                f"search_space.{key}: '{unknown[0]}' is not a key of a range; "
                "write {low: 1e-4, high: 1e-2, log: true}"
            )
        try:
            bounds = _RANGE_ADAPTER.validate_python(given)
            for name in {"low", "high"} & set(bounds):
                bounds[name] = _validate_value(key, setting_type, bounds[name])
            return Range(**bounds)
        except (TypeError, ValidationError) as error:
            raise ValueError(
                f"search_space.{key}: a range needs numbers as low and high"
            ) from error
        except ValueError as error:
            raise ValueError(_add_prefix(str(error), f"search_space.{key}: ")) from error
    if not isinstance(given, list | tuple):
        raise ValueError(  # noqa: TRY004 - of a job file
            f"search_space.{key}: {given!r} is neither a list of values nor a range; "
            f"write [{given}], or "
            "{low: ..., high: ...}"
        )
    return tuple(_validate_value(key, setting_type, value) for value in given)


def _add_prefix(text: str, prefix: str) -> str:
    """Add a prefix to a text that does not begin with it."""
    return text if text.startswith(prefix) else prefix + text


def _find_setting_type(key: str) -> Any:  # noqa: ANN401 - the type of a field
    """Find the type of the setting of a dotted key.

    Raises:
        ValueError: there is no such setting, or it cannot be searched.
    """
    if key in _NOT_SEARCHED:
        raise ValueError(f"search_space.{key}: it is not searched: {_NOT_SEARCHED[key]}; remove it")
    section, _, name = key.partition(".")
    if section in _SECTIONS and name in (setting_types := get_type_hints(_SECTIONS[section])):
        return setting_types[name]
    every = [f"{part}.{each.name}" for part, kind in _SECTIONS.items() for each in fields(kind)]
    near = difflib.get_close_matches(key, every, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'?" if near else f"keys begin with {', '.join(_SECTIONS)}"
    raise ValueError(f"search_space.{key}: there is no such setting; {hint}")


def _validate_value(key: str, setting_type: Any, value: object) -> Any:  # noqa: ANN401 - any
    """Convert a value to the type of its setting.

    Raises:
        ValueError: it is not valid.
    """
    try:
        return TypeAdapter(setting_type).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].lower()
        raise ValueError(f"search_space.{key}: {value!r} is not valid: {reason}") from error
