"""What checkpoints cost, and whether a killed run comes to the same model, bit for bit.

    python tests/benchmarks/resume.py [KILLS]

Every run trains in a process of its own, in memory and from disk: one unbroken, one that is killed
(SIGKILL) in the middle of its writing over and over, and goes on. Their weights' hashes have to be
the same; each way has one of its own. The cost is the time that a checkpoint takes from the loop,
at the default settings, over the time between two.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from models.features.feature_spec import Numbers
from models.features.static_covariates import StaticCovariates
from models.learning.batches import Spans, to_device
from models.learning.checkpoint import CheckpointStore, CheckpointWriter
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, select_longest
from models.learning.loop import Callbacks, TrainingLoop, fit
from models.learning.plan import make_plan
from models.learning.stream import StreamingSet
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.network import Network, NetworkSpec, build_network

ROWS, STEPS, CHANNELS = 2_000, (5, 40), 8
CONFIG = TrainingConfig(epochs=3, batch_size=32, checkpoint_every=0.05)
WIDTHS = (64, 256, 512)
WAYS = ("resident", "streamed")
SAVES = 6
"""Checkpoints that a run lives for."""


def made(way: str) -> Sequences:
    """Draw the sequences."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(*STEPS, ROWS)
    stops, rows = np.cumsum(lengths), np.arange(ROWS)
    values = draw.normal(size=(stops[-1], CHANNELS)).astype(np.float32)
    places, answers = Spans(stops - lengths, stops), draw.integers(0, 3, ROWS).astype(np.float32)
    if way == "resident":
        return to_device(
            values,
            places,
            targets_M=answers,
            target_spans=Spans(rows, rows + 1),
            device=torch.device("cpu"),
        )
    return StreamingSet(
        values_NC=values,
        spans=places,
        targets_M=answers,
        target_spans=Spans(rows, rows + 1),
        statics=StaticCovariates(np.empty((ROWS, 0), np.int32), np.empty((ROWS, 0), np.float32)),
        device=torch.device("cpu"),
        block_bytes=2**16,
        buffer_blocks=4,
    )


def network_of(hidden: int) -> Network:
    """Make the network."""
    face = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=3)
    )
    return build_network(ModelConfig(hidden_size=hidden, dropout=0.2), face, seed=0)


def alone(way: str, path: str, lives: str) -> None:
    """Train, be killed at the last of its lives, or print the weights' hash."""
    file, left = Path(path), int(lives)

    def save(data: bytes) -> None:
        nonlocal left
        left -= 1
        beside = file.with_suffix(".new")
        beside.write_bytes(data[: len(data) // 2] if left == 0 else data)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        beside.replace(file)

    network, data = network_of(48), made(way)
    load = lambda: file.read_bytes() if file.exists() else None  # noqa: E731 - in one line
    silent = Callbacks(lambda _: None)
    fit(
        network,
        data,
        data,
        config=CONFIG,
        checkpoints=CheckpointStore(load, save),
        callbacks=silent,
    )
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    print(digest.hexdigest()[:16])


def hash_of(way: str, kills: int) -> tuple[str, int]:
    """Train in processes of their own, the first of which are killed."""
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        while True:
            lives = SAVES if done < kills else 0
            command = [sys.executable, __file__, "alone", way, f"{folder}/state.pt", str(lives)]
            found = subprocess.run(command, check=False, capture_output=True, text=True)
            if found.returncode == 0:
                return found.stdout.strip(), done
            assert found.returncode == -signal.SIGKILL, found.stderr
            done += 1


def cost(hidden: int) -> tuple[float, float]:
    """Return the milliseconds that a checkpoint takes from the loop, and their share of time."""
    network, data = network_of(hidden), made("resident")
    config = TrainingConfig()
    loop = TrainingLoop(network, make_plan(network, data, data, config), config, metric=None)
    loop.progress.best_state = network.state_dict()
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.pt"

        def write(data: bytes) -> None:
            file.write_bytes(data)

        with CheckpointWriter(write, config.checkpoint_every) as saver:
            for _ in range(10):
                loop.train_step(*select_longest(data, 64))
                began = time.perf_counter()
                saver.save_state(loop.state())
                taken.append(time.perf_counter() - began)
                saver.wait()
    return 1000 * median(taken), median(taken) / config.checkpoint_every


def main() -> None:
    """Print the figures."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    print("| units | ms of a checkpoint | share of the time |\n|---:|---:|---:|")
    for hidden in WIDTHS:
        milliseconds, share = cost(hidden)
        print(f"| {hidden} | {milliseconds:.2f} | {share:.4%} |", flush=True)
    print("\n| way | unbroken | killed | times | same |\n|---|---|---|---:|---|")
    for way in WAYS:
        unbroken, _ = hash_of(way, 0)
        resumed, times = hash_of(way, kills)
        same = "yes" if resumed == unbroken else "NO"
        print(f"| {way} | {unbroken} | {resumed} | {times} | {same} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        alone(*sys.argv[2:])
    else:
        main()
