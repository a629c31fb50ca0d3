"""A process may be killed at any moment: the next run resumes to the same model."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml

TRAIN = """
import sys
from pathlib import Path
from flows.environment import configure_environment
configure_environment()
from flows.job.job import load_job
from tasks.features.featurize import make_features
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import open_store
from tasks.training.train import make_candidate
from tasks.validation.validate import accept_snapshot, create_contract, find_contract
from models.learning.loop import Callbacks

job = load_job(Path(sys.argv[1]))
store = open_store(job.store)
snapshot = take_snapshot(job.source, store)
path = Path(job.contract_path)
contract = find_contract(path, job.name) or create_contract(
    snapshot,
    store,
    path=path,
    name=job.name,
    required_columns=job.required_columns,
    target=job.target.column,
)
accepted = accept_snapshot(snapshot, contract, store)
features = make_features(
    accepted, store, layout=job.layout, target=job.target, split=job.split
)
candidate = make_candidate(
    features,
    store,
    model=job.model,
    head=job.head,
    training=job.training,
    callbacks=Callbacks(lambda epoch: print("epoch", epoch.epoch)),
)
print("trained", candidate.key)
"""


EPOCHS = 24
"""More epochs than finish before the kill, however slowly checkpoints are polled."""


def write_job(folder: Path) -> None:
    draw = np.random.default_rng(3)
    cells = [draw.normal(size=(draw.integers(10, 30), 1))[:, 0].tolist() for _ in range(600)]
    label = ["up" if cell[-1] > cell[0] else "down" for cell in cells]
    pl.DataFrame({"path": cells, "label": label}).write_parquet(folder / "paths.parquet")
    job = {
        "name": "paths",
        "source": {"uri": "paths.parquet"},
        "inputs": [{"column": "path", "kind": "series"}],
        "target": {"column": "label", "kind": "category"},
        "model": {
            "cell": "lstm",
            "hidden_size": 24,
            "num_layers": 2,
            "bidirectional": True,
            "dropout": 0.3,
            "parallel_branch": "none",
        },
        "training": {
            "folds": 1,
            "epochs": EPOCHS,
            "patience": EPOCHS,
            "batch_size": 16,
            "checkpoint_every": "0s",
        },
    }
    (folder / "paths.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")


def start_training(folder: Path) -> "subprocess.Popen[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "PREFECT"))}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, "paths.yaml"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_training(folder: Path) -> list[int]:
    """Run to the end and return the epochs that this process finished."""
    process = start_training(folder)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "trained" in out
    return [int(line.split()[1]) for line in out.splitlines() if line.startswith("epoch")]


def kill_after_checkpoints(folder: Path, count: int) -> None:
    """Kill the training (SIGKILL) once `count` different checkpoints were written."""
    process = start_training(folder)
    checkpoints: set[tuple[int, int]] = set()
    while len(checkpoints) < count:
        assert process.poll() is None, process.communicate()
        for path in folder.glob(".ostinato/store/checkpoints/*/state.pt"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            checkpoints.add((status.st_ino, status.st_mtime_ns))
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def compute_model_hashes(folder: Path) -> dict[str, str]:
    [bundle] = folder.glob(".ostinato/store/train/*/*/bundle")
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(bundle.iterdir())
    }


@pytest.fixture
def uninterrupted(tmp_path: Path) -> Path:
    folder = tmp_path / "uninterrupted"
    folder.mkdir()
    write_job(folder)
    finish_training(folder)
    return folder


def test_a_model_trained_through_two_kills_is_byte_for_byte_that_of_an_uninterrupted_run(
    uninterrupted: Path, tmp_path: Path
) -> None:
    interrupted = tmp_path / "interrupted"
    interrupted.mkdir()
    write_job(interrupted)

    kill_after_checkpoints(interrupted, 40)
    assert not list(interrupted.glob(".ostinato/store/train/*/manifest.json"))
    kill_after_checkpoints(interrupted, 60)
    finish_training(interrupted)

    assert compute_model_hashes(interrupted) == compute_model_hashes(uninterrupted)
    assert not list(interrupted.glob(".ostinato/store/checkpoints/*"))


def test_a_resumed_run_trains_only_the_remaining_epochs(tmp_path: Path) -> None:
    write_job(tmp_path)
    kill_after_checkpoints(tmp_path, 120)
    [state] = tmp_path.glob(".ostinato/store/checkpoints/*/state.pt")
    saved_epoch = torch.load(io.BytesIO(state.read_bytes()), weights_only=True)["epoch"]

    finished_epochs = finish_training(tmp_path)

    assert saved_epoch >= 2
    assert finished_epochs == list(range(saved_epoch, EPOCHS))
