"""The time that MLflow takes: `python tests/benchmarks/tracking.py [ROUNDS]`.

training      10,000 steps of a small network, alternately without and with live metrics
registration  the whole stage that writes the run, saves the model, registers it, loads it again,
              compares its golden rows and moves the aliases: from the second model of a process
              on, because the first one also imports MLflow
"""

import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.sample_jobs import WAVES, make_waves

ROWS, STEPS, CHANNELS, EPOCHS = 12_800, 20, 4, 50
"""50 epochs of 200 batches."""


def time_training(round_index: int, *, live: bool) -> float:
    """Train once; return the seconds."""
    from models.features.feature_spec import Numbers
    from models.learning.batches import Spans, to_device
    from models.learning.config import TrainingConfig
    from models.learning.loop import Callbacks, CheckpointStore, fit
    from models.networks.config import ModelConfig
    from models.networks.heads.build import HeadSpec
    from models.networks.network import NetworkSpec, build_network
    from tasks.tracking.live_metrics import Experiment, LiveMetrics

    draw = np.random.default_rng(0)
    starts = np.arange(ROWS) * STEPS
    rows = to_device(
        draw.normal(size=(ROWS * STEPS, CHANNELS)).astype(np.float32),
        Spans(starts, starts + STEPS),
        targets_M=draw.integers(0, 3, ROWS).astype(np.float32),
        target_spans=Spans(np.arange(ROWS), np.arange(ROWS) + 1),
        device=torch.device("cpu"),
    )
    spec = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=3)
    )
    network = build_network(ModelConfig(cell="gru", hidden_size=32), spec, seed=0)
    config = TrainingConfig(epochs=EPOCHS, patience=EPOCHS)
    no_checkpoints = CheckpointStore(load=lambda: None, save=lambda _: None)
    scored = rows.select(np.arange(64))
    start_time = time.perf_counter()
    if live:
        with LiveMetrics(Experiment("tracking", None), f"{round_index:032}") as metrics:
            fit(
                network,
                rows,
                scored,
                config=config,
                checkpoints=no_checkpoints,
                callbacks=metrics.callbacks,
            )
    else:
        fit(
            network,
            rows,
            scored,
            config=config,
            checkpoints=no_checkpoints,
            callbacks=Callbacks(lambda _: None),
        )
    return time.perf_counter() - start_time


def time_registrations(rounds: int) -> list[float]:
    """Retrain with different seeds; return the seconds of each registration but the first."""
    from flows import accept_rows, retrain
    from flows.job.job import load_job

    for owner, name in (
        *((accept_rows, name) for name in ("ingest", "validate")),
        *((retrain, name) for name in ("featurize", "train", "evaluate", "register")),
    ):
        setattr(owner, name, getattr(owner, name).fn)
    register, elapsed = retrain.register, []

    def time_register(*arguments: object, **options: object) -> object:
        start_time = time.perf_counter()
        result = register(*arguments, **options)
        elapsed.append(time.perf_counter() - start_time)
        return result

    retrain.register = time_register
    for seed in range(rounds + 1):
        job = load_job(Path("waves.yaml"), {"training.seed": seed})
        retrain.retrain_job(job, datetime.now(UTC))
    return elapsed[1:]


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_waves(300).write_parquet("waves.parquet")
        Path("waves.yaml").write_text(yaml.safe_dump(WAVES), encoding="utf-8")
        from flows.environment import configure_environment

        configure_environment()
        elapsed: dict[bool, list[float]] = {False: [], True: []}
        for round_index in range(rounds + 1):
            for live, seconds in elapsed.items():
                seconds.append(time_training(round_index, live=live))
        without, with_metrics = (statistics.median(each[1:]) for each in elapsed.values())
        ratios = [b / a for a, b in zip(*(each[1:] for each in elapsed.values()), strict=True)]
        print(f"10,000 steps without {without:.2f} s, with live metrics {with_metrics:.2f} s")
        print(f"ratio, median of pairs: {statistics.median(ratios):.4f}")
        print(f"registration in {statistics.median(time_registrations(rounds)):.2f} s")
        os.chdir("/")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
