"""Score the candidate, the champion and the baselines on the same rows, and let the gate decide."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from prefect import task

from models.bundle import load_bundle
from models.evaluation.baselines.exponential_smoothing import find_version
from models.evaluation.metrics.by_kind import compute_metrics, get_metric_units
from models.evaluation.metrics.classification import build_confusion_table, score_labels
from models.evaluation.metrics.forecast import compute_step_errors
from models.evaluation.predictions import (
    ForecastPredictions,
    Predictions,
    SinglePredictions,
    TagPredictions,
)
from models.features.featurizer import Featurizer, load_featurizer
from models.features.splitting.split import TEST
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import load_test_rows
from tasks.dataset.profile import compare_with_champion, write_drift
from tasks.dataset.rowset import open_rows
from tasks.errors import DamagedVersionError
from tasks.evaluation.baselines import Baselines
from tasks.evaluation.columns import score_columns
from tasks.evaluation.exponential_smoothing import forecast_test_rows
from tasks.evaluation.leakage_checks import run_leakage_checks
from tasks.evaluation.slices import (
    EvaluationConfig,
    EvaluationData,
    find_block_reason,
    list_warnings,
    measure_details,
)
from tasks.facts import DriftedColumn, ReportFacts, Scores
from tasks.gate.champion import EvaluationSet
from tasks.gate.comparison import GateConfig, score_metrics
from tasks.gate.decide import EvaluationContext, GateResult, decide, write_decision
from tasks.gate.standing import format_fallback_headline, format_headline
from tasks.gate_record import GateRecord
from tasks.prediction.test_predictions import (
    compute_naive_scale,
    pair_with_targets,
    predict_test_parts,
)
from tasks.records import Accepted, Candidate, Champion, Choice, Features, Report
from tasks.registry import versions
from tasks.report_record import (
    Confusion,
    EpochRecord,
    LabelScores,
    LeakageCheckRecord,
    ReportRecord,
    StepErrors,
    write_report,
)
from tasks.reporting.advice import list_training_warnings
from tasks.reporting.explain import explain_rows
from tasks.reporting.lineage import ReportInputs
from tasks.reporting.plots import write_prediction_plots
from tasks.reporting.write import write_pages
from tasks.resource_usage import start_meter
from tasks.storage.artifacts import Recipe, find_artifact, find_by_key, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger

_VERSION = 13


def make_report(
    candidate: Candidate,
    *,
    features: Features,
    accepted: Accepted,
    champion: Champion | None,
    gate: GateConfig,
    evaluation: EvaluationConfig,
    store: Store,
    choice: Choice | None = None,
) -> Report:
    """Return the report about a candidate, compared with this champion.

    Args:
        candidate: the trained model.
        features: sequences and splits that it was trained on.
        accepted: the rows behind them.
        champion: the current one; None where there is none.
        gate: how to decide.
        evaluation: what to measure besides the scores.
        store: where the artifacts are.
        choice: of `model: auto`, for the report.
    """
    inputs = ReportInputs(candidate, features, accepted, choice)
    recipe = _build_recipe(inputs, champion, gate, evaluation)

    def build(folder: Path) -> ReportFacts:
        champion_dir, damage = _fetch_champion(champion)
        context = EvaluationContext(
            rows=open_rows(store, accepted),
            features_dir=local_dir(store, features),
            candidate_dir=local_dir(store, candidate),
            champion=champion,
            champion_dir=champion_dir,
            champion_damage=damage,
            store=store,
            key=recipe.key,
            fallback=candidate.facts.baseline.name if candidate.facts.baseline else None,
        )
        meter = start_meter()
        facts = _evaluate_candidate(folder, context, gate, evaluation)
        write_pages(folder, inputs, store, meter)
        return facts

    return produce(store, recipe, build, ReportFacts)


def _fetch_champion(champion: Champion | None) -> tuple[Path | None, str]:
    """Return the champion's bundle, or why its files cannot be used."""
    if champion is None:
        return None, ""
    try:
        return versions.fetch_bundle(champion), ""
    except DamagedVersionError as error:
        return None, str(error).partition("\n")[0]


