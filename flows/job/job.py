"""The job: one file with the source of the data, what is predicted from it, and when.

It only composes: each section is defined in the module that it configures. Each error in a job file
becomes one line with the key, the value and the fix.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from data_contracts.yaml_file import YamlFileError, read_yaml
from flows.job.bounds import describe_outside_path, list_unusable_numbers
from flows.job.cross_checks import (
    check_auto_model,
    check_column_names,
    check_early_stopping_metric,
    check_ensemble,
    check_forecast,
    check_gate_metric,
    check_head,
    check_model_reads_input,
    check_pretraining,
    check_sampler,
    check_target_is_no_input,
    check_tuning,
)
from flows.job.defaults import fill_defaults
from flows.job.error_messages import KEYWORD, SECTION, format_error, merge_union_errors
from flows.job.notify_config import NotifyConfig, check_unique_blocks
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.kinds import InputConfig
from models.features.splitting.split import SplitConfig, list_split_columns
from models.features.static_covariates import CategoryInput, NumberInput
from models.learning.config import TrainingConfig
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.errors import JobError
from tasks.evaluation.slices import EvaluationConfig
from tasks.facts import ChoiceFacts
from tasks.gate.comparison import GateConfig
from tasks.ingestion.config import SourceConfig
from tasks.scoring.config import ScoreConfig
from tasks.storage.store import StoreConfig
from tasks.triggers.limits import TriggersConfig
from tasks.triggers.schedule import ScheduleConfig
from tasks.tuning.search_space import Settings, TuningConfig

_MAX_LINES, _MAX_LINE = 12, 400
"""Bounds of an error message: lines, and characters of each."""

_PYDANTIC_CONFIG: dict[str, object] = {"extra": "forbid", "use_attribute_docstrings": True}


ModelSection = Annotated[
    Annotated[ModelConfig, Tag(SECTION)] | Annotated[Literal["auto"], Tag(KEYWORD)],
    Discriminator(lambda value: KEYWORD if isinstance(value, str) else SECTION),
]
"""The section `model`, or the word `auto` instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A recurring retraining. Only `name`, `source`, `inputs` and `target` are required."""

    __pydantic_config__: ClassVar = _PYDANTIC_CONFIG

    name: str
    """Name of the registered model, of the experiment and of the runs."""
    source: SourceConfig
    """Where the data is."""
    inputs: tuple[InputConfig, ...]
    """Inputs: one sequence, and any number of static covariates (categories and numbers)."""
    target: TargetConfig
    """What is predicted."""
    window: WindowConfig | None = None
    """How a long series is cut into windows; omit it where each row holds its own sequence."""
    contract: str | None = None
    """File with the data contract; by default one is drafted from the data on the first run."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Which rows are for training, validation and test."""
    model: ModelSection = field(default_factory=ModelConfig)
    """The network. `auto` searches families and sizes by successive halving on the validation rows:
    after a ninth of `training.epochs`, and again after a third, the better third continues. The
    search costs about four trainings, or `training.budget`, which then limits the whole search; the
    champion's network is a candidate too. The chosen network is recorded with the version."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """The output head and its loss."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How the network is trained."""
    gate: GateConfig = field(default_factory=GateConfig)
    """When a challenger replaces the champion."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Slices and leakage checks of the report."""
    tuning: TuningConfig | None = None
    """What `ostinato tune` searches."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """Where artifacts are stored."""
    schedule: ScheduleConfig | None = None
    """When the job runs automatically."""
    score: ScoreConfig = field(default_factory=ScoreConfig)
    """Batch scoring with the champion."""
    triggers: TriggersConfig | None = None
    """What else starts a run, and how often at most."""
    notify: tuple[NotifyConfig, ...] = ()
    """Notifications, and who gets them."""

    def __post_init__(self) -> None:
        """Check that the sections fit each other."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", self.name):
            raise ValueError(
                f"name: '{self.name}' is not a name; use letters, digits, - and _ (at most 63)"
            )
        covariates = CategoryInput | NumberInput
        sequences = [read for read in self.inputs if not isinstance(read, covariates)]
        if len(sequences) != 1:
            raise ValueError(
                f"inputs: found {len(sequences)} sequences, expected one; list several channels "
                "of a series under one `column`; a category or a number is only an addition to a "
                "sequence"
            )
        if self.window and sequences[0].kind != "series":
            raise ValueError("window: only a series is cut into windows; remove it")
        if self.window and self.source.time is None:
            raise ValueError("window: a series needs source.time, the column that orders it")
        check_target_is_no_input(self.layout, self.target.columns)
        check_column_names(self.required_columns)
        check_unique_blocks(self.notify)
        check_head(self.head, self.target)
        check_sampler(self.training, self.target)
        check_early_stopping_metric(self.training, self.target)
        check_gate_metric(self.gate, self.target)
        check_ensemble(self.training, self.target)
        check_forecast(self.layout, self.head, self.target)
        check_pretraining(self.layout, self.model, self.training)
        if self.model == "auto":
            check_auto_model(self.layout, self.target, has_tuning=self.tuning is not None)
            return
        check_model_reads_input(self.layout, self.model, self.target)
        if self.tuning:
            check_tuning(self.tuning, self.target, self.settings, self.with_settings)

    def with_settings(self, settings: Settings) -> "Job":
        """Return the job with other settings and without `tuning`.

        Raises:
            ValueError: the settings do not fit the job.
        """
        return replace(self, **settings._asdict(), tuning=None)

    def with_choice(self, facts: ChoiceFacts) -> "Job":
        """Return the job with the network that the search chose."""
        budget = facts.budget
        if self.training.ensemble == "auto" and self.training.budget is not None:
            # The search had the other half.
            budget = self.training.budget / 2
        training = replace(self.training, budget=budget)
        return replace(self, model=facts.model, training=training)

    @property
    def settings(self) -> Settings:
        """The sections that tuning changes.

        Raises:
            JobError: the job has `model: auto`.
        """
        if self.model == "auto":
            raise JobError.of(
                "model: auto searches for a network itself, so there are no settings to start from",
                hint="name the network, such as model: {cell: gru}, or use `ostinato run`",
            )
        return Settings(self.model, self.head, self.training)

    @property
    def layout(self) -> Layout:
        """The columns that make up the sequences."""
        covariates = CategoryInput | NumberInput
        return Layout(
            input=next(read for read in self.inputs if not isinstance(read, covariates)),
            window=self.window,
            time=self.source.time,
            entity=self.source.entity,
            static_inputs=tuple(read for read in self.inputs if isinstance(read, covariates)),
            parse=self.source.parse,
        )

    @property
    def required_columns(self) -> list[str]:
        """The columns that the job reads."""
        time = [self.source.time] if self.source.time else []
        names = [
            *self.layout.raw_columns,
            *time,
            *self.target.columns,
            *list_split_columns(self.split),
        ]
        names += self.evaluation.slices
        return list(dict.fromkeys(names))

    @property
    def keeps_unlabelled(self) -> bool:
        """Whether rows without a target are kept, for pretraining; a window has none."""
        return self.training.pretrain != "none" and self.window is None and bool(self.target.column)

    @property
    def required_target(self) -> str | None:
        """The column of the target, where none may be missing."""
        return None if self.keeps_unlabelled else self.target.required_column

    @property
    def contract_path(self) -> str:
        """Path of the contract file; it is drafted there when it does not exist."""
        return self.contract or f".ostinato/contracts/{self.name}.yaml"


