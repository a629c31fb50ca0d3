"""The job: one file that says where the data is, what is predicted from it, and when.

It only composes: each section is defined beside what it configures. Reading a job file turns
every fault into one sentence with the key, the value and the mend.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from flows.job.cross_checks import (
    refuse_auto,
    refuse_ensemble,
    refuse_forecasts,
    refuse_losses,
    refuse_own_answer,
    refuse_patterns,
    refuse_sampling,
    refuse_search,
    refuse_stops,
    refuse_unread,
)
from flows.job.error_messages import NETWORK, WORD, explain
from flows.job.notify_config import NotifyConfig, refuse_twice
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.kinds import InputConfig
from models.features.splitting.split import SplitConfig, split_columns
from models.features.static_covariates import CategoryInput, NumberInput
from models.learning.config import TrainingConfig
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.errors import JobError
from tasks.evaluation.slices import EvaluationConfig
from tasks.gate.comparison import GateConfig
from tasks.ingestion.config import SourceConfig
from tasks.records import Facts
from tasks.scoring.config import ScoreConfig
from tasks.storage.store import StoreConfig
from tasks.triggers.limits import TriggersConfig
from tasks.triggers.schedule import ScheduleConfig
from tasks.tuning.search_space import Settings, TuningConfig

SETTINGS: dict[str, object] = {"extra": "forbid", "use_attribute_docstrings": True}


Network = Annotated[
    Annotated[ModelConfig, Tag(NETWORK)] | Annotated[Literal["auto"], Tag(WORD)],
    Discriminator(lambda told: WORD if isinstance(told, str) else NETWORK),
]
"""A section of a job, or a word in its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A recurring retraining. `name`, `source`, `inputs` and `target` are enough."""

    __pydantic_config__: ClassVar = SETTINGS

    name: str
    """Names the registered model, the experiment and the runs."""
    source: SourceConfig
    """Where the data is."""
    inputs: tuple[InputConfig, ...]
    """What is read from it: one sequence, and any number of categories and numbers beside it."""
    target: TargetConfig
    """What is predicted."""
    window: WindowConfig | None = None
    """How a long series is cut; leave it out where each row holds its own sequence."""
    contract: str | None = None
    """File with the contract; when left out, one is drafted from the data on the first run."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Which rows train, validate and test."""
    model: Network = field(default_factory=ModelConfig)
    """The network. `auto` tries families and sizes by successive halving on the validation rows:
    after a ninth of `training.epochs`, and again after a third, the better third goes on. It comes
    to about four trainings, or to `training.budget`, which then is that of the whole search; the
    champion's network is tried too. The version holds the network that was chosen, as if the job
    had named it."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """How answers are made, and how wrong ones are counted."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How it learns."""
    gate: GateConfig = field(default_factory=GateConfig)
    """What a challenger has to show before it serves."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What a report looks at beside the scores."""
    tuning: TuningConfig | None = None
    """What `ostinato tune` tries."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """Where artifacts are kept."""
    schedule: ScheduleConfig | None = None
    """When it runs by itself."""
    score: ScoreConfig = field(default_factory=ScoreConfig)
    """What the version that serves answers in batches, and when."""
    triggers: TriggersConfig | None = None
    """What else starts it, and how often at most."""
    notify: tuple[NotifyConfig, ...] = ()
    """Who is told what becomes of it, while it is served by `ostinato ui` or deployed."""

    def __post_init__(self) -> None:
        """Refuse sections that do not fit each other."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", self.name):
            raise ValueError(
                f"name: '{self.name}' is not a name; use letters, digits, - and _ (at most 63)"
            )
        sides = CategoryInput | NumberInput
        sequences = [read for read in self.inputs if not isinstance(read, sides)]
        if len(sequences) != 1:
            raise ValueError(
                f"inputs: found {len(sequences)} sequences, expected one; list several channels "
                "of a series under one `column`; a category or a number stands beside a sequence"
            )
        if self.window and sequences[0].kind != "series":
            raise ValueError("window: only a series is cut into windows; remove it")
        if self.window and self.source.time is None:
            raise ValueError("window: a series needs source.time, the column that orders it")
        refuse_own_answer(self.layout, self.target.column)
        refuse_patterns(self.needed)
        refuse_twice(self.notify)
        refuse_losses(self.head, self.target)
        refuse_sampling(self.training, self.target)
        refuse_stops(self.training, self.target)
        refuse_ensemble(self.training, self.target)
        refuse_forecasts(self.layout, self.head, self.target)
        if self.model == "auto":
            refuse_auto(self.layout, self.target, tuned=self.tuning is not None)
            return
        refuse_unread(self.layout, self.model, self.target)
        if self.tuning:
            refuse_search(self.tuning, self.target, self.settings, self.with_settings)

    def with_settings(self, settings: Settings) -> "Job":
        """Return the job with other settings, and nothing left to search.

        Raises:
            ValueError: they do not fit it.
        """
        return replace(self, **settings._asdict(), tuning=None)

    def with_choice(self, facts: Facts) -> "Job":
        """Return the job with the network that was chosen for it."""
        training = replace(self.training, budget=facts["budget"])
        return replace(self, model=ModelConfig.of(facts["model"]), training=training)

    @property
    def settings(self) -> Settings:
        """The sections that a search changes.

        Raises:
            JobError: a search of its own chooses the network.
        """
        if self.model == "auto":
            raise JobError.of(
                "model: auto chooses a network by itself, so there are no settings to begin from",
                mend="name the network, such as model: {cell: gru}, or use `ostinato run`",
            )
        return Settings(self.model, self.head, self.training)

    @property
    def layout(self) -> Layout:
        """The columns that make the sequences."""
        sides = CategoryInput | NumberInput
        return Layout(
            input=next(read for read in self.inputs if not isinstance(read, sides)),
            window=self.window,
            time=self.source.time,
            entity=self.source.entity,
            statics=tuple(read for read in self.inputs if isinstance(read, sides)),
        )

    @property
    def needed(self) -> list[str]:
        """The columns that the job reads."""
        time = [self.source.time] if self.source.time else []
        names = [*self.layout.raw_columns, *time, *self.target.columns, *split_columns(self.split)]
        names += self.evaluation.slices
        return list(dict.fromkeys(names))

    @property
    def contract_path(self) -> str:
        """Where the contract is, or will be drafted."""
        return self.contract or f".ostinato/contracts/{self.name}.yaml"


