"""Compare a challenger with the champion and the baselines, decide, and write `gate.json`."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from models.bundle import load_bundle
from models.evaluation.metrics.by_kind import compute_metrics, get_best_score
from models.evaluation.predictions import Predictions
from tasks.dataset.rowset import RowSet
from tasks.dataset.training_membership import hash_rows
from tasks.gate.champion import (
    ChampionPredictions,
    EvaluationSet,
    describe_damaged_champion,
    predict_with_champion,
)
from tasks.gate.comparison import (
    Comparison,
    Gain,
    GateConfig,
    choose_metric,
    find_best,
    measure_gain,
    require_metric,
)
from tasks.gate.guardrails import check_calibration, check_costs, check_slices, slice_rows
from tasks.gate.holdout_reuse import HoldoutReuse, hash_test_rows, record_use
from tasks.gate.rules import Evidence, Guardrail, Verdict, apply_rules
from tasks.gate.standing import compute_margin
from tasks.gate_record import GainRecord, GateRecord, GuardrailRecord, HoldoutRecord
from tasks.records import Champion
from tasks.storage.store import Store


class EvaluationContext(NamedTuple):
    """Where the compared models and the rows are."""

    rows: RowSet
    features_dir: Path
    candidate_dir: Path
    champion: Champion | None
    champion_dir: Path | None
    store: Store
    key: str
    """Of the report."""
    champion_damage: str = ""
    """Why the champion's files cannot be used; empty where they can."""
    block_reason: str | None = None
    """What speaks against a promotion, whatever the scores."""
    fallback: str | None = None
    """The baseline that the candidate is; None for networks."""


class GateResult(NamedTuple):
    """The decision and what it rests on."""

    verdict: Verdict
    evidence: Evidence
    champion_scores: dict[str, float] | None
    """By metric, on the rows that neither was trained on."""
    champion_comparison: Comparison | None
    """Champion and challenger on these rows; None where there is nothing to compare."""


def decide(
    challenger: Predictions,
    baselines: Mapping[str, Predictions],
    test_set: EvaluationSet,
    context: EvaluationContext,
    *,
    gate: GateConfig,
) -> GateResult:
    """Compare with the best baseline and the champion on the same rows, and apply the rules.

    Raises:
        JobError: the gate's metric cannot be computed of some predictions.
    """
    metric, champion = choose_metric(gate, challenger.kind), None
    if context.champion and context.champion_damage:
        champion = describe_damaged_champion(context.champion, context.champion_damage)
    elif context.champion and context.champion_dir:
        champion = predict_with_champion(context.champion, context.champion_dir, test_set)
    pairs = _build_comparisons(challenger, baselines, champion, metric=metric)
    by_time = test_set.featurizer.split.by == "time"
    gains = [measure_gain(pair, gate, metric=metric, by_time=by_time) for pair in pairs]
    compared = pairs[1] if len(pairs) > 1 else None
    rows = len(champion.unseen_F) if champion else len(challenger)
    comparable = champion is None or champion.incomparable_reason is None
    guardrails = _measure_guardrails(compared, test_set, context, gate=gate, champion=champion)
    evidence = Evidence(
        over_baseline=gains[0],
        over_champion=gains[1] if compared else None,
        champion=champion.name if champion else None,
        rows=rows,
        excluded_rows=len(challenger) - rows if comparable else 0,
        guardrails=guardrails,
        incomparable_reason=champion.incomparable_reason if champion else None,
        block_reason=context.block_reason,
        is_perfect=gains[0].score == get_best_score(metric),
        fallback=context.fallback,
    )
    scores = compute_metrics(compared.reference) if compared else None
    return GateResult(apply_rules(evidence, gate, metric), evidence, scores, compared)


def write_decision(
    folder: Path,
    result: GateResult,
    test_set: EvaluationSet,
    context: EvaluationContext,
    *,
    gate: GateConfig,
) -> GateRecord:
    """Record the use of these test rows, and write the decision with its evidence."""
    ids_R = hash_rows(test_set.rows, test_set.featurizer, test_set.test.target_rows_R)
    rows_hash = hash_test_rows(ids_R)
    uses = record_use(context.store, rows_hash, context.key)
    record = build_record(
        result.verdict,
        result.evidence,
        gate=gate,
        metric=choose_metric(gate, test_set.featurizer.target.kind),
        holdout=HoldoutReuse(rows_hash, len(ids_R), uses, gate.max_holdout_reuse),
    )
    write_record(folder, record)
    return record