JOB_ADAPTER: TypeAdapter[Job] = TypeAdapter(Job)


def load_job(path: Path, overrides: Mapping[str, Any] | None = None) -> Job:
    """Read a job file.

    Args:
        path: the file.
        overrides: values by dotted key, such as {"training.epochs": 3}, that replace the file's.

    Raises:
        JobError: the file cannot be read, or is not valid; one line for every error.
    """
    raw = read_job_file(path)
    for key, value in (overrides or {}).items():
        set_value(raw, key, value)
    if lines := list(list_unusable_numbers(raw)):
        raise _build_error(path, lines)
    try:
        job = JOB_ADAPTER.validate_python(fill_defaults(raw))
    except ValidationError as error:
        schema = JOB_ADAPTER.json_schema()
        lines = [format_error(each, schema) for each in merge_union_errors(error.errors())]
        raise _build_error(path, lines) from error
    if job.contract and (problem := describe_outside_path(job.contract, [Path(), path.parent])):
        raise _build_error(path, [f"  contract: {job.contract} {problem}"])
    return job


def read_job_file(path: Path) -> dict[str, Any]:
    """Read a job file's sections, as they stand there.

    Raises:
        JobError: the file cannot be read, or has no sections.
    """
    try:
        raw = read_yaml(path)
    except OSError as error:
        raise JobError.of(
            f"job file {path} cannot be read: {error.strerror}",
            hint="correct the path, or draft one with `ostinato init DATA`",
        ) from error
    except YamlFileError as error:
        raise JobError.of(f"job file {error}") from error
    if not isinstance(raw, dict):
        raise JobError.of(
            f"job file {path} is of type {type(raw).__name__}, expected keys such as name",
            hint="draft one with `ostinato init DATA`",
        )
    return raw


def _build_error(path: Path, lines: list[str]) -> JobError:
    """Build the error of a job file, bounded whatever its values and however many its faults."""
    shown = [
        line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 100]} ... {line[-95:]}"
        for line in lines[:_MAX_LINES]
    ]
    rest = [f"  and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
    return JobError("\n".join([f"job file {path} is not valid:", *shown, *rest]))


def set_value(raw: dict[str, Any], key: str, value: object) -> None:
    """Set a value by its dotted key, in place.

    Raises:
        JobError: a part of the key is not a section.
    """
    *parents, last = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise JobError.of(f"{key}: '{parent}' is not a section", hint="see the job's schema")
    raw[last] = value


def format_schema() -> str:
    """Return the JSON schema of job files as text; editors complete and check by it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ostinato job",
        **JOB_ADAPTER.json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def flatten_params(job: Job) -> dict[str, str]:
    """Return every setting by its dotted key, as parameters for MLflow."""

    def walk(prefix: str, node: object) -> dict[str, str]:
        if isinstance(node, dict):
            return {
                name: text
                for key, value in node.items()
                for name, text in walk(f"{prefix}.{key}" if prefix else key, value).items()
            }
        return {prefix: json.dumps(node) if isinstance(node, list) else str(node)}

    return walk("", JOB_ADAPTER.dump_python(job, mode="json", exclude_none=True))


def format_job(job: Job) -> str:
    """Return the whole job as JSON, defaults included."""
    return JOB_ADAPTER.dump_json(job, exclude_none=True).decode()
