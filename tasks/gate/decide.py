"""Gather the evidence about a challenger, let the gate judge it, and put both down."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from models.bundle import load
from models.evaluation.metrics.by_kind import METRICS, score, sign_of
from models.evaluation.predictions import Judged
from tasks.dataset.rowset import RowSet
from tasks.dataset.training_membership import ids_of
from tasks.gate.champion import Question, Reigning, ask
from tasks.gate.comparison import GateConfig, Rival, best_of, gain_over, metric_name, require_told
from tasks.gate.decision_record import gate_record, write_gate
from tasks.gate.guardrails import guard_calibration, guard_costs, guard_slices, slices_of_rows
from tasks.gate.holdout_reuse import Window, count_use, window_hash
from tasks.gate.rules import Evidence, Guard, Verdict, judge
from tasks.records import Champion
from tasks.storage.store import Store


class Outing(NamedTuple):
    """Where the compared models and the rows lie."""

    rows: RowSet
    features_dir: Path
    candidate_dir: Path
    champion: Champion | None
    champion_dir: Path | None
    store: Store
    key: str
    """Of the report."""
    blocked: str | None = None
    """What speaks against a promotion, whatever the scores."""


class Ruling(NamedTuple):
    """What the gate was shown, and what it said."""

    verdict: Verdict
    evidence: Evidence
    champion: dict[str, float] | None
    """The champion's scores on the rows that neither has learned from."""
    rival: Rival | None
    """The champion and the challenger on these rows; None where there is nothing to compare."""


def decide(
    challenger: Judged,
    baselines: Mapping[str, Judged],
    question: Question,
    outing: Outing,
    *,
    gate: GateConfig,
) -> Ruling:
    """Compare with the champion and the best baseline on the same rows, and let the gate judge."""
    metric, champion = metric_name(gate, challenger.kind), None
    if outing.champion and outing.champion_dir:
        champion = ask(outing.champion, outing.champion_dir, question)
    pairs = rivals_of(challenger, baselines, champion, metric=metric)
    by_time = question.featurizer.split.by == "time"
    gains = [gain_over(pair, gate, metric=metric, by_time=by_time) for pair in pairs]
    compared = pairs[1] if len(pairs) > 1 else None
    rows = len(champion.fair_F) if champion else len(challenger)
    told = champion is None or champion.incomparable is None
    evidence = Evidence(
        over_baseline=gains[0],
        over_champion=gains[1] if compared else None,
        champion=champion.name if champion else None,
        rows=rows,
        excluded_rows=len(challenger) - rows if told else 0,
        guards=guards_of(compared, question, outing, gate=gate, champion=champion),
        incomparable=champion.incomparable if champion else None,
        blocked=outing.blocked,
        flawless=is_flawless(pairs[0].challenger, metric),
    )
    scores = score(compared.answers) if compared else None
    return Ruling(judge(evidence, gate, metric), evidence, scores, compared)


def is_flawless(challenger: Judged, metric: str) -> bool:
    """Tell whether no answer could score higher."""
    return METRICS[challenger.kind][metric](challenger) == (1 if sign_of(metric) > 0 else 0)


def rivals_of(
    challenger: Judged,
    baselines: Mapping[str, Judged],
    champion: Reigning | None,
    *,
    metric: str,
) -> list[Rival]:
    """Pair the challenger with the best baseline and the champion, on rows nobody learned from."""
    for name, answers in {"challenger": challenger, **baselines}.items():
        require_told(score(answers), metric, name)
    if champion and champion.answers and len(champion.fair_F):
        fair_F = champion.fair_F
        challenger = challenger.pick(fair_F)
        baselines = {name: answers.pick(fair_F) for name, answers in baselines.items()}
        champions = [Rival(champion.name, True, challenger, champion.answers, fair_F)]
    else:
        champions = []
    best = best_of({name: score(answers) for name, answers in baselines.items()}, metric)
    return [Rival(best, False, challenger, baselines[best]), *champions]


def guards_of(
    rival: Rival | None,
    question: Question,
    outing: Outing,
    *,
    gate: GateConfig,
    champion: Reigning | None,
) -> list[Guard]:
    """Measure everything that must not get worse."""
    bundle_dir, rows = outing.candidate_dir / "bundle", outing.rows
    guards = guard_costs(load(bundle_dir), bundle_dir, rows, outing.features_dir, gate=gate)
    if rival is None or champion is None:
        return guards
    metric = metric_name(gate, rival.answers.kind)
    answers_F = question.test.answers_R[champion.fair_F]
    slices = slices_of_rows(rival.challenger, rows, answers_F, question.featurizer)
    by_time = question.featurizer.split.by == "time"
    return [
        *guard_slices(rival, slices, gate, metric=metric),
        *guard_calibration(rival, gate, by_time=by_time),
        *guards,
    ]


def put_down(
    folder: Path, found: Ruling, question: Question, outing: Outing, *, gate: GateConfig
) -> dict[str, Any]:
    """Count the use of these test rows, and write the decision with its evidence."""
    ids_R = ids_of(question.rows, question.featurizer, question.test.answers_R)
    rows_hash = window_hash(ids_R)
    uses = count_use(outing.store, rows_hash, outing.key)
    record = gate_record(
        found.verdict,
        found.evidence,
        gate=gate,
        metric=metric_name(gate, question.featurizer.target.kind),
        window=Window(rows_hash, len(ids_R), uses, gate.max_holdout_reuse),
    )
    write_gate(folder, record, gate)
    return record
