"""Score the candidate, the champion and the baselines on the same rows, and let the gate decide."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from models.bundle import load
from models.evaluation.metrics.by_kind import by_label, confusion_table, score, units
from models.evaluation.metrics.forecast import errors_by_step
from models.evaluation.predictions import Answers, Forecasts, Judged, Tags
from models.features.featurizer import Featurizer, load_featurizer
from models.features.splitting.split import TEST
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import load_test
from tasks.dataset.profile import drift_since, write_drift
from tasks.dataset.rowset import open_rows
from tasks.evaluation.baselines import Baselines
from tasks.evaluation.leakage_checks import ask_canaries
from tasks.evaluation.slices import EvaluationConfig, Looked, blocking, look_closer, warnings_of
from tasks.gate.champion import Question
from tasks.gate.comparison import GateConfig, headline, metric_name, score_card
from tasks.gate.decide import Outing, Ruling, decide, put_down
from tasks.prediction.test_predictions import answered_by, judged, naive_scale
from tasks.records import Accepted, Candidate, Champion, Choice, Facts, Features, Report
from tasks.registry import versions
from tasks.reporting.explain import explain
from tasks.reporting.lineage import Made
from tasks.reporting.report_plots import draw
from tasks.reporting.write import write_pages
from tasks.resource_usage import start_meter
from tasks.storage.artifacts import Recipe, find_key, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger

VERSION = 8


def write_report(
    folder: Path, outing: Outing, gate: GateConfig, evaluation: EvaluationConfig
) -> Facts:
    """Score everything, decide, draw, and write it all into `folder`."""
    rows, features_dir = outing.rows, outing.features_dir
    featurizer = load_featurizer(features_dir)
    metric = metric_name(gate, featurizer.target.kind)
    test = load_test(rows, features_dir, featurizer)
    scale_R = naive_scale(
        rows, read_sequences(features_dir, TEST), featurizer, season=gate.season_length
    )
    bundle = load(outing.candidate_dir / "bundle")
    answered = answered_by(bundle, rows, test)
    challenger = judged(answered, test, featurizer, scale_R)
    naive = Baselines(rows, features_dir, featurizer, season=gate.season_length)
    baselines = naive.answers(answered, test, scale_R)
    question = Question(rows, test, featurizer, scale_R)
    canaries = ask_canaries(rows, features_dir, featurizer)
    outing = outing._replace(blocked=blocking(canaries, evaluation))
    found = decide(challenger, baselines, question, outing, gate=gate)
    history = (outing.candidate_dir / "history.json").read_text(encoding="utf-8")
    facts = facts_of(found, challenger, baselines, metric=metric) | {
        "gate": put_down(folder, found, question, outing, gate=gate),
        "warnings": warnings_of(canaries),
        "drift": drift_of(folder, outing, featurizer),
    }
    report = {
        **facts,
        "intervals": score_card(challenger, gate, by_time=featurizer.split.by == "time"),
        "canaries": [each._asdict() for each in canaries],
        "history": json.loads(history),
        "explanations": explain(
            bundle, challenger, answered=answered, test=test, rows=rows, features_dir=features_dir
        ),
    }
    report |= in_detail(challenger, featurizer)
    seen = Looked(rows, features_dir, featurizer, test, answered, bundle.calibration)
    report |= look_closer(seen, challenger, found.rival, gate=gate, evaluation=evaluation)
    draw(folder, report, challenger, answered=answered, test=test, featurizer=featurizer)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    return facts


def facts_of(
    found: Ruling, challenger: Judged, baselines: Mapping[str, Judged], *, metric: str
) -> dict[str, Any]:
    """Tell what a report comes to."""
    scores, rivals = score(challenger), {name: score(each) for name, each in baselines.items()}
    over = found.evidence.over_baseline
    return {
        "headline": headline(
            over,
            metric=metric,
            own=scores[metric],
            rival=rivals[over.name][metric],
            flawless=found.evidence.flawless,
        ),
        "decision": found.verdict.decision,
        "reason": found.verdict.reason,
        "metric": metric,
        "rows": len(challenger),
        "metrics": scores,
        "baselines": rivals,
        "best_baseline": over.name,
        "champion": found.champion,
    }


def in_detail(challenger: Judged, featurizer: Featurizer) -> dict[str, Any]:
    """Tell the scores' units, and what a kind has by class, label or step."""
    target = featurizer.target
    told: dict[str, Any] = {"units": units(target.kind, target.column)}
    if isinstance(challenger, Forecasts):
        told["steps"] = errors_by_step(challenger.steps)
    if isinstance(challenger, Tags):
        told["by_label"] = by_label(challenger, target.classes)
    if isinstance(challenger, Answers) and challenger.classes:
        names, counts = confusion_table(challenger, target.classes)
        told["confusion"] = {"classes": names, "counts": counts.tolist()}
    return told


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
    evaluation: EvaluationConfig,
    store: Store,
    choice: Choice | None = None,
) -> Report:
    """Return the report about a candidate against this champion."""
    recipe = Recipe(
        stage="evaluate",
        version=VERSION,
        config={"gate": gate, "evaluation": evaluation},
        inputs={
            "candidate": candidate.key,
            "features": features.key,
            "rows": accepted.facts["rows_key"],
            "champion": champion.model_key if champion else "none",
            **({"choice": choice.key} if choice else {}),
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
            key=recipe.key,
        )
        meter = start_meter()
        facts = write_report(folder, outing, gate, evaluation)
        write_pages(folder, Made(candidate, features, accepted, choice), store, meter)
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
    evaluation: EvaluationConfig,
    store: StoreConfig,
    choice: Choice | None = None,
) -> Report:
    """Score the candidate beside the champion and the baselines, and decide."""
    opened = open_store(store)
    champion = versions.find_champion(name)
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
        champion_dir=versions.fetch_bundle(champion) if champion else None,
        gate=gate,
        evaluation=evaluation,
        store=opened,
        choice=choice,
    )
    logger().info("%s: %s", report.facts["decision"], report.facts["reason"])
    if warning := report.facts["gate"]["window"]["warning"]:
        logger().warning("%s", warning)
    return report
