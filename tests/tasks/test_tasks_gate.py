"""The gate: every doubt keeps what is."""

import numpy as np
import pytest

from models.evaluation.metrics import Answers
from tasks.errors import JobError
from tasks.gate import GateConfig, Rival, best_of, gain_over, judge, metric_name

GATE = GateConfig(resamples=300)


def right(share: float, rows: int = 400, seed: int = 0) -> Answers:
    """Answers of which this share is right."""
    hit = np.random.default_rng(seed).random(rows) < share
    chance = np.where(hit, 0.9, 0.1)
    return Answers(np.zeros(rows), np.where(hit, 0.0, 1.0), chance, 2)


def decide(challenger: Answers, rival: Answers, *, champion: bool = True, behind=None):
    name = "champion waves v3" if champion else "majority"
    compared = Rival(name, is_champion=champion, challenger=challenger, answers=rival)
    gain = gain_over(compared, GATE, metric="accuracy", by_time=False)
    return judge(gain, gate=GATE, metric="accuracy", behind_baseline=behind)


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
    assert "not better beyond doubt" in verdict.reason


def test_too_few_rows_replace_no_champion() -> None:
    verdict = decide(right(1.0, rows=40), right(0.1, rows=40))

    assert verdict.decision == "keep"
    assert "too few rows" in verdict.reason


def test_a_challenger_behind_a_baseline_is_kept_back_even_if_it_beats_the_champion() -> None:
    verdict = decide(right(0.9), right(0.5), behind="logistic regression")

    assert verdict.decision == "keep"
    assert "does not beat the logistic regression baseline" in verdict.reason


def test_a_first_version_that_beats_its_baselines_serves() -> None:
    verdict = decide(right(0.82), right(0.80, seed=1), champion=False)

    assert verdict.decision == "promote"
    assert "first version" in verdict.reason


def test_a_smaller_error_is_a_gain() -> None:
    truth = np.random.default_rng(0).normal(size=200)
    nothing = np.full(200, np.nan)
    good, bad = (Answers(truth, truth + off, nothing, 0) for off in (0.1, 1.0))

    rival = Rival("champion", is_champion=True, challenger=good, answers=bad)
    gain = gain_over(rival, GATE, metric="mae", by_time=True)

    assert gain["gain"] == pytest.approx(0.9)
    assert gain["low"] > 0.89
    assert best_of({"good": {"mae": 0.1}, "bad": {"mae": 1.0}}, "mae") == "good"


def test_a_metric_that_does_not_fit_the_target_is_refused_with_the_choices() -> None:
    assert metric_name(GATE, "category") == "macro_f1"
    assert metric_name(GATE, "number") == "mae"
    with pytest.raises(JobError, match=r"(?s)'mae' does not fit.*'category'.*accuracy"):
        metric_name(GateConfig(metric="mae"), "category")
