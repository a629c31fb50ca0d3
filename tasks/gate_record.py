"""The gate's decision with its evidence, as `gate.json` and the report's facts hold it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Decision = Literal["promote", "keep", "not-comparable", "needs-approval"]

_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class GainRecord:
    """The challenger's gain over one other model; None for a number that is not finite."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    """The other model: a baseline, or the champion with its version."""
    is_champion: bool
    rows: int
    """Test rows that both were scored on."""
    gain: float | None
    """In the metric's unit; positive where the challenger is better."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of its interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardrailRecord:
    """One thing that must not get worse, whatever the gain."""

    __pydantic_config__: ClassVar = _STRICT

    name: str
    value: float | None
    """None where it is not finite."""
    limit: float
    """The highest allowed value."""
    passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldoutRecord:
    """How often the gate has used these test rows."""

    __pydantic_config__: ClassVar = _STRICT

    hash: str
    """Of the rows' identities, in any order."""
    rows: int
    uses: int
    """Evaluations on exactly these rows, this one included."""
    limit: int
    """Uses after which the report warns (gate.max_holdout_reuse)."""
    warning: str | None
    """What to tell the owner of the job; None within the limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateRecord:
    """What was decided, on which evidence and by which settings."""

    __pydantic_config__: ClassVar = _STRICT

    decision: Decision
    reason: str
    metric: str
    mode: Literal["superiority", "non-inferiority"]
    min_improvement: float
    margin: float
    confidence: float
    min_rows: int
    champion: str | None
    """The champion's name and version; None where there is none."""
    rows: int
    """Test rows that the champion was not trained on."""
    excluded_rows: int
    """Test rows that it was trained on."""
    comparisons: Sequence[GainRecord]
    """With the champion, where there is one, and with the best baseline."""
    guardrails: Sequence[GuardrailRecord]
    incomparable: str | None
    """Why challenger and champion cannot be compared."""
    blocked: str | None
    """What else speaks against a promotion."""
    holdout: HoldoutRecord
