"""The gate's decision with its evidence (`gate.json`), and the baseline that serves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Decision = Literal["promote", "keep", "not-comparable", "needs-approval"]

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineFacts:
    """A baseline that can serve, and how it was chosen."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    """Such as `logistic regression`."""
    metric: str
    """The gate's metric, by which it was chosen."""
    rows: int
    """Rows of the choice: of validation, or of training and validation out of fold."""
    folds: int
    """Folds that these rows were cut into; 1 for the validation split."""
    scores: Mapping[str, float]
    """Of every baseline on these rows, by name; without those that have none."""
    better: str | None
    """A better one that cannot serve; None where this is the best."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GainRecord:
    """The challenger's gain over another model; None for a number that is not finite."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    """The other model: a baseline, or the champion with its version."""
    is_champion: bool
    rows: int
    """Test rows on which both were scored."""
    gain: float | None
    """In the unit of the metric; positive where the challenger is better."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of its interval."""
    score: float | None
    """The challenger's, on these rows."""
    reference_score: float | None
    """The other model's, on the same rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardrailRecord:
    """A limit that blocks a promotion, whatever the gain."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    value: float | None
    """None where it is not finite."""
    limit: float
    """The largest allowed value."""
    passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldoutRecord:
    """How often the gate has used the same test rows."""

    __pydantic_config__: ClassVar = _STRICT

    hash: str
    """Of the rows' hashes, whatever their order."""
    rows: int
    uses: int
    """Evaluations on exactly these rows, including this one."""
    limit: int
    """Uses after which the report warns (gate.max_holdout_reuse)."""
    warning: str | None
    """For the owner of the job; None within the limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateRecord:
    """The decision, with its evidence and settings."""

    __pydantic_config__: ClassVar = _STRICT

    decision: Decision
    reason: str
    metric: str
    mode: Literal["superiority", "non-inferiority"]
    min_improvement: float
    margin: float
    confidence: float
    baseline_margin: float | None
    """How much worse than the best baseline is still as good, in the unit of the metric; None where
    it is not finite."""
    require_baseline: bool
    min_rows: int
    champion: str | None
    """The champion's name and version; None where there is none."""
    rows: int
    """Test rows that the champion was not trained on."""
    excluded_rows: int
    """Test rows that the champion was trained on."""
    comparisons: Sequence[GainRecord]
    """With the champion, where there is one, and with the best baseline."""
    guardrails: Sequence[GuardrailRecord]
    incomparable_reason: str | None
    """The reason why challenger and champion cannot be compared; None where they can."""
    block_reason: str | None
    """Another reason against a promotion; None for none."""
    is_tie: bool
    """Whether a first version is promoted that is not better than the best baseline by the whole
    interval, but as good within the margin."""
    fallback: Literal["baseline", "none"]
    """What serves where no network has beaten the best baseline."""
    holdout: HoldoutRecord

    @property
    def bound(self) -> float:
        """What the low end of the gain has to exceed: over the champion, or the best baseline."""
        if self.champion is None:
            return 0.0 - (self.baseline_margin or 0.0) if self.require_baseline else 0.0
        return self.min_improvement if self.mode == "superiority" else -self.margin
