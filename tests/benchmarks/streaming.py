"""Data larger than memory: what training takes at its peak, and what reading from disk costs.

    python tests/benchmarks/streaming.py [MEGABYTES]

The steps of random series are written into a file of so many megabytes, and into one ten times as
large. Each way trains one epoch of a small gru on them, in a process of its own, whose peak
(VmHWM) the kernel tells. `resident` maps the file; its pages count as soon as they are touched.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from models.features.feature_spec import Numbers
from models.features.static_covariates import StaticCovariates
from models.learning.batches import Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.learning.loop import Callbacks, CheckpointStore, fit
from models.learning.memory import keep_memory
from models.learning.stream import StreamingSet
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.network import NetworkSpec, build_network

STEPS, CHANNELS, HIDDEN, SCORED = 100, 64, 8, 64
WAYS = ("streamed", "resident")


def write(path: Path, megabytes: int) -> None:
    """Write the steps, a piece at a time."""
    rows = megabytes * 2**20 // (STEPS * CHANNELS * 4)
    shape = (rows * STEPS, CHANNELS)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    draw = np.random.default_rng(0)
    for start in range(0, len(file), 2**16):
        piece = file[start : start + 2**16]
        piece[:] = draw.standard_normal(piece.shape, dtype=np.float32)
    file.flush()


def read(path: Path, way: str, rows: int | None = None) -> Sequences:
    """Give the sequences of a file, or its first few."""
    values = np.load(path, mmap_mode="r")
    starts = np.arange(0, len(values), STEPS)[:rows]
    places, one = Spans(starts, starts + STEPS), np.arange(len(starts))
    answers = (one % 2).astype(np.float32)
    if way == "resident":
        return to_device(
            values,
            places,
            targets_M=answers,
            target_spans=Spans(one, one + 1),
            device=torch.device("cpu"),
        )
    return StreamingSet(
        values_NC=values,
        spans=places,
        targets_M=answers,
        target_spans=Spans(one, one + 1),
        statics=StaticCovariates(
            np.empty((len(one), 0), np.int32), np.empty((len(one), 0), np.float32)
        ),
        device=torch.device("cpu"),
    )


def alone(path: str, way: str) -> None:
    """Train, and print the peak in megabytes and the sequences a second."""
    keep_memory()
    data, few = read(Path(path), way), read(Path(path), way, SCORED)
    face = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=2)
    )
    network = build_network(ModelConfig(cell="gru", hidden_size=HIDDEN), face, seed=0)
    config = TrainingConfig(epochs=1, checkpoint_every=1e9)
    nowhere = CheckpointStore(load=lambda: None, save=lambda _: None)
    began = time.perf_counter()
    fit(network, data, few, config=config, checkpoints=nowhere, callbacks=Callbacks(lambda _: None))
    speed = len(data) / (time.perf_counter() - began)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024, speed)


def measured(path: Path, way: str) -> tuple[float, float]:
    """Train in a process of its own; return its peak and its speed."""
    command = [sys.executable, __file__, "alone", str(path), way]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak, speed = map(float, found.split())
    return peak, speed


def main() -> None:
    """Print the table."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    print("| steps, MB | way | peak, MB | sequences/s |\n|---:|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for size in (megabytes, 10 * megabytes):
            path = Path(folder) / f"{size}.npy"
            write(path, size)
            for way in WAYS:
                peak, speed = measured(path, way)
                print(f"| {size} | {way} | {peak:,.0f} | {speed:,.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        alone(*sys.argv[2:])
    else:
        main()
