"""The gate's rules: without evidence of an improvement the champion stays."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from models.evaluation.predictions import SinglePredictions
from tasks.errors import JobError
from tasks.gate.comparison import (
    Comparison,
    Gain,
    GateConfig,
    choose_metric,
    find_best,
    measure_gain,
    require_metric,
)
from tasks.gate.decide import build_record, write_record
from tasks.gate.holdout_reuse import HoldoutReuse, hash_test_rows, record_use
from tasks.gate.rules import Evidence, Guardrail, Verdict, apply_rules

GATE = GateConfig(bootstrap_samples=300)

REFRESH = GateConfig(bootstrap_samples=300, mode="non-inferiority", margin=0.1)

AHEAD = Gain("logistic regression", False, 400, 0.2, 0.1, 0.3, 0.9, 0.7)


def draw_predictions(accuracy: float, rows: int = 400, seed: int = 0) -> SinglePredictions:
    """Draw predictions of which this share is correct."""
    is_correct = np.random.default_rng(seed).random(rows) < accuracy
    probability = np.where(is_correct, 0.9, 0.1)
    return SinglePredictions(np.zeros(rows), np.where(is_correct, 0.0, 1.0), probability, 2)


def build_evidence(
    challenger: SinglePredictions, champion: SinglePredictions, gate: GateConfig = GATE, **more
) -> Evidence:
    """Return the evidence of a challenger against a champion."""
    name = "champion waves v3"
    gain = measure_gain(
        Comparison(name, True, challenger, champion), gate, metric="accuracy", by_time=False
    )
    fields = {"over_baseline": AHEAD, "over_champion": gain, "champion": name}
    return Evidence(**(fields | {"rows": len(champion), "excluded_rows": 0} | more))


def decide(
    challenger: SinglePredictions, champion: SinglePredictions, gate: GateConfig = GATE, **more
) -> Verdict:
    return apply_rules(build_evidence(challenger, champion, gate, **more), gate, "accuracy")


def decide_first_version(baseline: Gain, gate: GateConfig = GATE, **more) -> Verdict:
    fields = {"over_champion": None, "champion": None, "rows": baseline.rows, "excluded_rows": 0}
    return apply_rules(Evidence(over_baseline=baseline, **(fields | more)), gate, "accuracy")


def test_a_challenger_equal_to_the_champion_is_not_promoted() -> None:
    assert decide(draw_predictions(0.8), draw_predictions(0.8)).decision == "keep"


def test_equal_challengers_are_promoted_no_more_often_than_the_confidence_allows() -> None:
    promoted = sum(
        decide(draw_predictions(0.8, seed=seed), draw_predictions(0.8, seed=seed + 1000)).decision
        == "promote"
        for seed in range(200)
    )

    assert promoted <= 10


def test_a_clearly_better_challenger_is_promoted_with_its_interval() -> None:
    verdict = decide(draw_predictions(0.95), draw_predictions(0.7, seed=1))

    assert verdict.decision == "promote"
    assert "95% interval" in verdict.reason
    assert "champion waves v3" in verdict.reason


def test_a_better_score_that_is_not_significant_is_not_promoted() -> None:
    verdict = decide(draw_predictions(0.82), draw_predictions(0.80, seed=1))

    assert verdict.decision == "keep"
    assert "not better with 95% confidence" in verdict.reason


def test_a_significant_gain_below_the_minimum_is_not_promoted() -> None:
    gate = GateConfig(bootstrap_samples=300, min_improvement=0.3)

    verdict = decide(draw_predictions(0.95), draw_predictions(0.7, seed=1), gate)

    assert verdict.decision == "keep"
    assert "bound +0.3" in verdict.reason


def test_a_non_inferior_challenger_may_lose_no_more_than_the_margin() -> None:
    same, worse = draw_predictions(0.8, seed=5), draw_predictions(0.6, seed=2)

    assert decide(same, draw_predictions(0.8, seed=5), REFRESH).decision == "promote"
    verdict = decide(worse, draw_predictions(0.8), REFRESH)

    assert verdict.decision == "keep"
    assert "possibly worse" in verdict.reason


def test_too_few_rows_need_approval() -> None:
    verdict = decide(
        draw_predictions(1.0, rows=40), draw_predictions(0.1, rows=40), excluded_rows=160
    )

    assert verdict.decision == "needs-approval"
    assert "only 40 rows" in verdict.reason
    assert "was trained on 160 of the test's 200 rows" in verdict.reason


def test_a_comparison_without_rows_needs_approval() -> None:
    verdict = decide_first_version(AHEAD, champion="champion waves v3", rows=0, excluded_rows=200)

    assert verdict.decision == "needs-approval"


def test_a_challenger_behind_a_baseline_is_not_promoted_even_if_it_beats_the_champion() -> None:
    behind = AHEAD._replace(gain=-0.01)

    verdict = decide(draw_predictions(0.9), draw_predictions(0.5), over_baseline=behind)

    assert verdict.decision == "keep"
    assert "does not beat the logistic regression baseline" in verdict.reason
    allowed = GateConfig(bootstrap_samples=300, require_baseline=False)
    assert (
        decide(draw_predictions(0.9), draw_predictions(0.5), allowed, over_baseline=behind).decision
        == "promote"
    )


def test_a_later_version_that_ties_with_the_best_baseline_and_beats_the_champion_is_promoted() -> (
    None
):
    tie = AHEAD._replace(gain=-0.002, low=-0.008, high=0.004)

    verdict = decide(draw_predictions(0.9), draw_predictions(0.5), over_baseline=tie)

    assert verdict.decision == "promote"
    strict = GateConfig(bootstrap_samples=300, baseline_margin=0.0)
    verdict = decide(draw_predictions(0.9), draw_predictions(0.5), strict, over_baseline=tie)
    assert verdict.decision == "keep"
    assert "does not beat the logistic regression baseline" in verdict.reason


def test_a_baseline_is_promoted_where_nothing_serves_and_has_to_beat_what_does() -> None:
    itself = AHEAD._replace(gain=0.0, low=0.0, high=0.0, score=0.7)

    first = decide_first_version(itself, fallback="ridge")
    same = draw_predictions(0.7, seed=1)
    renewed = decide(draw_predictions(0.95), same, over_baseline=itself, fallback="ridge")
    equal = decide(same, same, over_baseline=itself, fallback="ridge")

    assert (first.decision, first.is_tie) == ("promote", False)
    assert "no network has beaten the baselines: ridge, accuracy 0.7000" in first.reason
    assert renewed.decision == "promote"
    assert "gain over champion waves v3" in renewed.reason
    assert equal.decision == "keep"


def test_a_baseline_is_held_to_guardrails_and_leakage_checks() -> None:
    itself = AHEAD._replace(gain=0.0, low=0.0, high=0.0)
    too_large = Guardrail("size of the model in MB", 2.0, 1.0, False)

    held = decide_first_version(itself, fallback="ridge", guardrails=[too_large])
    blocked = decide_first_version(itself, fallback="ridge", block_reason="it leaks")

    assert held.decision == "keep"
    assert blocked.decision == "needs-approval"


def test_a_first_version_that_beats_its_baselines_is_promoted() -> None:
    verdict = decide_first_version(AHEAD._replace(gain=0.02, low=0.001))

    assert (verdict.decision, verdict.is_tie) == ("promote", False)
    assert "no champion yet, and better than every baseline" in verdict.reason


@pytest.mark.parametrize("gain", [0.002, 0.0, -0.0001])
def test_a_first_version_that_ties_with_the_best_baseline_is_promoted_as_a_tie(gain: float) -> None:
    verdict = decide_first_version(AHEAD._replace(gain=gain, low=gain - 0.005, high=gain + 0.005))

    assert (verdict.decision, verdict.is_tie) == ("promote", True)
    assert "a tie: as good as the best baseline within 0.01" in verdict.reason


def test_a_first_version_that_is_worse_within_the_margin_says_so() -> None:
    verdict = decide_first_version(AHEAD._replace(gain=-0.004, low=-0.006, high=-0.002))

    assert (verdict.decision, verdict.is_tie) == ("promote", True)
    assert "worse than the best baseline, but by less than 0.01" in verdict.reason


@pytest.mark.parametrize(
    ("gain", "low", "high", "words"),
    [
        (0.00001, -0.05, 0.05, "is ahead of the logistic regression baseline, but may be worse"),
        (
            0.04,
            -0.011,
            0.1,
            "is ahead of the logistic regression baseline, but may be worse by 0.0",
        ),
        (-0.01, -0.05, 0.03, "does not beat the logistic regression baseline, but may be worse"),
        (-0.1, -0.2, -0.05, "is worse than the logistic regression baseline"),
        (float("nan"), -0.1, float("nan"), "does not beat the logistic regression baseline"),
        (0.1, float("nan"), 0.2, "is ahead of"),
    ],
)
def test_a_first_version_whose_interval_reaches_below_the_margin_is_kept(
    gain: float, low: float, high: float, words: str
) -> None:
    verdict = decide_first_version(AHEAD._replace(gain=gain, low=low, high=high))

    assert (verdict.decision, verdict.is_tie) == ("keep", False)
    assert words in verdict.reason


def test_a_tie_on_few_rows_is_no_evidence() -> None:
    few = AHEAD._replace(rows=12, gain=0.0, low=0.0, high=0.0)

    verdict = decide_first_version(few)

    assert verdict.decision == "keep"
    assert "a tie needs 50 test rows" in verdict.reason
    perfect = decide_first_version(few, is_perfect=True)
    assert (perfect.decision, perfect.is_tie) == ("promote", True)
    assert "a tie with the best baseline, but without any error" in perfect.reason


def test_without_a_margin_a_first_version_has_to_be_better() -> None:
    strict = GateConfig(baseline_margin=0)

    verdict = decide_first_version(AHEAD._replace(gain=0.002, low=-0.001, high=0.005), strict)

    assert verdict.decision == "keep"
    assert "is ahead of the logistic regression baseline, but not significantly" in verdict.reason
    assert decide_first_version(AHEAD, strict).decision == "promote"


def test_a_job_that_requires_no_baseline_promotes_any_first_version() -> None:
    allowed = GateConfig(require_baseline=False)

    verdict = decide_first_version(AHEAD._replace(gain=-0.3, low=-0.4, high=-0.2), allowed)

    assert (verdict.decision, verdict.is_tie) == ("promote", False)
    assert "does not require that it beats the baselines" in verdict.reason
    assert decide_first_version(AHEAD._replace(gain=0.0, low=-0.001), allowed).is_tie


def test_a_reason_says_how_many_of_the_test_rows_were_compared() -> None:
    gain = AHEAD._replace(name="champion waves v3", is_champion=True, rows=371)

    verdict = decide_first_version(
        AHEAD, champion="champion waves v3", over_champion=gain, rows=371, excluded_rows=7
    )

    assert verdict.reason.endswith(
        "on 371 of 378 test rows (the champion was trained on the other 7)"
    )


def test_an_unknown_gain_is_not_promoted() -> None:
    unknown = Gain("champion waves v3", True, 400, *[float("nan")] * 5)

    assert decide_first_version(AHEAD, champion="v3", over_champion=unknown).decision == "keep"
    assert (
        decide_first_version(AHEAD, REFRESH, champion="v3", over_champion=unknown).decision
        == "keep"
    )


def test_a_failed_guardrail_keeps_the_champion_and_is_named() -> None:
    guards = [
        Guardrail("drop of class a (30 rows)", 0.4, 0.1, False),
        Guardrail("other", 0.0, 1.0, True),
    ]

    verdict = decide(draw_predictions(0.95), draw_predictions(0.7, seed=1), guardrails=guards)

    assert verdict.decision == "keep"
    assert "drop of class a (30 rows) 0.4 (at most 0.1)" in verdict.reason
    assert "other" not in verdict.reason


def test_a_blocked_promotion_needs_approval_and_a_worse_challenger_is_kept() -> None:
    reason = "a leakage check fails"

    verdict = decide(draw_predictions(0.95), draw_predictions(0.7, seed=1), block_reason=reason)

    assert verdict.decision == "needs-approval"
    assert reason in verdict.reason
    assert decide_first_version(AHEAD, block_reason=reason).decision == "needs-approval"
    assert (
        decide(draw_predictions(0.7), draw_predictions(0.95, seed=1), block_reason=reason).decision
        == "keep"
    )


def test_an_incomparable_champion_means_no_promotion() -> None:
    verdict = decide(
        draw_predictions(1.0),
        draw_predictions(0.1),
        incomparable_reason="champion v3 predicts another target",
    )

    assert verdict == Verdict("not-comparable", "champion v3 predicts another target")


def test_a_smaller_error_is_a_gain() -> None:
    targets = np.random.default_rng(0).normal(size=200)
    no_probabilities = np.full(200, np.nan)
    good, bad = (
        SinglePredictions(targets, targets + error, no_probabilities, 0) for error in (0.1, 1.0)
    )

    gain = measure_gain(Comparison("champion", True, good, bad), GATE, metric="mae", by_time=True)

    assert gain.gain == pytest.approx(0.9)
    assert gain.low > 0.5
    assert find_best({"good": {"mae": 0.1}, "bad": {"mae": 1.0}}, "mae") == "good"


def test_a_metric_that_does_not_fit_the_target_is_refused_with_the_choices() -> None:
    assert choose_metric(GATE, "category") == "macro_f1"
    assert choose_metric(GATE, "number") == "mae"
    with pytest.raises(JobError, match=r"(?s)'mae' does not fit.*'category'.*accuracy"):
        choose_metric(GateConfig(metric="mae"), "category")
    with pytest.raises(JobError, match=r"(?s)mape cannot be computed.*mae"):
        require_metric({"mae": 1.0}, "mape", "challenger")


@pytest.mark.parametrize(
    "section",
    [
        {"mode": "non-inferiority"},
        {"margin": 0.1},
        {"mode": "non-inferiority", "margin": 0.1, "min_improvement": 0.1},
        {"min_improvement": -0.1},
        {"min_improvement": float("nan")},
        {"max_slice_drop": -0.1},
        {"max_size_mb": float("nan")},
        {"max_holdout_reuse": 0},
        {"confidence": 1.0},
        {"baseline_margin": -0.01},
        {"baseline_margin": float("nan")},
    ],
    ids=str,
)
def test_settings_that_are_out_of_range_or_contradict_each_other_are_refused(section: dict) -> None:
    with pytest.raises(ValueError, match=r"^((baseline_)?margin|m..?_\w+|confidence)"):
        GateConfig(**section)


# --- the record


def test_the_decision_is_written_with_its_evidence(tmp_path) -> None:
    guards = [Guardrail("drop", float("inf"), 0.1, False)]
    evidence = build_evidence(
        draw_predictions(0.95), draw_predictions(0.7, seed=1), guardrails=guards, excluded_rows=7
    )
    verdict, holdout = apply_rules(evidence, GATE, "accuracy"), HoldoutReuse("ab", 400, 21, 20)

    record = build_record(verdict, evidence, gate=GATE, metric="accuracy", holdout=holdout)
    write_record(tmp_path, record)

    written = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    assert written == asdict(record) | {
        "comparisons": [asdict(each) for each in record.comparisons],
        "guardrails": [asdict(each) for each in record.guardrails],
    }
    assert written["decision"] == "keep"
    assert [each["is_champion"] for each in written["comparisons"]] == [True, False]
    assert written["guardrails"] == [{"name": "drop", "value": None, "limit": 0.1, "passed": False}]
    assert written["excluded_rows"] == 7
    assert (written["baseline_margin"], written["is_tie"]) == (0.01, False)
    assert (written["comparisons"][1]["score"], written["comparisons"][1]["reference_score"]) == (
        0.9,
        0.7,
    )
    assert (written["holdout"]["uses"], written["holdout"]["limit"]) == (21, 20)
    assert "21 times" in written["holdout"]["warning"]


def test_a_number_that_is_not_finite_is_left_out_of_the_record() -> None:
    evidence = build_evidence(
        draw_predictions(0.5), draw_predictions(0.5), over_baseline=AHEAD._replace(low=float("nan"))
    )
    evidence = evidence._replace(over_champion=None, incomparable_reason="the files are missing")
    holdout = HoldoutReuse("ab", 400, 1, 20)

    record = build_record(
        apply_rules(evidence, GATE, "mae"), evidence, gate=GATE, metric="mae", holdout=holdout
    )

    assert record.comparisons[0].low is None
    assert record.holdout.warning is None


# --- reuse of the holdout


def test_a_repeated_evaluation_is_counted_once(store) -> None:
    first, second = (hash_test_rows(np.array(ids, np.uint64)) for ids in ([1, 2, 3], [1, 2, 4]))

    assert [record_use(store, first, key) for key in ("a", "b", "a")] == [1, 2, 2]
    assert record_use(store, second, "a") == 1
    assert hash_test_rows(np.array([3, 1, 2], np.uint64)) == first


def test_reuse_is_warned_of_beyond_the_limit_and_not_at_it() -> None:
    assert HoldoutReuse("h", 100, uses=5, limit=5).warning is None
    assert "100 test rows 6 times" in str(HoldoutReuse("h", 100, uses=6, limit=5).warning)


# --- exactly at a bound


def at_bound(**fields: float) -> Gain:
    return Gain(**(AHEAD._asdict() | {"is_champion": True} | fields))


def test_a_gain_whose_interval_ends_at_the_bound_is_not_shown() -> None:
    gate = GateConfig(min_improvement=0.1)
    evidence = {"champion": "champion v1", "rows": 400, "excluded_rows": 0}

    def decide_by_gain(low: float) -> str:
        gain = at_bound(low=low, gain=0.2, high=0.3)
        return apply_rules(Evidence(AHEAD, gain, **evidence), gate, "accuracy").decision

    assert [decide_by_gain(low) for low in (0.1, 0.1001)] == ["keep", "promote"]


def test_exactly_as_many_rows_as_are_asked_for_are_enough() -> None:
    gain = at_bound(low=0.1, gain=0.2, high=0.3)

    def decide_by_rows(rows: int) -> str:
        evidence = Evidence(AHEAD, gain, "champion v1", rows, 0)
        return apply_rules(evidence, GATE, "accuracy").decision

    assert [decide_by_rows(GATE.min_rows - 1), decide_by_rows(GATE.min_rows)] == [
        "needs-approval",
        "promote",
    ]


def test_a_gain_of_exactly_nothing_over_a_baseline_is_none_where_the_interval_is_wide() -> None:
    gain = at_bound(low=0.1, gain=0.2, high=0.3)

    def decide_by_baseline(over_baseline: float) -> str:
        baseline = AHEAD._replace(gain=over_baseline, low=-0.3, high=0.3)
        evidence = Evidence(baseline, gain, "champion v1", 400, 0)
        return apply_rules(evidence, GATE, "accuracy").decision

    assert [decide_by_baseline(0.0), decide_by_baseline(0.001)] == ["keep", "promote"]


def test_a_model_without_the_metric_is_never_the_best() -> None:
    scores = {"none": {}, "worst": {"accuracy": 0.0, "mae": 9e9}}

    assert find_best(scores, "accuracy") == "worst"
    assert find_best(scores, "mae") == "worst"


def test_a_first_version_whose_interval_begins_at_nothing_is_not_better() -> None:
    gate = GateConfig(baseline_margin=0.0)

    kept = decide_first_version(AHEAD._replace(low=0.0), gate)

    assert kept.decision == "keep"