def _build_recipe(
    inputs: ReportInputs,
    champion: Champion | None,
    gate: GateConfig,
    evaluation: EvaluationConfig,
) -> Recipe:
    """Return the recipe of a report."""
    choice = inputs.choice
    return Recipe(
        stage="evaluate",
        version=_VERSION,
        config={"gate": gate, "evaluation": evaluation, "statsforecast": find_version()},
        inputs={
            "candidate": inputs.candidate.key,
            "features": inputs.features.key,
            "rows": inputs.accepted.facts.rows_key,
            "champion": champion.model_key if champion else "none",
            **({"choice": choice.key} if choice else {}),
        },
    )


@task(name="evaluate", task_run_name="evaluate {name}", timeout_seconds=2 * HOUR, **STAGE)
def evaluate(
    candidate: Candidate,
    *,
    name: str,
    features: Features,
    accepted: Accepted,
    gate: GateConfig,
    evaluation: EvaluationConfig,
    store: StoreConfig,
    choice: Choice | None = None,
) -> Report:
    """Score the candidate, the champion and the baselines, and let the gate decide."""
    opened = open_store(store)
    champion = versions.find_champion(name)
    if champion and champion.model_key == candidate.key:
        # It is the champion already: the report that it was registered with still applies.
        if known := find_by_key(opened, "evaluate", champion.report_key, ReportFacts):
            return known
        champion = None
    if champion and champion.fallback_for:
        # A baseline became the champion beside this candidate: what it lost by still applies.
        inputs = ReportInputs(candidate, features, accepted, choice)
        recipe = _build_recipe(inputs, None, gate, evaluation)
        known = find_artifact(opened, recipe, ReportFacts)
        if known and known.key == champion.fallback_for:
            return known
    report = make_report(
        candidate,
        features=features,
        accepted=accepted,
        champion=champion,
        gate=gate,
        evaluation=evaluation,
        store=opened,
        choice=choice,
    )
    logger().info("%s: %s", report.facts.decision, report.facts.reason)
    if warning := report.facts.gate.holdout.warning:
        logger().warning("%s", warning)
    for warning in list_training_warnings(candidate.facts, features.facts):
        logger().warning("%s", warning)
    return report


def _evaluate_candidate(
    folder: Path, context: EvaluationContext, gate: GateConfig, evaluation: EvaluationConfig
) -> ReportFacts:
    """Score all models, decide, and write report, gate record and plots into `folder`.

    Raises:
        JobError: the gate's metric does not fit the target, or cannot be computed.
    """
    rows, features_dir = context.rows, context.features_dir
    featurizer, season = load_featurizer(features_dir), gate.season_length
    test = load_test_rows(rows, features_dir, featurizer)
    sequences = read_sequences(features_dir, TEST)
    scale_R = compute_naive_scale(rows, sequences, featurizer, season=season)
    bundle = load_bundle(context.candidate_dir / "bundle")
    table, part_tables = predict_test_parts(bundle, rows, test)
    challenger = pair_with_targets(table, test, featurizer, scale_R)
    naive = Baselines(rows, features_dir, featurizer, season=season)
    smoothing = forecast_test_rows(rows, sequences, featurizer, season=season)
    baselines = naive.predict(table, test, scale_R) | smoothing.pair(test, scale_R)
    test_set = EvaluationSet(rows, test, featurizer, scale_R)
    checks = run_leakage_checks(rows, features_dir, featurizer)
    context = context._replace(block_reason=find_block_reason(checks, evaluation))
    result = decide(challenger, baselines, test_set, context, gate=gate)
    decision = write_decision(folder, result, test_set, context, gate=gate)
    parts = _score_parts(part_tables, test_set)
    doubts = [*list_warnings(checks), *smoothing.warnings]
    scored = _Scored(result, challenger, baselines, parts, doubts)
    drift = _write_drift(folder, context, featurizer)
    facts = _build_facts(scored, decision, gate=gate, drift=drift)
    data = EvaluationData(rows, features_dir, featurizer, test, table, bundle.calibration)
    details = measure_details(
        data, challenger, result.champion_comparison, gate=gate, evaluation=evaluation
    )
    explanations = explain_rows(
        bundle, challenger, prediction_table=table, test=test, rows=rows, features_dir=features_dir
    )
    report = ReportRecord(
        **{each.name: getattr(facts, each.name) for each in fields(facts)},
        intervals=score_metrics(challenger, gate, by_time=data.by_time),
        leakage_checks=[LeakageCheckRecord(**each._asdict()) for each in checks],
        history=_read_history(context.candidate_dir),
        explanations=explanations,
        units=get_metric_units(featurizer.target.kind, featurizer.target.columns),
        slices=details.slices,
        worst_slice=details.worst_slice,
        calibration=details.calibration,
        conformal=details.conformal,
        **_measure_by_kind(challenger, data),
    )
    column = featurizer.target.column
    write_prediction_plots(
        folder, challenger, column=column, targets=test.targets, prediction_table=table
    )
    write_report(report, folder)
    return facts


