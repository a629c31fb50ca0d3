"""Score the candidate, the champion and the baselines on the same rows, and let the gate decide."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from prefect import task

from models.bundle import load
from models.errors import BundleError, UnlearnableError
from models.evaluation.forecasts import errors_by_step
from models.evaluation.judged import Floats, Forecasts, Judged
from models.evaluation.metrics import score
from models.features.featurizer import Featurizer, load_featurizer
from models.features.split import TEST
from tasks import tracking
from tasks.answers import answered_by, judged, naive_scale, same_question
from tasks.artifacts import Accepted, Candidate, Champion, Facts, Features, Report
from tasks.cost import start_meter
from tasks.drift import drift_since, write_drift
from tasks.features_files import read_sequences
from tasks.gate import (
    GateConfig,
    Rival,
    Verdict,
    best_of,
    gain_over,
    judge,
    metric_name,
    score_card,
)
from tasks.naive import Baselines
from tasks.portraits import draw
from tasks.publish import Recipe, find_key, local_dir, produce
from tasks.reporting.explain import explain
from tasks.reporting.origin import Made
from tasks.reporting.pages import write_pages
from tasks.rows import RowSet, open_rows
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store
from tasks.truth import TestRows, load_test

VERSION = 4


class Outing(NamedTuple):
    """Where the compared models and the rows lie."""

    rows: RowSet
    features_dir: Path
    candidate_dir: Path
    champion: Champion | None
    champion_dir: Path | None
    store: Store


class Question(NamedTuple):
    """What everybody is asked, and the measure of it."""

    test: TestRows
    featurizer: Featurizer
    scale_R: Floats
    """Of forecasts, what the naive ones err by in each row's past."""


def against_champion(
    challenger: Judged, outing: Outing, question: Question
) -> Rival | Verdict | None:
    """Score the champion now on the rows that it never learned from, or say why it cannot be."""
    champion, rows, test = outing.champion, outing.rows, question.test
    if champion is None or outing.champion_dir is None:
        return None
    name = f"champion {champion.name} v{champion.version}"
    try:
        bundle = load(outing.champion_dir)
    except BundleError as error:
        return Verdict("not-comparable", f"{name} cannot be loaded: {error}")
    if not same_question(question.featurizer, bundle.featurizer):
        return Verdict("not-comparable", f"{name} predicts another target or other classes")
    try:
        answers = judged(answered_by(bundle, rows, test), test, bundle.featurizer, question.scale_R)
        frame = told_apart_by(rows, bundle.featurizer.split.needed, test)
        fair = np.flatnonzero(bundle.featurizer.never_learned(frame, test.times))
    except (UnlearnableError, pl.exceptions.PolarsError) as error:
        return Verdict("not-comparable", f"{name} cannot read today's rows: {error}")
    if len(fair) == 0:
        return Verdict("not-comparable", f"{name} has learned from every row of this test")
    return Rival(
        name, is_champion=True, challenger=challenger.pick(fair), answers=answers.pick(fair)
    )


def told_apart_by(rows: RowSet, columns: list[str], test: TestRows) -> pl.DataFrame:
    """Read of the answers' rows what tells whether a model has learned from them."""
    if not columns:
        return pl.DataFrame(height=len(test.answers_R))
    return rows.scan().select(columns).collect(engine="streaming")[test.answers_R]


class Comparison(NamedTuple):
    """What the gate was shown, and what it said."""

    verdict: Verdict
    best_baseline: str
    champion: dict[str, float] | None
    """The champion's scores on the rows that neither has learned from."""
    gains: list[dict[str, Any]]


def compare(
    challenger: Judged,
    baselines: Mapping[str, Judged],
    rival: Rival | Verdict | None,
    *,
    gate: GateConfig,
    by_time: bool,
) -> Comparison:
    """Measure the gain over the best baseline and over the champion, and let the gate judge."""
    metric = metric_name(gate, challenger.kind)
    best = best_of({name: score(answers) for name, answers in baselines.items()}, metric)
    pair = Rival(best, is_champion=False, challenger=challenger, answers=baselines[best])
    over_best = gain_over(pair, gate, metric=metric, by_time=by_time)
    if isinstance(rival, Verdict):
        return Comparison(rival, best, None, [over_best])
    behind = best if over_best["gain"] <= 0 else None
    if rival is None:
        verdict = judge(over_best, gate=gate, metric=metric, behind_baseline=behind)
        return Comparison(verdict, best, None, [over_best])
    over_champion = gain_over(rival, gate, metric=metric, by_time=by_time)
    verdict = judge(over_champion, gate=gate, metric=metric, behind_baseline=behind)
    return Comparison(verdict, best, score(rival.answers), [over_best, over_champion])


