"""The gate over simulated challengers: how often it errs, and what it says of each case."""

import numpy as np
import pytest

from tasks.gate.comparison import GateConfig
from tests.support.gate_simulation import (
    EQUAL_PAIRS,
    EVEN,
    count_promotions,
    decide_pair,
    simulate_classifiers,
)

GATE = GateConfig(bootstrap_samples=400, max_slice_drop=None)

TRIALS = 200

LEFT_OUT = {"AUROC, 4 classes"}
"""What takes minutes; the benchmark shows it."""


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in EQUAL_PAIRS if case not in LEFT_OUT])
@pytest.mark.parametrize("rows", [50, 200])
def test_of_equal_challengers_no_more_are_promoted_than_the_confidence_allows(case, rows) -> None:
    allowed = (1 - GATE.confidence) * TRIALS

    assert count_promotions(case, rows, trials=TRIALS, gate=GATE) <= allowed


def test_equal_challengers_are_refreshed_where_no_gain_is_asked_for() -> None:
    refresh = GateConfig(bootstrap_samples=200, mode="non-inferiority", margin=0.1)

    said = [
        decide_pair(
            simulate_classifiers(np.random.default_rng(t), 400, EVEN, skill=1.5),
            refresh,
            "accuracy",
        )
        for t in range(20)
    ]

    assert sum(verdict.decision == "promote" for verdict in said) >= 15


def test_a_refresh_that_loses_twice_the_margin_is_hardly_ever_let_through() -> None:
    refresh = GateConfig(bootstrap_samples=200, mode="non-inferiority", margin=0.03)

    said = [
        decide_pair(
            simulate_classifiers(np.random.default_rng(t), 400, EVEN, skill=1.5, better=-0.4),
            refresh,
            "accuracy",
        )
        for t in range(20)
    ]

    assert sum(verdict.decision == "promote" for verdict in said) == 0


@pytest.mark.parametrize(
    ("better", "rows", "expected"),
    [(1.5, 400, "promote"), (-1.0, 400, "keep"), (1.5, 40, "needs-approval")],
    ids=["better", "worse", "tiny data"],
)
def test_each_case_comes_out_as_it_should(better: float, rows: int, expected: str) -> None:
    pair = simulate_classifiers(np.random.default_rng(0), rows, EVEN, skill=1.0, better=better)

    assert decide_pair(pair, GATE, "macro_f1").decision == expected
