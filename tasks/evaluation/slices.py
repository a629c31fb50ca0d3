"""What is looked at beyond the one score: parts of the rows, and signs that a score is too good."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import polars as pl

from models.calibration import Calibration
from models.evaluation.leakage_checks import Canary
from models.evaluation.metrics.by_kind import METRICS
from models.evaluation.predictions import Judged
from models.evaluation.slices import (
    Slice,
    among,
    by_class,
    by_column,
    by_range,
    score_slices,
    worst_of,
)
from models.features.featurizer import Featurizer
from models.features.splitting.split import TEST
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import TestRows
from tasks.dataset.rowset import RowSet
from tasks.evaluation.calibration import calibration_of, conformal_of
from tasks.gate.comparison import GateConfig, Rival, metric_name

FEW = 2
"""Resamples where no interval is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What a report looks at beside the scores of all test rows."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    slices: tuple[str, ...] = ()
    """Columns by whose values the rows are scored apart, such as a region or a customer's kind;
    by class, entity, length and time they are anyhow."""
    leakage_checks: Literal["warn", "block"] = "warn"
    """What follows when a check finds scores too good to be true: `block` lets none serve until a
    person has approved it."""

    def __post_init__(self) -> None:
        """Refuse a column that is named twice."""
        if len(set(self.slices)) < len(self.slices):
            raise ValueError(f"slices: {list(self.slices)} names a column twice; remove one")


class Looked(NamedTuple):
    """What is looked at."""

    rows: RowSet
    features_dir: Path
    featurizer: Featurizer
    test: TestRows
    answered: pl.DataFrame
    """The candidate's answers to the test rows."""
    calibration: Calibration | None

    @property
    def by_time(self) -> bool:
        """Whether neighbours among the rows are alike."""
        return bool(self.featurizer.split.by == "time")


def look_closer(
    seen: Looked,
    challenger: Judged,
    rival: Rival | None,
    *,
    gate: GateConfig,
    evaluation: EvaluationConfig,
) -> dict[str, Any]:
    """Tell how sure the candidate is, and where it is good and where not."""
    about = (seen.answered, seen.test, seen.featurizer, seen.calibration)
    slices = slices_of(seen, challenger, evaluation.slices)
    return {
        "calibration": calibration_of(*about),
        "conformal": conformal_of(*about, confidence=gate.confidence),
        **sliced(challenger, slices, rival, gate=gate, by_time=seen.by_time),
    }


def blocking(canaries: Sequence[Canary], evaluation: EvaluationConfig) -> str | None:
    """Say why nothing may be promoted, where a canary rings and the job says that this blocks."""
    rung = [each for each in canaries if each.verdict == "alarm"]
    if evaluation.leakage_checks != "block" or not rung:
        return None
    words = "; ".join(f"{each.name}: {each.words}" for each in rung)
    return f"the scores are too good to be true: {words}"


def warnings_of(canaries: Sequence[Canary]) -> list[str]:
    """Say what makes one doubt the scores."""
    return [f"{each.name}: {each.words}" for each in canaries if each.verdict != "quiet"]


def slices_of(seen: Looked, judged: Judged, columns: Sequence[str]) -> list[Slice]:
    """Divide the test rows in every way that there is, and by the columns that a job names."""
    featurizer, test = seen.featurizer, seen.test
    layout, found = featurizer.layout, by_class(judged, featurizer.target.classes)
    named = {"entity": layout.entity} if layout.entity else {}
    named |= {name: name for name in columns if name != layout.entity}
    if named:
        read = list(dict.fromkeys(named.values()))
        frame = seen.rows.scan().select(read).collect(engine="streaming")[test.answers_R]
        for by, name in named.items():
            found += by_column(by, frame[name])
    table = read_sequences(seen.features_dir, TEST)
    lengths = (table["stop"] - table["start"]).rename("steps")
    if layout.window is None and lengths.n_unique() > 1:
        found += by_range("length", lengths)
    if test.times is not None and test.times.n_unique() > 1:
        found += by_range("time", test.times)
    return found


def sliced(
    challenger: Judged,
    slices: Sequence[Slice],
    rival: Rival | None,
    *,
    gate: GateConfig,
    by_time: bool,
) -> dict[str, Any]:
    """Score the slices, the champion's beside them, and name the worst.

    With a champion that can be compared, the rows are those that neither has learned from.
    """
    metric = metric_name(gate, challenger.kind)
    champion: list[dict[str, Any]] = []

    def scores(judged: Judged, count: int) -> list[dict[str, Any]]:
        return score_slices(
            judged, slices, metric=metric, confidence=gate.confidence, count=count, by_time=by_time
        )

    if rival is not None and rival.rows_F is not None:
        slices = among(slices, rival.rows_F, len(challenger))
        challenger, champion = rival.challenger, scores(rival.answers, FEW)
    told = scores(challenger, gate.bootstrap_samples)
    for place, entry in enumerate(told):
        entry["champion"] = champion[place]["score"] if champion else None
    overall = METRICS[challenger.kind][metric](challenger)
    return {"slices": told, "worst_slice": worst_of(told, metric=metric, overall=overall)}