class _Scored(NamedTuple):
    """The predictions of all models, and the gate's decision on them."""

    result: GateResult
    challenger: Predictions
    baselines: Mapping[str, Predictions]
    parts: Mapping[str, Scores]
    warnings: list[str]


def _build_facts(
    scored: _Scored, decision: GateRecord, *, gate: GateConfig, drift: list[DriftedColumn] | None
) -> ReportFacts:
    """Collect the scores of all models and the decision."""
    evidence, metric = scored.result.evidence, decision.metric
    baselines = {name: compute_metrics(each) for name, each in scored.baselines.items()}
    return ReportFacts(
        headline=_format_headline(scored, gate, metric),
        fallback=evidence.fallback,
        decision=decision.decision,
        reason=decision.reason,
        metric=metric,
        rows=len(scored.challenger),
        metrics=compute_metrics(scored.challenger),
        parts=scored.parts,
        baselines=baselines,
        best_baseline=evidence.over_baseline.name,
        champion=scored.result.champion_scores,
        gate=decision,
        warnings=scored.warnings,
        drift=drift,
    )


def _format_headline(scored: _Scored, gate: GateConfig, metric: str) -> str:
    """Format in one sentence what the candidate is worth."""
    evidence = scored.result.evidence
    if evidence.fallback:
        return format_fallback_headline(evidence.fallback, evidence.over_baseline, metric)
    return format_headline(
        evidence.over_baseline,
        gate,
        metric=metric,
        test_rows=len(scored.challenger),
        is_perfect=evidence.is_perfect,
    )


def _score_parts(tables: Mapping[str, pl.DataFrame], test_set: EvaluationSet) -> dict[str, Scores]:
    """Score the predictions of each part alone, by its name."""
    return {
        name: compute_metrics(
            pair_with_targets(table, test_set.test, test_set.featurizer, test_set.scale_R)
        )
        for name, table in tables.items()
    }


def _measure_by_kind(challenger: Predictions, data: EvaluationData) -> dict[str, Any]:
    """Measure a forecast by step and by column, tags by label, a category by pairs of classes.

    Returns:
        Fields of the report.
    """
    target = data.featurizer.target
    if isinstance(challenger, ForecastPredictions):
        return {
            "steps": [StepErrors(**each) for each in compute_step_errors(challenger.steps)],
            "by_column": score_columns(challenger, data.predictions, data.test, target),
        }
    if isinstance(challenger, TagPredictions):
        labels = score_labels(challenger, target.classes)
        return {"by_label": [LabelScores(**each) for each in labels]}
    if isinstance(challenger, SinglePredictions) and challenger.num_classes:
        names, counts = build_confusion_table(challenger, target.classes)
        return {"confusion": Confusion(classes=names, counts=counts.tolist())}
    return {}


def _read_history(candidate_dir: Path) -> list[EpochRecord]:
    """Read the epochs of the training."""
    epochs = json.loads((candidate_dir / "history.json").read_text(encoding="utf-8"))
    return [EpochRecord(**epoch) for epoch in epochs]


def _write_drift(
    folder: Path, context: EvaluationContext, featurizer: Featurizer
) -> list[DriftedColumn] | None:
    """Write how the rows differ from the champion's; None where there are none to compare with."""
    if context.champion is None:
        return None
    layout, target = featurizer.layout, featurizer.target
    # Time only ever grows, so it would always drift.
    columns = [c for c in {*layout.raw_columns, *target.columns} if c != layout.time]
    found = compare_with_champion(context.champion, context.rows, context.store, columns=columns)
    return None if found is None else write_drift(folder, found)
