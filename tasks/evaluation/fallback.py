"""The baseline that serves while no network has beaten it: chosen, fitted, calibrated and scored.

It is chosen by the gate's metric on the validation rows, or out of fold where these are few; test
rows choose nothing. It is the very model that the evaluation scores as a baseline, fitted on the
training rows alone, with prediction sets or intervals from the rows of the choice.

Shapes: S rows of the choice, O outputs, T steps of a forecast.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from prefect import task

from models.bundle import Bundle, save_bundle
from models.evaluation.baselines.fitted import FittedBaseline, Outputs
from models.evaluation.baselines.served import Baseline, NumberParts, describe_rows
from models.evaluation.metrics.by_kind import compute_metrics
from models.features.featurizer import Featurizer, load_featurizer
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.mixing import fit_offsets
from models.networks.config import ModelConfig
from models.networks.heads.config import DISTRIBUTION_LOSSES, HeadConfig
from tasks.dataset.labels import TestRows, load_targets
from tasks.dataset.rowset import RowSet, open_rows
from tasks.dataset.training_membership import copy_training_rows
from tasks.errors import DataError
from tasks.evaluation.baselines import Baselines, SplitTables
from tasks.evaluation.evaluate import make_report
from tasks.evaluation.slices import EvaluationConfig
from tasks.facts import CandidateFacts
from tasks.gate.comparison import GateConfig, choose_metric, find_best
from tasks.gate_record import BaselineFacts
from tasks.prediction.test_predictions import compute_naive_scale
from tasks.records import Accepted, Candidate, Fallback, Features, Report
from tasks.registry import versions
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger
from tasks.training.calibration import calibrate_bundle
from tasks.training.folds import Folds, build_folds, read_learning_table, read_targets

VERSION = 1

_MAX_BYTES = 200_000_000
"""Largest size of a baseline that serves: the nearest of many rows keeps all of them."""

_MIN_DISPERSION, _MIN_COUNT = 1e-3, 1e-6

_CPU = torch.device("cpu")


class FallbackSource(NamedTuple):
    """What baselines are made from."""

    rows: RowSet
    features_dir: Path
    gate: GateConfig

    def fit(self) -> dict[str, FittedBaseline]:
        """Fit every baseline that can serve on the training rows."""
        featurizer, season = load_featurizer(self.features_dir), self.gate.season_length
        return Baselines(self.rows, self.features_dir, featurizer, season=season).fit()


def make_fallback_candidate(
    features: Features, accepted: Accepted, store: Store, *, head: HeadConfig, gate: GateConfig
) -> Candidate:
    """Return the best baseline of these features as a model, made unless the store has it.

    Args:
        features: sequences and splits.
        accepted: the rows behind them.
        store: where the artifacts are.
        head: which numbers a prediction has.
        gate: its metric chooses; its season is that of the seasonal naive forecast.
    """
    config = {
        "fallback": {"metric": gate.metric, "season_length": gate.season_length},
        "head": head,
    }
    recipe = Recipe(
        stage="train", version=VERSION, config=config, inputs={"features": features.key}
    )

    def build(folder: Path) -> CandidateFacts:
        source = FallbackSource(open_rows(store, accepted), local_dir(store, features), gate)
        return build_fallback(folder, source, head)

    return produce(store, recipe, build, CandidateFacts)


@task(name="fallback", task_run_name="fallback {name}", timeout_seconds=2 * HOUR, **STAGE)
def make_fallback(
    network: Report,
    *,
    name: str,
    features: Features,
    accepted: Accepted,
    head: HeadConfig,
    gate: GateConfig,
    evaluation: EvaluationConfig,
    store: StoreConfig,
) -> Fallback | None:
    """Return the baseline that is to serve, as no network does; None where one does.

    A baseline that serves already is compared with one that is fitted on today's rows.
    """
    opened, champion = open_store(store), versions.find_champion(name)
    if network.facts.decision != "keep" or (champion and not champion.fallback):
        return None
    candidate = make_fallback_candidate(features, accepted, opened, head=head, gate=gate)
    if champion and champion.model_key == candidate.key:
        return Fallback(candidate=candidate, report=None, champion=champion)
    report = make_report(
        candidate,
        features=features,
        accepted=accepted,
        champion=champion,
        gate=gate,
        evaluation=evaluation,
        store=opened,
    )
    logger().info("%s: %s", report.facts.decision, report.facts.reason)
    return Fallback(candidate=candidate, report=report, champion=champion)


class _Choice(NamedTuple):
    """The baselines on the rows of the choice."""

    scores: dict[str, float]
    """By name, also of those that cannot serve; NaN where there is none."""
    outputs: dict[str, Outputs]
    """Of those that can serve, each row by a fit without it, [S, O]."""
    fitted: Mapping[str, FittedBaseline]
    """Those that can serve, as the last fold has fitted them."""


def build_fallback(folder: Path, source: FallbackSource, head: HeadConfig) -> CandidateFacts:
    """Choose, fit and calibrate the baseline; write its bundle into `folder`.

    Raises:
        DataError: no baseline can serve.
    """
    start = time.perf_counter()
    featurizer = load_featurizer(source.features_dir)
    folds = build_folds(
        source.features_dir, featurizer, TrainingConfig(), device=_CPU, streaming=False
    )
    choice = _score_baselines(source, folds)
    # One fold is held out from the very rows of training.
    fitted = choice.fitted if folds.count == 1 else source.fit()
    facts = _choose(choice, fitted, choose_metric(source.gate, featurizer.target.kind), folds)
    held_out = folds.rows.select(folds.held_out_rows)
    outputs_SO = choice.outputs[facts.name]
    parts = fit_number_parts(outputs_SO, held_out, featurizer, head)
    network = Baseline(facts.name, fitted[facts.name], describe_rows(featurizer), parts).eval()
    bundle = calibrate_bundle(
        Bundle(featurizer, network, ModelConfig(), head),
        held_out,
        source.features_dir,
        outputs_SO=network.add_parts(torch.from_numpy(outputs_SO)).numpy(),
        fits_temperature=False,
    )
    save_bundle(bundle, folder / "bundle")
    copy_training_rows(source.features_dir, folder / "bundle")
    (folder / "history.json").write_text("[]", encoding="utf-8")
    return _build_facts(facts, network, seconds=time.perf_counter() - start)


def _score_baselines(source: FallbackSource, folds: Folds) -> _Choice:
    """Score every baseline on the rows that are held out, fold after fold."""
    table = read_learning_table(source.features_dir, ("*",))
    scores: dict[str, list[float]] = {}
    outputs: dict[str, list[Outputs]] = {}
    fitted: Mapping[str, FittedBaseline] = {}
    for fold in range(folds.count):
        tables = SplitTables(table.filter(folds.fold_S != fold), table.filter(folds.fold_S == fold))
        found = _score_fold(source, tables)
        fitted = found.fitted
        for name, score in found.scores.items():
            scores.setdefault(name, []).append(score)
        for name, outputs_SO in found.outputs.items():
            outputs.setdefault(name, []).append(outputs_SO)
    rows_S = [np.flatnonzero(folds.fold_S == fold) for fold in range(folds.count)]
    order_S = np.argsort(np.concatenate(rows_S), kind="stable")
    return _Choice(
        {name: float(np.mean(values)) for name, values in scores.items()},
        {
            name: np.concatenate(parts)[order_S]
            for name, parts in outputs.items()
            if len(parts) == folds.count
        },
        fitted,
    )


def _score_fold(source: FallbackSource, tables: SplitTables) -> _Choice:
    """Fit every baseline on some rows, and score it on others."""
    rows, folder, season = source.rows, source.features_dir, source.gate.season_length
    featurizer, held_out = load_featurizer(folder), tables.test
    baselines = Baselines(rows, folder, featurizer, season=season, tables=tables)
    test = TestRows(
        rows_R=held_out["row"].to_numpy(),
        target_rows_R=held_out["target_row"].to_numpy(),
        targets=load_targets(held_out, folder, rows, featurizer),
        times=None,
    )
    scale_R = compute_naive_scale(rows, held_out, featurizer, season=season)
    fitted = baselines.fit()
    predictions = baselines.predict_past(test, scale_R) | baselines.predict_fitted(
        fitted, test, scale_R
    )
    metric = choose_metric(source.gate, featurizer.target.kind)
    read = baselines.build_rows(held_out, np.zeros(len(held_out)))
    return _Choice(
        {name: compute_metrics(each).get(metric, math.nan) for name, each in predictions.items()},
        {name: each.compute_outputs(read) for name, each in fitted.items()},
        fitted,
    )


def _choose(
    choice: _Choice, fitted: Mapping[str, FittedBaseline], metric: str, folds: Folds
) -> BaselineFacts:
    """Choose the best baseline that can serve.

    Raises:
        DataError: none can.
    """
    scores = {name: value for name, value in choice.scores.items() if math.isfinite(value)}
    able = [
        name
        for name, model in fitted.items()
        if name in choice.outputs and _count_bytes(model) <= _MAX_BYTES
    ]
    if not able:
        raise DataError.of(
            "no baseline can serve: none can be fitted on the training rows",
            hint="set gate.fallback: none",
        )
    known = {name: {metric: value} for name, value in scores.items()}
    # On few rows a metric may be unknown: then the first one serves, which is the simplest.
    best = find_best({name: known[name] for name in able if name in known} or {able[0]: {}}, metric)
    first = find_best(known, metric) if best in known else best
    return BaselineFacts(
        name=best,
        metric=metric,
        rows=len(folds.held_out_rows),
        folds=folds.count,
        scores=scores,
        better=first if best in known and scores[first] != scores[best] else None,
    )


def fit_number_parts(
    outputs_SO: Outputs, held_out: Sequences, featurizer: Featurizer, head: HeadConfig
) -> NumberParts | None:
    """Fit what makes the numbers of the head's prediction of a baseline's number.

    Args:
        outputs_SO: of the baseline for rows that it has not learned from.
        held_out: these rows.
        featurizer: of the rows.
        head: whose loss says what the numbers are.

    Returns:
        None where the number is the prediction. The point prediction never changes.
    """
    target = featurizer.target
    if target.kind not in {"number", "forecast"} or head.loss not in DISTRIBUTION_LOSSES:
        return None
    target_ST = read_targets(held_out, featurizer)
    if head.loss == "negative_binomial":
        smallest = (_MIN_COUNT - target.mean) / target.std
        mean_ST = np.maximum(outputs_SO, smallest) * target.std + target.mean
        dispersion_T = _fit_dispersion(target_ST * target.std + target.mean, mean_ST)
        return NumberParts(tuple((0.0, each) for each in dispersion_T), 1, smallest)
    offsets = fit_offsets(torch.from_numpy(target_ST - outputs_SO), head)
    if head.loss != "quantile":
        return NumberParts(offsets, 1, None)
    middle = head.quantiles.index(0.5)
    moved = tuple(tuple(each - row[middle] for each in row) for row in offsets)
    return NumberParts(moved, len(head.quantiles), None)


def _fit_dispersion(count_ST: NDArray[np.float64], mean_ST: NDArray[np.float64]) -> list[float]:
    """Fit a of the variance m + a m^2 of counts by the method of moments, [T]."""
    known_ST = np.isfinite(count_ST)
    excess_T = np.where(known_ST, (count_ST - mean_ST) ** 2 - mean_ST, 0.0).sum(axis=0)
    square_T = np.where(known_ST, mean_ST**2, 0.0).sum(axis=0)
    dispersion_T = excess_T / np.maximum(square_T, _MIN_COUNT)
    return [float(each) for each in np.maximum(dispersion_T, _MIN_DISPERSION)]


def _count_bytes(fitted: FittedBaseline) -> int:
    """Count the bytes of a baseline's arrays."""
    return sum(tensor.numel() * tensor.element_size() for tensor in fitted.state_dict().values())


def _build_facts(baseline: BaselineFacts, network: Baseline, *, seconds: float) -> CandidateFacts:
    """Build the facts of a baseline, which has no epochs."""
    return CandidateFacts(
        epochs=0,
        best_epoch=0,
        validation_loss=0.0,
        padding_share=0.0,
        epochs_planned=0,
        learning_rate=0.0,
        batch_size=0,
        precision="fp32",
        data_loading="in_memory",
        kernels="none",
        plans=[],
        parameters=sum(tensor.numel() for tensor in network.state_dict().values()),
        device="cpu",
        seconds=round(seconds, 3),
        peak_memory_bytes=0,
        energy_joules=None,
        baseline=baseline,
    )