ADAPTER: TypeAdapter[Job] = TypeAdapter(Job)


def load_job(path: Path, overrides: Mapping[str, Any] | None = None) -> Job:
    """Read a job file.

    Args:
        path: the file.
        overrides: values by dotted key, such as {"training.epochs": 3}, that replace the file's.

    Raises:
        JobError: one line for every fault.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError.of(
            f"job file {path} cannot be read: {error.strerror}",
            mend="correct the path, or draft one with `ostinato init DATA`",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JobError.of(f"job file {path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise JobError.of(
            f"job file {path} holds {type(raw).__name__}, expected keys such as name and source",
            mend="draft one with `ostinato init DATA`",
        )
    for key, value in (overrides or {}).items():
        override(raw, key, value)
    try:
        return ADAPTER.validate_python(raw)
    except ValidationError as error:
        schema = ADAPTER.json_schema()
        faults = [explain(dict(fault), schema) for fault in error.errors()]
        raise JobError("\n".join([f"job file {path} is not valid:", *faults])) from error


def override(raw: dict[str, Any], key: str, value: object) -> None:
    """Set a value by its dotted key."""
    *parents, last = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise JobError.of(f"{key}: '{parent}' is not a section", mend="see the job's schema")
    raw[last] = value


def schema_text() -> str:
    """Write the JSON schema of a job file, which editors use to help."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ostinato job",
        **ADAPTER.json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def flat_params(job: Job) -> dict[str, str]:
    """Write every setting under its dotted key, as MLflow shows parameters."""

    def walk(prefix: str, node: object) -> dict[str, str]:
        if isinstance(node, dict):
            return {
                name: text
                for key, value in node.items()
                for name, text in walk(f"{prefix}.{key}" if prefix else key, value).items()
            }
        return {prefix: json.dumps(node) if isinstance(node, list) else str(node)}

    return walk("", ADAPTER.dump_python(job, mode="json", exclude_none=True))


def job_text(job: Job) -> str:
    """Write the whole job as JSON, defaults included."""
    return ADAPTER.dump_json(job, exclude_none=True).decode()
