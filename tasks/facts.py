"""What each stage tells of its output: one frozen record a stage, kept in its artifact's manifest.

The manifest holds a record as JSON, and reading it back is strict: a field that is missing or
unknown means that another version of this program wrote the artifact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from models.networks.config import ModelConfig
from tasks.gate_record import Decision, GateRecord

Scores = Mapping[str, float]
"""A value for each metric, by its name."""

Scalar = bool | int | float | str | None

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """One file of an artifact or of a dataset."""

    __pydantic_config__: ClassVar = _STRICT

    bytes: int
    """Its size."""
    sha256: str
    """Hash of its content, in hexadecimal digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSchema:
    """The columns of a file of the source."""

    __pydantic_config__: ClassVar = _STRICT

    path: str
    """The first file that has these columns."""
    schema: Mapping[str, str]
    """Column name to Polars type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFacts:
    """A part of a snapshot: rows that were read together."""

    __pydantic_config__: ClassVar = _STRICT

    rows: int
    """Rows in `rows.parquet`."""
    schema: Mapping[str, str]
    """Column name to Polars type."""
    origins: Sequence[tuple[str, int]]
    """Each file or table that was read, and how many rows it gave, in the order of the rows."""
    schemas: Sequence[FileSchema]
    """The different schemas among the files."""
    absent: int
    """Files that rows refer to and that were not there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CutFacts:
    """The time up to which a snapshot has rows."""

    __pydantic_config__: ClassVar = _STRICT

    column: str
    """The column of time."""
    until: str
    """The latest time, inclusive, in ISO 8601."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotFacts:
    """A snapshot of the source."""

    __pydantic_config__: ClassVar = _STRICT

    rows: int
    """Rows up to the cut."""
    files: int
    """Files, or batches of a table, that they come from."""
    schema: Mapping[str, str]
    """Column name to Polars type, over all parts."""
    parts: Sequence[str]
    """Keys of the parts, in the order of the rows."""
    cut: CutFacts | None
    """None where all rows of the parts count."""
    origins: Sequence[Sequence[tuple[str, int]]]
    """For each part, its files and how many rows each gave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedFacts:
    """The rows that keep their contract."""

    __pydantic_config__: ClassVar = _STRICT

    rows: int
    """Accepted rows."""
    quarantined: int
    """Rows that break a critical expectation."""
    promises: int
    """Expectations that were checked."""
    broken: int
    """Expectations that were broken, of any severity."""
    warnings: str
    """A table of the broken expectations as text; empty when there are none."""
    by_pandas: Sequence[str]
    """Expectations that had to be checked by pandas."""
    rows_key: str
    """Equal for equal rows, whichever contract accepted them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedFacts:
    """A snapshot that breaks its contract, with what was found, for inspection."""

    __pydantic_config__: ClassVar = _STRICT

    contract: str
    """The contract's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileFacts:
    """The distribution of accepted rows, for the measuring of drift."""

    __pydantic_config__: ClassVar = _STRICT

    columns: Sequence[str]
    """The profiled columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureFacts:
    """Sequences and their splits."""

    __pydantic_config__: ClassVar = _STRICT

    training: int
    """Training sequences."""
    validation: int
    """Validation sequences."""
    test: int
    """Test sequences."""
    steps: int
    """Steps of all sequences together."""
    channels: int
    """Values of each step."""
    classes: Sequence[Scalar]
    """Classes of the target as the source writes them; empty for other targets."""
    unreadable: int
    """Rows that no sequence could be made of."""
    first_unreadable: str | None
    """Why the first of them cannot be read."""
    unseen_classes: int
    """Sequences whose class is not among the training rows."""
    duplicates: Mapping[str, int]
    """Rows that were taken out of the evaluation, by what they repeat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateFacts:
    """A trained model; an ensemble has the facts of its best network unless said otherwise."""

    __pydantic_config__: ClassVar = _STRICT

    epochs: int
    """Epochs that were trained."""
    best_epoch: int
    """The epoch whose weights were kept, from 1."""
    validation_loss: float
    """In the best epoch."""
    padding_share: float
    """Share of padding among the steps of the batches, in the first epoch."""
    validation_metric: float | None = None
    """The early-stopping metric in the best epoch; None where training stops by the loss."""
    epochs_planned: int
    """Upper bound on the epochs."""
    learning_rate: float
    """The highest one."""
    batch: int
    """Sequences that were read at once."""
    precision: str
    """What was computed in."""
    data: Literal["streaming", "in_memory"]
    """Whether sequences were read from disk while training."""
    kernels: str
    """The implementation of the cells."""
    plans: Sequence[Mapping[str, Scalar]]
    """What was measured before each network was trained, as in `TrainingPlan`."""
    parameters: int
    """Numbers that are learned; of an ensemble, of all its networks."""
    device: str
    """Where it was trained: cpu or cuda."""
    seconds: float
    """Time of the training; of an ensemble, of all its networks."""
    peak_memory_bytes: int
    """The most memory that the process held."""
    energy_joules: float | None
    """None where the machine does not measure it."""
    members: Sequence[str] = ()
    """Keys of the networks of an ensemble, or of the one that was distilled."""
    member_losses: Sequence[float] = ()
    """Their validation losses."""
    ensemble: str | None = None
    """Key of the ensemble that this network was distilled from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftedColumn:
    """A column whose values are distributed otherwise than in the champion's rows."""

    __pydantic_config__: ClassVar = _STRICT

    column: str
    """Its name."""
    severity: str
    """`small` or `large`."""
    reason: str
    """What differs, in a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFacts:
    """The scores of a candidate, and the gate's decision."""

    __pydantic_config__: ClassVar = _STRICT

    headline: str
    """Whether the network is better than the best baseline, in a sentence."""
    decision: Decision
    """What the gate decided."""
    reason: str
    """Why, in a sentence."""
    metric: str
    """The metric that the gate compares by."""
    rows: int
    """Test rows."""
    metrics: Scores
    """The candidate's, on the test rows."""
    baselines: Mapping[str, Scores]
    """Those of each baseline, on the same rows."""
    best_baseline: str
    """The best one by the gate's metric."""
    champion: Scores | None
    """The champion's, on the rows that neither was trained on; None where it has none."""
    gate: GateRecord
    """The decision with its evidence."""
    warnings: Sequence[str]
    """Reasons to doubt the scores."""
    drift: Sequence[DriftedColumn] | None
    """Columns that have drifted; None where there is no champion to compare with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFacts:
    """A search for better settings."""

    __pydantic_config__: ClassVar = _STRICT

    metric: str
    """The metric that is improved, on the validation rows."""
    trials: int
    """How many were run."""
    states: Mapping[str, int]
    """How many ended in each state."""
    best: int
    """Number of the best trial."""
    value: float
    """Of the metric, in the best trial."""
    own_value: float | None
    """With the job's own settings."""
    chosen: Mapping[str, Any]
    """The best settings, by dotted key; each of its own type."""
    importance: Mapping[str, float]
    """How much each setting matters, as a share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedNetwork:
    """How far a network came in the search of `model: auto`."""

    __pydantic_config__: ClassVar = _STRICT

    network: str
    """What distinguishes it, in a few words."""
    model: ModelConfig
    """All its settings."""
    rung: int
    """The last rung that it reached, from 1."""
    seconds: float
    """Time of its training."""
    parameters: int | None
    """None where it could not be built."""
    epochs: int
    """Epochs that were trained."""
    epochs_planned: int
    """Epochs of its whole training."""
    value: float | None
    """Of the metric, in its best epoch, on the validation rows."""
    state: str
    """How its training ended."""
    reason: str
    """Why it ended early; empty where it did not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceFacts:
    """The network that `model: auto` chose."""

    __pydantic_config__: ClassVar = _STRICT

    metric: str
    """The metric that the networks are compared by."""
    model: ModelConfig
    """The chosen network."""
    budget: float | None
    """Seconds that its training may take; None where the job has no budget."""
    value: float | None
    """Of the metric, on the validation rows."""
    tried: int
    """Networks that were trained."""
    contenders: int
    """Networks that there were to try."""
    seconds: float
    """Time of all trainings."""
    networks: Sequence[TriedNetwork]
    """All that were tried, the best first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreInterval:
    """A score with its confidence interval."""

    __pydantic_config__: ClassVar = _STRICT

    value: float
    """On all rows."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityFacts:
    """How good predictions are, on rows whose target is known and that were not trained on."""

    __pydantic_config__: ClassVar = _STRICT

    metric: str
    """The metric that the gate compares by."""
    rows: int
    """Rows that were scored."""
    scores: Mapping[str, ScoreInterval]
    """By metric."""
