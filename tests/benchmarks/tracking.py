"""What MLflow takes of a training: `python tests/benchmarks/tracking.py [ROUNDS]`.

learning    10,000 steps of a small network, alone and with live curves, which take turns
registered  the whole stage that writes the run, saves the model, registers it, loads it back,
            compares its golden rows and moves the aliases: the second model of a process, for
            the first one also imports MLflow
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
from tests.support.sample_jobs import WAVES, waves

ROWS, STEPS, CHANNELS, EPOCHS = 12_800, 20, 4, 50
"""50 epochs of 200 batches."""


def learn(turn: int, *, live: bool) -> float:
    """Train once; return the seconds that it took."""
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
    face = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=3)
    )
    network = build_network(ModelConfig(cell="gru", hidden_size=32), face, seed=0)
    config = TrainingConfig(epochs=EPOCHS, patience=EPOCHS)
    nowhere = CheckpointStore(load=lambda: None, save=lambda _: None)
    few = rows.select(np.arange(64))
    began = time.perf_counter()
    if live:
        with LiveMetrics(Experiment("tracking", None), f"{turn:032}") as told:
            fit(network, rows, few, config=config, checkpoints=nowhere, callbacks=told.callbacks)
    else:
        fit(
            network,
            rows,
            few,
            config=config,
            checkpoints=nowhere,
            callbacks=Callbacks(lambda _: None),
        )
    return time.perf_counter() - began


def registered(rounds: int) -> list[float]:
    """Retrain so often, with other seeds; return the seconds of the last stage."""
    from flows import accept_rows, retrain
    from flows.job.job import load_job

    for place, name in (
        *((accept_rows, name) for name in ("ingest", "validate")),
        *((retrain, name) for name in ("featurize", "train", "evaluate", "register")),
    ):
        setattr(place, name, getattr(place, name).fn)
    register, taken = retrain.register, []

    def timed(*given: object, **named: object) -> object:
        began = time.perf_counter()
        done = register(*given, **named)
        taken.append(time.perf_counter() - began)
        return done

    retrain.register = timed
    for seed in range(rounds + 1):
        job = load_job(Path("waves.yaml"), {"training.seed": seed})
        retrain.retrain_job(job, datetime.now(UTC))
    return taken[1:]


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        waves(300).write_parquet("waves.parquet")
        Path("waves.yaml").write_text(yaml.safe_dump(WAVES), encoding="utf-8")
        from flows.environment import configure_environment

        configure_environment()
        taken: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(rounds + 1):
            for live, found in taken.items():
                found.append(learn(turn, live=live))
        alone, live = (statistics.median(found[1:]) for found in taken.values())
        ratios = [b / a for a, b in zip(*(found[1:] for found in taken.values()), strict=True)]
        print(f"10,000 steps alone {alone:.2f} s, with live curves {live:.2f} s")
        print(f"ratio, median of pairs: {statistics.median(ratios):.4f}")
        print(f"registered in {statistics.median(registered(rounds)):.2f} s")
        os.chdir("/")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
