"""The facts of each stage's output: one frozen record a stage, stored in its artifact's manifest.

The manifest holds a record as JSON and is parsed strictly: a field that is missing or unknown means
that another version of this program wrote the artifact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from models.features.embeddings.summary import EmbeddingSummary
from models.networks.config import ModelConfig
from tasks.gate_record import BaselineFacts, Decision, GateRecord
from tasks.library_record import LibraryPart
from tasks.pretraining_record import PretrainingFacts

Scores = Mapping[str, float]
"""Score by metric."""

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
    """The columns of a file in the source."""

    __pydantic_config__: ClassVar = _STRICT

    path: str
    """The first file that has these columns."""
    schema: Mapping[str, str]
    """Column name to Polars type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFacts:
    """A part of a snapshot: rows that were read from the source in one go."""

    __pydantic_config__: ClassVar = _STRICT

    rows: int
    """Rows in `rows.parquet`."""
    schema: Mapping[str, str]
    """Column name to Polars type."""
    origins: Sequence[tuple[str, int]]
    """Each file or table that was read, with its number of rows, in the order of the rows."""
    schemas: Sequence[FileSchema]
    """The different schemas among the files."""
    missing_files: int
    """Number of linked files that do not exist."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CutFacts:
    """The time as of which a snapshot was taken; later rows are left out."""

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
    """None where the snapshot has all rows of its parts."""
    origins: Sequence[Sequence[tuple[str, int]]]
    """For each part, its files with their numbers of rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedFacts:
    """The rows that meet their contract."""

    __pydantic_config__: ClassVar = _STRICT

    rows: int
    """Accepted rows."""
    quarantined: int
    """Rows that break a critical expectation."""
    expectations: int
    """Expectations that were checked."""
    broken: int
    """Expectations that were broken, of any severity."""
    warnings: str
    """A table of the broken expectations as text; empty where there are none."""
    by_pandas: Sequence[str]
    """Expectations that were checked by pandas, because Polars has no equivalent."""
    rows_key: str
    """Key of the rows themselves: equal for equal rows, whichever contract accepted them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedFacts:
    """A snapshot that breaks its contract; its files show the broken rows."""

    __pydantic_config__: ClassVar = _STRICT

    contract: str
    """The contract's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileFacts:
    """The distribution of accepted rows, from which drift is measured."""

    __pydantic_config__: ClassVar = _STRICT

    columns: Sequence[str]
    """The profiled columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureFacts:
    """Sequences and their splits; numbers count sequences unless said otherwise."""

    __pydantic_config__: ClassVar = _STRICT

    training: int
    """Training sequences."""
    validation: int
    """Validation sequences."""
    test: int
    """Test sequences."""
    unlabelled: int = 0
    """Training sequences without a target, which pretraining alone reads."""
    steps: int
    """Steps of all sequences together."""
    channels: int
    """Values of each step."""
    classes: Sequence[Scalar]
    """Classes of the target, in the source's notation; empty for other kinds of targets."""
    unreadable: int
    """Rows that could not be converted to sequences."""
    first_unreadable: str | None
    """The reason for the first of them."""
    unseen_classes: int
    """Sequences whose class is not in the training rows."""
    absent_classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Classes of training without a sequence, by the name of the split that lacks them."""
    duplicates: Mapping[str, int]
    """Rows that were removed from the evaluation, by what they duplicate."""
    embeddings: EmbeddingSummary | None = None
    """The pretrained embeddings, and what they cover."""
    files_hash: str | None = None
    """Hash of the files that the input is read with, such as pretrained embeddings or a backbone's
    weights; of a single one, the SHA-256 of its content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateFacts:
    """A trained model; an ensemble has the facts of its best network unless said otherwise."""

    __pydantic_config__: ClassVar = _STRICT

    epochs: int
    """Epochs that were trained."""
    best_epoch: int
    """The epoch with the weights of this model, from 1."""
    validation_loss: float
    """In the best epoch."""
    padding_share: float
    """Share of padding among the steps of the batches, in the first epoch."""
    validation_metric: float | None = None
    """The early-stopping metric in the best epoch; None where training stops by the loss."""
    epochs_planned: int
    """The largest number of epochs that could have been trained."""
    learning_rate: float
    """The peak of the schedule."""
    batch_size: int
    """Sequences of a batch."""
    precision: str
    """Number format of the computation, such as fp32 or bf16."""
    data_loading: Literal["streaming", "in_memory"]
    """Whether sequences were read from disk during the training."""
    kernels: str
    """The implementation of the cells."""
    plans: Sequence[Mapping[str, Scalar]]
    """What was measured before the training of each network, as in `TrainingPlan`."""
    parameters: int
    """Trainable parameters; of an ensemble, of all its networks."""
    device: str
    """The device of the training: cpu or cuda."""
    seconds: float
    """Duration of the training; of an ensemble, of all its networks."""
    peak_memory_bytes: int
    """Peak memory of the process."""
    energy_joules: float | None
    """None where the machine does not measure it."""
    members: Sequence[str] = ()
    """Keys of the networks of an ensemble, or of the ensemble that was distilled."""
    member_losses: Sequence[float] = ()
    """Their validation losses."""
    ensemble: str | None = None
    """Key of the ensemble that this network was distilled from."""
    folds: int = 1
    """Folds that the rows of training and validation were cut into; 1 for a validation split."""
    recurrent: str | None = None
    """Key of the network or ensemble that was joined with a branch."""
    branches: Sequence[str] = ()
    """The parallel branches that are fitted in closed form, such as `rocket`."""
    recurrent_weight: float | None = None
    """Weight of the recurrent part in the joined predictions, from 0 to 1."""
    branch_weights: Sequence[float] = ()
    """Weight of each branch."""
    pretraining: PretrainingFacts | None = None
    """What the networks started from; None for random weights."""
    baseline: BaselineFacts | None = None
    """The baseline that this model is; None for networks."""
    library: Sequence[LibraryPart] = ()
    """All that an ensemble was selected from; empty where none was."""
    selection: str | None = None
    """How its weights were found: `greedy`, `equal` (the best networks, then as a single one),
    `single` (the best part alone) or `default` (the job's own network and the branches)."""
    selection_losses: Mapping[str, float] = field(default_factory=dict)
    """Loss out of fold of each way that was considered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftedColumn:
    """A column that is distributed differently than in the champion's training rows."""

    __pydantic_config__: ClassVar = _STRICT

    column: str
    """Its name."""
    severity: str
    """`small` or `large`."""
    reason: str
    """What differs, in one sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFacts:
    """The scores of a candidate, and the gate's decision."""

    __pydantic_config__: ClassVar = _STRICT

    headline: str
    """Whether the network is better than the best baseline, in one sentence."""
    fallback: str | None = None
    """The baseline that the candidate is; None for networks."""
    decision: Decision
    """The gate's decision."""
    reason: str
    """The reason for it, in one sentence."""
    metric: str
    """The metric that the gate compares by."""
    rows: int
    """Test rows."""
    metrics: Scores
    """The candidate's, on the test rows."""
    parts: Mapping[str, Scores] = field(default_factory=dict)
    """Those of the recurrent part and of each branch alone, where the model joins them."""
    baselines: Mapping[str, Scores]
    """Those of the baselines on the same rows, by the name of the baseline."""
    best_baseline: str
    """The best one by the gate's metric."""
    champion: Scores | None
    """The champion's, on the test rows that it was not trained on; None where it has no score."""
    gate: GateRecord
    """The decision with its evidence."""
    warnings: Sequence[str]
    """Reasons to doubt the scores."""
    drift: Sequence[DriftedColumn] | None
    """Columns that have drifted; None where there is no champion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFacts:
    """A search for better settings."""

    __pydantic_config__: ClassVar = _STRICT

    metric: str
    """The metric that is optimized, on the validation rows."""
    trials: int
    """Number of trials that were run."""
    states: Mapping[str, int]
    """Number of trials by final state."""
    best_trial: int
    """Number of the best trial."""
    best_value: float
    """Of the metric, in the best trial."""
    initial_value: float | None
    """Of the metric, with the job's own settings; None where that trial did not finish."""
    best_params: Mapping[str, Any]
    """The settings of the best trial, by dotted key."""
    importance: Mapping[str, float]
    """Importance of each setting, as a share of 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedNetwork:
    """A network that the search of `model: auto` tried."""

    __pydantic_config__: ClassVar = _STRICT

    network: str
    """A short description, such as 'gru 32, mean'."""
    model: ModelConfig
    """All its settings."""
    rung: int
    """The last rung that it reached, from 1."""
    seconds: float
    """Duration of its training."""
    parameters: int | None
    """None where it could not be built."""
    epochs: int
    """Epochs that were trained."""
    epochs_planned: int
    """Epochs of a complete training."""
    value: float | None
    """Of the metric, in the best epoch, on the validation rows."""
    state: str
    """The state in which its training ended."""
    reason: str
    """The reason for an early end; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceFacts:
    """The network that `model: auto` chose, and all that it tried."""

    __pydantic_config__: ClassVar = _STRICT

    metric: str
    """The metric by which the networks are compared."""
    model: ModelConfig
    """The chosen network."""
    budget: float | None
    """Largest duration of its training in seconds; None where the job has no budget."""
    value: float | None
    """Of the metric, on the validation rows."""
    tried: int
    """Number of networks that were trained."""
    candidates: int
    """Number of networks that could have been tried."""
    seconds: float
    """Duration of all trainings."""
    networks: Sequence[TriedNetwork]
    """Those that were tried, best first."""


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
    """Scores of predictions, on rows with a known target that were not trained on."""

    __pydantic_config__: ClassVar = _STRICT

    metric: str
    """The metric that the gate compares by."""
    rows: int
    """Number of these rows."""
    scores: Mapping[str, ScoreInterval]
    """By metric."""
