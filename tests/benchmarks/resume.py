"""The time of checkpoints, and whether a killed run resumes to the same model, bit for bit.

    python tests/benchmarks/resume.py [KILLS]

Every run trains in a process of its own, in memory and streaming: one uninterrupted, one that is
killed (SIGKILL) in the middle of a write several times and resumed. The hashes of their weights
must be equal for each way of loading. The cost is the time that a checkpoint takes from the loop,
at the default settings, divided by the time between two.
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
DATA_LOADING = ("in_memory", "streaming")
SAVES = 6
"""Checkpoints until a run is killed."""


def draw_data(data_loading: str) -> Sequences:
    """Draw the sequences."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(*STEPS, ROWS)
    stops, rows = np.cumsum(lengths), np.arange(ROWS)
    values = draw.normal(size=(stops[-1], CHANNELS)).astype(np.float32)
    spans, targets = Spans(stops - lengths, stops), draw.integers(0, 3, ROWS).astype(np.float32)
    if data_loading == "in_memory":
        return to_device(
            values,
            spans,
            targets_M=targets,
            target_spans=Spans(rows, rows + 1),
            device=torch.device("cpu"),
        )
    return StreamingSet(
        values_NC=values,
        spans=spans,
        targets_M=targets,
        target_spans=Spans(rows, rows + 1),
        statics=StaticCovariates(np.empty((ROWS, 0), np.int32), np.empty((ROWS, 0), np.float32)),
        device=torch.device("cpu"),
        block_bytes=2**16,
        buffer_blocks=4,
    )


def build_small_network(hidden: int) -> Network:
    """Build the network of all runs."""
    spec = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=3)
    )
    return build_network(ModelConfig(hidden_size=hidden, dropout=0.2), spec, seed=0)


def train_once(data_loading: str, path: str, max_saves: str) -> None:
    """Train, and kill the process in save `max_saves`, or print the hash of the weights."""
    file, saves_left = Path(path), int(max_saves)

    def save(data: bytes) -> None:
        nonlocal saves_left
        saves_left -= 1
        new_file = file.with_suffix(".new")
        new_file.write_bytes(data[: len(data) // 2] if saves_left == 0 else data)
        if saves_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        new_file.replace(file)

    network, data = build_small_network(48), draw_data(data_loading)
    load = lambda: file.read_bytes() if file.exists() else None  # noqa: E731 - in one line
    no_callbacks = Callbacks(lambda _: None)
    fit(
        network,
        data,
        data,
        config=CONFIG,
        checkpoints=CheckpointStore(load, save),
        callbacks=no_callbacks,
    )
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    print(digest.hexdigest()[:16])


def hash_weights(data_loading: str, kills: int) -> tuple[str, int]:
    """Train in processes of which the first are killed; return the hash and the number of kills."""
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        while True:
            max_saves = SAVES if killed < kills else 0
            arguments = ["train", data_loading, f"{folder}/state.pt", str(max_saves)]
            command = [sys.executable, __file__, *arguments]
            result = subprocess.run(command, check=False, capture_output=True, text=True)
            if result.returncode == 0:
                return result.stdout.strip(), killed
            assert result.returncode == -signal.SIGKILL, result.stderr
            killed += 1


def measure_checkpoint(hidden: int) -> tuple[float, float]:
    """Return a checkpoint's milliseconds in the loop, and their share of the time."""
    network, data = build_small_network(hidden), draw_data("in_memory")
    config = TrainingConfig()
    loop = TrainingLoop(network, make_plan(network, data, data, config), config, metric=None)
    loop.progress.best_state = network.state_dict()
    elapsed = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.pt"

        def write(data: bytes) -> None:
            file.write_bytes(data)

        with CheckpointWriter(write, config.checkpoint_every) as writer:
            for _ in range(10):
                loop.train_step(*select_longest(data, 64))
                start_time = time.perf_counter()
                writer.save_state(loop.state_dict())
                elapsed.append(time.perf_counter() - start_time)
                writer.wait()
    return 1000 * median(elapsed), median(elapsed) / config.checkpoint_every


def main() -> None:
    """Print both tables."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    print("| units | ms of a checkpoint | share of the time |\n|---:|---:|---:|")
    for hidden in WIDTHS:
        milliseconds, share = measure_checkpoint(hidden)
        print(f"| {hidden} | {milliseconds:.2f} | {share:.4%} |", flush=True)
    print("\n| data_loading | uninterrupted | resumed | kills | same |\n|---|---|---|---:|---|")
    for data_loading in DATA_LOADING:
        uninterrupted, _ = hash_weights(data_loading, 0)
        resumed, killed = hash_weights(data_loading, kills)
        same = "yes" if resumed == uninterrupted else "NO"
        print(f"| {data_loading} | {uninterrupted} | {resumed} | {killed} | {same} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train_once(*sys.argv[2:])
    else:
        main()
