"""The content of `report.json`: everything that an evaluation measured, as one frozen record.

The page, the model card, the registry and the monitor read its attributes. What does not apply to a
kind of target (steps of a forecast, labels of tags) is None here and left out of the file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

from tasks.facts import ChoiceFacts, ReportFacts, ScoreInterval

FILE = "report.json"

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LeakageCheckRecord:
    """The result of one leakage check."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    status: Literal["passed", "warning", "failed"]
    message: str
    value: float | None
    threshold: float
    """The status is `failed` from this value on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One epoch of the training."""

    __pydantic_config__: ClassVar = _STRICT

    epoch: int
    """From 0."""
    training_loss: float
    validation_loss: float
    metric: float | None = None
    """Of the predictions on the validation rows; None where none is measured."""
    metric_name: str | None = None
    learning_rate: float = 0.0
    padding_share: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplanationStep:
    """One step of an explained row; which fields it has depends on the kind of input."""

    __pydantic_config__: ClassVar = _STRICT

    token: str | None = None
    """Of a text, the token; of a tree, the node's word."""
    share: float | None = None
    """Attribution: what the step adds to the explained output."""
    unknown: bool = False
    """Whether the token is not in the vocabulary."""
    parent: int | None = None
    """Of a tree, steps from this node to its parent; 0 for a root."""
    values: Sequence[float | None] | None = None
    """Of a series or a sound, the value of each channel."""
    shares: Sequence[float] | None = None
    """Attribution of each channel or pixel of the step."""
    pixels: Sequence[int] | None = None
    """Of an image, one row of bytes."""
    attention: Sequence[float] | None = None
    """Attention weight of this step for each predicted symbol."""
    symbol: str | None = None
    """Symbol that a CTC network predicts at this step; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why one test row was predicted as it was."""

    __pydantic_config__: ClassVar = _STRICT

    row: int
    """Number of the row in the source."""
    target: Any
    """A value of the target's kind; None where there is no target."""
    prediction: Any
    """A value of the target's kind."""
    class_name: str | None
    """Of a category, the true class."""
    probability: float | None = None
    """Of a category, the probability of the predicted class."""
    is_correct: bool | None
    """Of a number, whether its error is at most the median; None where there is no target."""
    kind: str
    """Of the input."""
    method: str
    quantity: str
    """Description of the output that the shares add up to."""
    start: float | None = None
    """The output for the baseline input of integrated gradients."""
    end: float | None = None
    """The output for the row."""
    gap: float | None = None
    """Difference between the sum of the shares and the change of the output."""
    group_size: int = 1
    """Number of the row's steps that are averaged to one step here."""
    channels: Sequence[str] | None = None
    colors: int | None = None
    """Of an image, values of a pixel: 1 or 3."""
    image: Sequence[Sequence[int]] | None = None
    """The image that a text was read from, as rows of bytes."""
    symbols: Sequence[str] | None = None
    """Symbols that an attention decoder predicts."""
    steps: Sequence[ExplanationStep]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepErrors:
    """Errors of a forecast, one step ahead."""

    __pydantic_config__: ClassVar = _STRICT

    step: float
    """From 1."""
    mae: float
    rmse: float
    smape: float
    coverage: float | None = None
    """Share of targets between the lowest and the highest quantile."""
    width: float | None = None
    """Mean distance from the lowest to the highest quantile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnErrors:
    """Errors of one of several columns that are forecast together."""

    __pydantic_config__: ClassVar = _STRICT

    column: str
    mae: float
    """In the column's unit, as `rmse`."""
    rmse: float
    smape: float
    mase: float | None
    """None where no row has a known past that varies."""
    standardized_mae: float
    """Of values less their mean, over their standard deviation in training; so is the next."""
    standardized_mse: float
    coverage: float | None
    """Share of targets inside the model's interval; None where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelScores:
    """Precision, recall and F1 of one label of tags."""

    __pydantic_config__: ClassVar = _STRICT

    label: str
    rows: int
    """Test rows that have it."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Confusion matrix: counts of true class (row) by predicted class (column)."""

    __pydantic_config__: ClassVar = _STRICT

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Test rows whose predicted probability is in one interval."""

    __pydantic_config__: ClassVar = _STRICT

    low: float
    high: float
    rows: int
    confidence: float | None
    """Mean; None in an empty bin."""
    accuracy: float | None
    """Share of correct predictions; None in an empty bin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """Accuracy by confidence."""

    __pydantic_config__: ClassVar = _STRICT

    ece: float
    """Expected calibration error."""
    bins: Sequence[ReliabilityBin]


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationRecord:
    """Reliability of a classifier before and after temperature scaling."""

    __pydantic_config__: ClassVar = _STRICT

    temperature: float
    fitted_on: str
    before: Reliability
    after: Reliability


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCoverage:
    """Measured coverage of a forecast's intervals, one step ahead."""

    __pydantic_config__: ClassVar = _STRICT

    step: int
    """From 1."""
    rows: int
    coverage: float
    coverage_low: float
    coverage_high: float
    size: float
    """Mean width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConformalRecord:
    """Nominal and measured coverage of prediction sets or intervals."""

    __pydantic_config__: ClassVar = _STRICT

    kind: Literal["sets", "intervals"]
    confidence: float
    """Nominal coverage."""
    fitted_on: str
    note: str | None = None
    """The reason why the nominal coverage is not guaranteed; None where it is."""
    rows: int
    coverage: float | None
    """Measured; None where no interval could be checked, like the next three."""
    coverage_low: float | None
    coverage_high: float | None
    size: float | None
    """Mean number of classes of a set, or mean width of an interval."""
    by_step: Sequence[StepCoverage] | None
    """Of forecasts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceScore:
    """The score of one slice of the test rows; None for a number that cannot be computed."""

    __pydantic_config__: ClassVar = _STRICT

    by: str
    value: str
    rows: int
    score: float | None
    low: float | None
    high: float | None
    metric: str
    """The gate's metric, or f1 of one class where that metric needs all classes."""
    champion: float | None
    """The champion's score; None where it cannot be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstSlice(SliceScore):
    """The slice with the worst score, by the favourable end of its interval."""

    is_significant: bool
    """Whether even that end is worse than the score of all rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Milliseconds of the prediction of a single row."""

    __pydantic_config__: ClassVar = _STRICT

    p50: float
    p95: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """The cost of training, evaluation and one prediction."""

    __pydantic_config__: ClassVar = _STRICT

    training_seconds: float
    evaluation_seconds: float
    peak_memory_bytes: int
    energy_joules: float | None
    """None where the machine does not measure it."""
    parameters: int
    model_bytes: int
    latency_ms_per_row: Latency | None
    """None where no row could be predicted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRecord(ReportFacts):
    """The facts of a report, with all measurements."""

    intervals: Mapping[str, ScoreInterval]
    """The challenger's scores by metric, with intervals."""
    leakage_checks: Sequence[LeakageCheckRecord]
    history: Sequence[EpochRecord]
    explanations: Sequence[Explanation]
    units: Mapping[str, str]
    """Unit of each metric that has one."""
    slices: Sequence[SliceScore]
    worst_slice: WorstSlice | None
    calibration: CalibrationRecord | None
    """Of a category."""
    conformal: ConformalRecord | None
    """None where the model predicts neither sets nor intervals."""
    steps: Sequence[StepErrors] | None = None
    """Of a forecast."""
    by_column: Sequence[ColumnErrors] | None = None
    """Of a forecast of several columns."""
    by_label: Sequence[LabelScores] | None = None
    """Of tags."""
    confusion: Confusion | None = None
    """Of a category."""
    cost: Cost | None = None
    """Measured after the evaluation."""
    search: ChoiceFacts | None = None
    """Of `model: auto`."""


@cache
def _build_adapter() -> TypeAdapter[ReportRecord]:
    """Build parser and writer once; at import they would slow down the command line."""
    return TypeAdapter(ReportRecord)


def write_report(report: ReportRecord, folder: Path) -> None:
    """Write `report.json` into a folder."""
    content = _build_adapter().dump_python(report, exclude_defaults=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / FILE).write_text(text, encoding="utf-8")


def read_report(folder: Path) -> ReportRecord:
    """Read `report.json` from a folder.

    Raises:
        pydantic.ValidationError: another version of this program wrote it.
    """
    return _build_adapter().validate_python(json.loads((folder / FILE).read_text(encoding="utf-8")))
