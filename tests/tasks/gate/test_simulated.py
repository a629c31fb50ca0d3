"""The gate on simulated challengers: its rate of false promotions, and its decisions."""

import numpy as np
import pytest

from tasks.gate.comparison import GateConfig
from tests.support.gate_simulation import (
    EQUAL_PAIRS,
    EVEN_SHARES,
    count_promotions,
    decide_pair,
    simulate_classifiers,
)

GATE = GateConfig(bootstrap_samples=400, max_slice_drop=None)

TRIALS = 200

SLOW_CASES = {"AUROC, 4 classes"}
"""Cases that take minutes; the benchmark runs them."""


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in EQUAL_PAIRS if case not in SLOW_CASES])
@pytest.mark.parametrize("rows", [50, 200])
def test_false_promotions_are_no_more_than_the_confidence_allows(case, rows) -> None:
    allowed = (1 - GATE.confidence) * TRIALS

    assert count_promotions(case, rows, trials=TRIALS, gate=GATE) <= allowed


def test_non_inferiority_promotes_equal_challengers() -> None:
    gate = GateConfig(bootstrap_samples=200, mode="non-inferiority", margin=0.1)

    verdicts = [
        decide_pair(
            simulate_classifiers(np.random.default_rng(t), 400, EVEN_SHARES, skill=1.5),
            gate,
            "accuracy",
        )
        for t in range(20)
    ]

    assert sum(verdict.decision == "promote" for verdict in verdicts) >= 15


def test_non_inferiority_rejects_a_loss_of_twice_the_margin() -> None:
    gate = GateConfig(bootstrap_samples=200, mode="non-inferiority", margin=0.03)

    verdicts = [
        decide_pair(
            simulate_classifiers(
                np.random.default_rng(t), 400, EVEN_SHARES, skill=1.5, better=-0.4
            ),
            gate,
            "accuracy",
        )
        for t in range(20)
    ]

    assert sum(verdict.decision == "promote" for verdict in verdicts) == 0


@pytest.mark.parametrize(
    ("better", "rows", "expected"),
    [(1.5, 400, "promote"), (-1.0, 400, "keep"), (1.5, 40, "needs-approval")],
    ids=["better", "worse", "tiny data"],
)
def test_clear_cases_are_decided_as_expected(better: float, rows: int, expected: str) -> None:
    pair = simulate_classifiers(
        np.random.default_rng(0), rows, EVEN_SHARES, skill=1.0, better=better
    )

    assert decide_pair(pair, GATE, "macro_f1").decision == expected
