"""How often the gate errs: `python tests/benchmarks/gate.py [TRIALS] [ROWS ...]`.

Prints of challengers that are just as good as the champion how many are promoted all the same,
by metric and rows, beside what percentiles of the bootstrap alone would have promoted; and of
better ones how many are let through.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from models.evaluation.metrics.by_kind import METRICS, get_metric_sign
from models.evaluation.statistics.block_length import choose_block_length
from models.evaluation.statistics.bootstrap import (
    compute_percentile_interval,
    compute_resampled_metrics,
    draw_resamples,
)
from tasks.gate.comparison import GateConfig
from tests.support.gate_simulation import EQUAL_PAIRS, EVEN, decide_pair, simulate_classifiers

GATE = GateConfig(bootstrap_samples=500)

BETTER = (0.25, 0.5, 1.0)


def percentile_low(pair, metric: str, *, by_time: bool) -> float:
    """The low end that percentiles alone give."""
    compute = METRICS[pair[0].kind][metric]
    count = compute.limit_samples(pair[0], GATE.bootstrap_samples)
    block = choose_block_length(len(pair[0]), by_time=by_time)

    def gains(counts_BR):
        ours, theirs = (compute.compute_resampled(each, counts_BR) for each in pair)
        return get_metric_sign(metric) * (ours - theirs)

    draws = draw_resamples(pair[0], count=count, block=block, seed=0)
    found = compute_resampled_metrics({"": gains}, {"": count}, draws, len(pair[0]))
    return compute_percentile_interval(found[""], GATE.confidence).low


def false_promotions(case: str, rows: int, trials: int) -> tuple[int, int]:
    """Count equal challengers that the gate promotes, and that percentiles alone would."""
    metric, make = EQUAL_PAIRS[case]
    by_time, ours, alone = "time" in case, 0, 0
    for trial in range(trials):
        pair = make(np.random.default_rng(trial), rows)
        ours += decide_pair(pair, GATE, metric, by_time=by_time).decision == "promote"
        alone += percentile_low(pair, metric, by_time=by_time) > 0
    return ours, alone


def main() -> None:
    """Print both tables."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    sizes = [int(word) for word in sys.argv[2:]] or [50, 100, 400]
    print(
        f"equal challengers promoted, of {trials} each; at most {1 - GATE.confidence:.0%} allowed"
    )
    print("| case | rows | gate | percentiles alone | seconds |\n|---|---:|---:|---:|---:|")
    for case in EQUAL_PAIRS:
        for rows in sizes:
            began = time.perf_counter()
            ours, alone = false_promotions(case, rows, trials)
            took = time.perf_counter() - began
            shares = f"{ours / trials:.1%} | {alone / trials:.1%}"
            print(f"| {case} | {rows} | {shares} | {took:.0f} |", flush=True)
    print("\nbetter challengers promoted (accuracy, 4 classes)")
    print("| signal seen better by | rows | gate |\n|---|---:|---:|")
    for better in BETTER:
        for rows in sizes:
            verdicts = [
                decide_pair(
                    simulate_classifiers(
                        np.random.default_rng(t), rows, EVEN, skill=1.5, better=better
                    ),
                    GATE,
                    "accuracy",
                )
                for t in range(trials)
            ]
            share = sum(verdict.decision == "promote" for verdict in verdicts) / trials
            print(f"| {better} | {rows} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