def build_record(
    verdict: Verdict, evidence: Evidence, *, gate: GateConfig, metric: str, holdout: HoldoutReuse
) -> GateRecord:
    """Build the record of a decision: what was decided, on what, and by which settings."""
    gains = [gain for gain in (evidence.over_champion, evidence.over_baseline) if gain]
    return GateRecord(
        decision=verdict.decision,
        reason=verdict.reason,
        metric=metric,
        mode=gate.mode,
        min_improvement=gate.min_improvement,
        margin=gate.margin,
        confidence=gate.confidence,
        baseline_margin=_keep_finite(compute_margin(evidence.over_baseline, gate, metric)),
        require_baseline=gate.require_baseline,
        min_rows=gate.min_rows,
        champion=evidence.champion,
        rows=evidence.rows,
        excluded_rows=evidence.excluded_rows,
        comparisons=tuple(_build_gain_record(gain) for gain in gains),
        guardrails=tuple(_build_guardrail_record(each) for each in evidence.guardrails),
        incomparable_reason=evidence.incomparable_reason,
        block_reason=evidence.block_reason,
        is_tie=verdict.is_tie,
        fallback=gate.fallback,
        holdout=HoldoutRecord(**holdout._asdict(), warning=holdout.warning),
    )


def write_record(folder: Path, record: GateRecord) -> None:
    """Write `gate.json`."""
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "gate.json").write_text(text + "\n", encoding="utf-8")


def _build_comparisons(
    challenger: Predictions,
    baselines: Mapping[str, Predictions],
    champion: ChampionPredictions | None,
    *,
    metric: str,
) -> list[Comparison]:
    """Pair the challenger with the best baseline and with the champion.

    With a champion, all are compared on the rows that it was not trained on.
    """
    for name, predictions in {"challenger": challenger, **baselines}.items():
        require_metric(compute_metrics(predictions), metric, name)
    champions = []
    if champion and champion.predictions and len(champion.unseen_F):
        unseen_F = champion.unseen_F
        challenger = challenger.select(unseen_F)
        baselines = {name: each.select(unseen_F) for name, each in baselines.items()}
        pair = Comparison(champion.name, True, challenger, champion.predictions, unseen_F)
        champions.append(pair)
    best = find_best({name: compute_metrics(each) for name, each in baselines.items()}, metric)
    return [Comparison(best, False, challenger, baselines[best]), *champions]


def _measure_guardrails(
    comparison: Comparison | None,
    test_set: EvaluationSet,
    context: EvaluationContext,
    *,
    gate: GateConfig,
    champion: ChampionPredictions | None,
) -> list[Guardrail]:
    """Measure everything that must not get worse; without a champion, costs alone."""
    bundle_dir, rows = context.candidate_dir / "bundle", context.rows
    costs = check_costs(load_bundle(bundle_dir), bundle_dir, rows, context.features_dir, gate=gate)
    if comparison is None or champion is None:
        return costs
    metric = choose_metric(gate, comparison.reference.kind)
    target_rows_F = test_set.test.target_rows_R[champion.unseen_F]
    slices = slice_rows(comparison.challenger, rows, target_rows_F, test_set.featurizer)
    by_time = test_set.featurizer.split.by == "time"
    return [
        *check_slices(comparison, slices, gate, metric=metric),
        *check_calibration(comparison, gate, by_time=by_time),
        *costs,
    ]


def _build_gain_record(gain: Gain) -> GainRecord:
    """Convert a gain; JSON has no word for a number that is not finite."""
    return GainRecord(
        name=gain.name,
        is_champion=gain.is_champion,
        rows=gain.rows,
        gain=_keep_finite(gain.gain),
        low=_keep_finite(gain.low),
        high=_keep_finite(gain.high),
        score=_keep_finite(gain.score),
        reference_score=_keep_finite(gain.reference_score),
    )


def _build_guardrail_record(guardrail: Guardrail) -> GuardrailRecord:
    """Convert a guardrail in the same way."""
    return GuardrailRecord(
        name=guardrail.name,
        value=_keep_finite(guardrail.value),
        limit=guardrail.limit,
        passed=guardrail.passed,
    )


def _keep_finite(value: float) -> float | None:
    """Replace NaN and infinity by None."""
    return value if math.isfinite(value) else None