def write_report(folder: Path, outing: Outing, gate: GateConfig) -> Facts:
    """Score everything, decide, draw, and write it all into `folder`."""
    rows, features_dir = outing.rows, outing.features_dir
    featurizer = load_featurizer(features_dir)
    metric = metric_name(gate, featurizer.target.kind)
    by_time = featurizer.split.by == "time"
    test = load_test(rows, features_dir, featurizer)
    scale_R = naive_scale(rows, read_sequences(features_dir, TEST), featurizer, season=gate.season)
    bundle = load(outing.candidate_dir / "bundle")
    answered = answered_by(bundle, rows, test)
    challenger = judged(answered, test, featurizer, scale_R)
    naive = Baselines(rows, features_dir, featurizer, season=gate.season)
    baselines = naive.answers(answered, test, scale_R)
    rival = against_champion(challenger, outing, Question(test, featurizer, scale_R))
    found = compare(challenger, baselines, rival, gate=gate, by_time=by_time)
    history = (outing.candidate_dir / "history.json").read_text(encoding="utf-8")
    facts = {
        "decision": found.verdict.decision,
        "reason": found.verdict.reason,
        "metric": metric,
        "rows": len(test.rows_R),
        "metrics": score(challenger),
        "baselines": {name: score(answers) for name, answers in baselines.items()},
        "best_baseline": found.best_baseline,
        "champion": found.champion,
        "drift": drift_of(folder, outing, featurizer),
    }
    report = {
        **facts,
        "intervals": score_card(challenger, gate, by_time=by_time),
        "gains": found.gains,
        "history": json.loads(history),
        **(
            {"steps": errors_by_step(challenger.steps)} if isinstance(challenger, Forecasts) else {}
        ),
        "explanations": explain(
            bundle, challenger, answered=answered, test=test, rows=rows, features_dir=features_dir
        ),
    }
    draw(folder, report, challenger, answered=answered, test=test, featurizer=featurizer)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    return facts


def drift_of(folder: Path, outing: Outing, featurizer: Featurizer) -> list[dict[str, str]] | None:
    """Write how the rows differ from the champion's; None where there are none to compare with."""
    if outing.champion is None:
        return None
    layout, target = featurizer.layout, featurizer.target
    # Time only ever grows, so it would always drift.
    columns = [c for c in {*layout.raw_columns, target.column} if c and c != layout.time]
    found = drift_since(outing.champion, outing.rows, outing.store, columns=columns)
    return None if found is None else write_drift(folder, found)


def make_report(
    candidate: Candidate,
    *,
    features: Features,
    accepted: Accepted,
    champion: Champion | None,
    champion_dir: Path | None,
    gate: GateConfig,
    store: Store,
) -> Report:
    """Return the report about a candidate against this champion."""
    recipe = Recipe(
        stage="evaluate",
        version=VERSION,
        config=gate,
        inputs={
            "candidate": candidate.key,
            "features": features.key,
            "rows": accepted.facts["rows_key"],
            "champion": champion.model_key if champion else "none",
        },
    )

    def build(folder: Path) -> Facts:
        outing = Outing(
            rows=open_rows(store, accepted),
            features_dir=local_dir(store, features),
            candidate_dir=local_dir(store, candidate),
            champion=champion,
            champion_dir=champion_dir,
            store=store,
        )
        meter = start_meter()
        facts = write_report(folder, outing, gate)
        write_pages(folder, Made(candidate, features, accepted), store, meter)
        return facts

    return Report(produce(store, recipe, build))


@task(name="evaluate", task_run_name="evaluate {name}", timeout_seconds=2 * HOUR, **STAGE)
def evaluate(
    candidate: Candidate,
    *,
    name: str,
    features: Features,
    accepted: Accepted,
    gate: GateConfig,
    store: StoreConfig,
) -> Report:
    """Score the candidate beside the champion and the baselines, and decide."""
    opened = open_store(store)
    champion = tracking.find_champion(name)
    if champion and champion.model_key == candidate.key:
        # It serves already: what it was registered with still holds.
        if known := find_key(opened, "evaluate", champion.report_key):
            return Report(known)
        champion = None
    report = make_report(
        candidate,
        features=features,
        accepted=accepted,
        champion=champion,
        champion_dir=tracking.fetch_bundle(champion) if champion else None,
        gate=gate,
        store=opened,
    )
    logger().info("%s: %s", report.facts["decision"], report.facts["reason"])
    return report
