"""The gate: every doubt keeps what is."""

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

AHEAD = Gain("logistic regression", False, 400, 0.2, 0.1, 0.3)


def right(share: float, rows: int = 400, seed: int = 0) -> SinglePredictions:
    """Answers of which this share is right."""
    hit = np.random.default_rng(seed).random(rows) < share
    chance = np.where(hit, 0.9, 0.1)
    return SinglePredictions(np.zeros(rows), np.where(hit, 0.0, 1.0), chance, 2)


def shown(
    challenger: SinglePredictions, rival: SinglePredictions, gate: GateConfig = GATE, **more
) -> Evidence:
    """Evidence against a champion."""
    name = "champion waves v3"
    gain = measure_gain(
        Comparison(name, True, challenger, rival), gate, metric="accuracy", by_time=False
    )
    told = {"over_baseline": AHEAD, "over_champion": gain, "champion": name}
    return Evidence(**(told | {"rows": len(rival), "excluded_rows": 0} | more))


def decide(
    challenger: SinglePredictions, rival: SinglePredictions, gate: GateConfig = GATE, **more
) -> Verdict:
    return apply_rules(shown(challenger, rival, gate, **more), gate, "accuracy")


def first(baseline: Gain, gate: GateConfig = GATE, **more) -> Verdict:
    told = {"over_champion": None, "champion": None, "rows": baseline.rows, "excluded_rows": 0}
    return apply_rules(Evidence(over_baseline=baseline, **(told | more)), gate, "accuracy")


def test_a_challenger_that_is_the_champion_again_is_never_promoted() -> None:
    assert decide(right(0.8), right(0.8)).decision == "keep"


def test_equal_challengers_are_promoted_no_more_often_than_the_confidence_allows() -> None:
    promoted = sum(
        decide(right(0.8, seed=seed), right(0.8, seed=seed + 1000)).decision == "promote"
        for seed in range(200)
    )

    assert promoted <= 10


def test_a_clearly_better_challenger_is_promoted_with_its_interval() -> None:
    verdict = decide(right(0.95), right(0.7, seed=1))

    assert verdict.decision == "promote"
    assert "95% interval" in verdict.reason
    assert "champion waves v3" in verdict.reason


def test_a_larger_number_alone_is_not_enough() -> None:
    verdict = decide(right(0.82), right(0.80, seed=1))

    assert verdict.decision == "keep"
    assert "not better with 95% confidence" in verdict.reason


def test_a_real_gain_below_the_one_asked_for_is_not_enough() -> None:
    asked = GateConfig(bootstrap_samples=300, min_improvement=0.3)

    verdict = decide(right(0.95), right(0.7, seed=1), asked)

    assert verdict.decision == "keep"
    assert "bound +0.3" in verdict.reason


def test_a_refresh_needs_no_gain_but_may_not_lose_more_than_the_margin() -> None:
    same, worse = right(0.8, seed=5), right(0.6, seed=2)

    assert decide(same, right(0.8, seed=5), REFRESH).decision == "promote"
    verdict = decide(worse, right(0.8), REFRESH)

    assert verdict.decision == "keep"
    assert "possibly worse" in verdict.reason


def test_too_few_rows_are_for_a_person_to_decide() -> None:
    verdict = decide(right(1.0, rows=40), right(0.1, rows=40), excluded_rows=160)

    assert verdict.decision == "needs-approval"
    assert "only 40 rows" in verdict.reason
    assert "was trained on 160 of the test's 200 rows" in verdict.reason


def test_no_row_to_compare_on_is_for_a_person_to_decide() -> None:
    verdict = first(AHEAD, champion="champion waves v3", rows=0, excluded_rows=200)

    assert verdict.decision == "needs-approval"


def test_a_challenger_behind_a_baseline_is_kept_back_even_if_it_beats_the_champion() -> None:
    behind = AHEAD._replace(gain=-0.01)

    verdict = decide(right(0.9), right(0.5), over_baseline=behind)

    assert verdict.decision == "keep"
    assert "does not beat the logistic regression baseline" in verdict.reason
    allowed = GateConfig(bootstrap_samples=300, require_baseline=False)
    assert decide(right(0.9), right(0.5), allowed, over_baseline=behind).decision == "promote"


def test_a_first_version_that_beats_its_baselines_serves() -> None:
    verdict = first(AHEAD._replace(gain=0.02, low=-0.01))

    assert verdict.decision == "promote"
    assert "no champion yet" in verdict.reason


@pytest.mark.parametrize("gain", [0.0, -0.1, float("nan")])
def test_a_first_version_that_shows_no_gain_does_not_serve(gain: float) -> None:
    assert first(AHEAD._replace(gain=gain)).decision == "keep"


