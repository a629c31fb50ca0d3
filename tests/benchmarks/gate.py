"""The gate's rate of false promotions: `python tests/benchmarks/gate.py [TRIALS] [ROWS ...]`.

Prints how many challengers that are as good as the champion are promoted, by metric and rows,
compared with the decisions of a plain percentile bootstrap; and how many better challengers are
promoted.
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
from tests.support.gate_simulation import (
    EQUAL_PAIRS,
    EVEN_SHARES,
    decide_pair,
    simulate_classifiers,
)

GATE = GateConfig(bootstrap_samples=500)

BETTER = (0.25, 0.5, 1.0)


def compute_percentile_low(pair, metric: str, *, by_time: bool) -> float:
    """Return the lower bound of a plain percentile bootstrap."""
    compute = METRICS[pair[0].kind][metric]
    count = compute.limit_samples(pair[0], GATE.bootstrap_samples)
    block = choose_block_length(len(pair[0]), by_time=by_time)

    def compute_gains(counts_BR):
        ours, theirs = (compute.compute_resampled(each, counts_BR) for each in pair)
        return get_metric_sign(metric) * (ours - theirs)

    draws = draw_resamples(pair[0], count=count, block=block, seed=0)
    resampled = compute_resampled_metrics({"": compute_gains}, {"": count}, draws, len(pair[0]))
    return compute_percentile_interval(resampled[""], GATE.confidence).low


def count_false_promotions(case: str, rows: int, trials: int) -> tuple[int, int]:
    """Count the equal challengers that the gate and a plain percentile bootstrap promote."""
    metric, draw_pair = EQUAL_PAIRS[case]
    by_time, ours, by_percentile = "time" in case, 0, 0
    for trial in range(trials):
        pair = draw_pair(np.random.default_rng(trial), rows)
        ours += decide_pair(pair, GATE, metric, by_time=by_time).decision == "promote"
        by_percentile += compute_percentile_low(pair, metric, by_time=by_time) > 0
    return ours, by_percentile


def main() -> None:
    """Print both tables."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    sizes = [int(argument) for argument in sys.argv[2:]] or [50, 100, 400]
    print(
        f"equal challengers promoted, of {trials} each; at most {1 - GATE.confidence:.0%} allowed"
    )
    print("| case | rows | gate | percentile bootstrap | seconds |\n|---|---:|---:|---:|---:|")
    for case in EQUAL_PAIRS:
        for rows in sizes:
            start_time = time.perf_counter()
            ours, by_percentile = count_false_promotions(case, rows, trials)
            elapsed = time.perf_counter() - start_time
            shares = f"{ours / trials:.1%} | {by_percentile / trials:.1%}"
            print(f"| {case} | {rows} | {shares} | {elapsed:.0f} |", flush=True)
    print("\nbetter challengers promoted (accuracy, 4 classes)")
    print("| stronger signal by | rows | gate |\n|---|---:|---:|")
    for better in BETTER:
        for rows in sizes:
            verdicts = [
                decide_pair(
                    simulate_classifiers(
                        np.random.default_rng(t), rows, EVEN_SHARES, skill=1.5, better=better
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