def test_what_cannot_be_told_promotes_nothing() -> None:
    nothing = Gain("champion waves v3", True, 400, *[float("nan")] * 3)

    assert first(AHEAD, champion="v3", over_champion=nothing).decision == "keep"
    assert first(AHEAD, REFRESH, champion="v3", over_champion=nothing).decision == "keep"


def test_a_broken_guard_keeps_the_champion_and_is_named() -> None:
    guards = [
        Guardrail("fall of class a (30 rows)", 0.4, 0.1, False),
        Guardrail("other", 0.0, 1.0, True),
    ]

    verdict = decide(right(0.95), right(0.7, seed=1), guardrails=guards)

    assert verdict.decision == "keep"
    assert "fall of class a (30 rows) 0.4 (at most 0.1)" in verdict.reason
    assert "other" not in verdict.reason


def test_what_blocks_a_promotion_asks_for_approval_and_never_revives_a_loser() -> None:
    why = "a leakage check fails"

    verdict = decide(right(0.95), right(0.7, seed=1), blocked=why)

    assert verdict.decision == "needs-approval"
    assert why in verdict.reason
    assert first(AHEAD, blocked=why).decision == "needs-approval"
    assert decide(right(0.7), right(0.95, seed=1), blocked=why).decision == "keep"


def test_what_cannot_be_compared_is_never_a_promotion() -> None:
    verdict = decide(right(1.0), right(0.1), incomparable="champion v3 predicts another target")

    assert verdict == ("not-comparable", "champion v3 predicts another target")


def test_a_smaller_error_is_a_gain() -> None:
    truth = np.random.default_rng(0).normal(size=200)
    nothing = np.full(200, np.nan)
    good, bad = (SinglePredictions(truth, truth + off, nothing, 0) for off in (0.1, 1.0))

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
    ],
    ids=str,
)
def test_settings_that_decide_nothing_or_contradict_each_other_are_refused(section: dict) -> None:
    with pytest.raises(ValueError, match=r"^(margin|m..?_\w+|confidence)"):
        GateConfig(**section)


# --- the paper


def test_the_decision_is_put_down_with_its_evidence_and_a_picture(tmp_path) -> None:
    guards = [Guardrail("fall", float("inf"), 0.1, False)]
    evidence = shown(right(0.95), right(0.7, seed=1), guardrails=guards, excluded_rows=7)
    verdict, window = apply_rules(evidence, GATE, "accuracy"), HoldoutReuse("ab", 400, 21, 20)

    record = build_record(verdict, evidence, gate=GATE, metric="accuracy", holdout=window)
    write_record(tmp_path, record, GATE)

    written = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    assert written == asdict(record) | {
        "comparisons": [asdict(each) for each in record.comparisons],
        "guardrails": [asdict(each) for each in record.guardrails],
    }
    assert written["decision"] == "keep"
    assert [each["is_champion"] for each in written["comparisons"]] == [True, False]
    assert written["guardrails"] == [{"name": "fall", "value": None, "limit": 0.1, "passed": False}]
    assert written["excluded_rows"] == 7
    assert (written["holdout"]["uses"], written["holdout"]["limit"]) == (21, 20)
    assert "21 times" in written["holdout"]["warning"]
    picture = (tmp_path / "gate.png").read_bytes()
    write_record(tmp_path, record, GATE)
    assert picture[:4] == b"\x89PNG"
    assert (tmp_path / "gate.png").read_bytes() == picture


def test_a_decision_without_any_interval_is_drawn_all_the_same(tmp_path) -> None:
    evidence = shown(right(0.5), right(0.5), over_baseline=AHEAD._replace(low=float("nan")))
    evidence = evidence._replace(over_champion=None, incomparable="it is gone")
    window = HoldoutReuse("ab", 400, 1, 20)

    record = build_record(
        apply_rules(evidence, GATE, "mae"), evidence, gate=GATE, metric="mae", holdout=window
    )
    write_record(tmp_path, record, GATE)

    assert record.comparisons[0].low is None
    assert record.holdout.warning is None
    assert (tmp_path / "gate.png").stat().st_size > 1000


# --- uses


def test_an_evaluation_is_counted_once_however_often_it_is_done(store) -> None:
    first, second = (hash_test_rows(np.array(ids, np.uint64)) for ids in ([1, 2, 3], [1, 2, 4]))

    assert [record_use(store, first, key) for key in ("a", "b", "a")] == [1, 2, 2]
    assert record_use(store, second, "a") == 1
    assert hash_test_rows(np.array([3, 1, 2], np.uint64)) == first
