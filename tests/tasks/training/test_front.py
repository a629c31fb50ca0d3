"""`downsample: auto` follows the lengths of the training rows."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.commands.check import check_job, format_check
from flows.job.job import Job, load_job
from models.bundle import load_bundle
from models.learning.loop import Callbacks
from models.networks.config import ModelConfig
from tasks.storage.artifacts import local_dir
from tasks.training.front import resolve_downsample
from tasks.training.train import make_candidate
from tests.support.pipeline import prepare_features
from tests.support.sample_jobs import write_job


def load_waves_job(folder: Path, steps: int, **model: object) -> Job:
    draw = np.random.default_rng(0)
    waves = [draw.normal(size=steps).tolist() for _ in range(60)]
    pl.DataFrame({"wave": waves, "label": ["a", "b"] * 30}).write_parquet(folder / "w.parquet")
    job = {
        "name": "waves",
        "source": {"uri": str(folder / "w.parquet")},
        "inputs": [{"column": "wave", "kind": "series"}],
        "target": {"column": "label", "kind": "category"},
        "model": {"hidden_size": 8, "parallel_branch": "none"} | model,
        "training": {"epochs": 1, "folds": 1},
        "contract": str(folder / "contract.yaml"),
        "store": {"uri": str(folder / "store")},
    }
    return load_job(write_job(folder, job))


@pytest.mark.parametrize(("steps", "factor"), [(63, 1), (64, 4)])
def test_a_bare_job_shortens_long_series(steps: int, factor: int, tmp_path: Path) -> None:
    job = load_waves_job(tmp_path, steps)
    store, _, _, features = prepare_features(job)

    candidate = make_candidate(
        features, store, **job.settings._asdict(), callbacks=Callbacks(lambda _: None)
    )

    assert load_bundle(local_dir(store, candidate) / "bundle").model.downsample == factor
    assert f"model.downsample: auto is {factor} here" in format_check(check_job(job))


def test_what_the_job_names_stays(tmp_path: Path) -> None:
    job = load_waves_job(tmp_path, 100, downsample=2)

    assert job.model.downsample == 2
    assert "auto is" not in format_check(check_job(job))


@pytest.mark.parametrize(
    ("training", "others", "factor"), [([64, 64, 64], [9], 4), ([9, 9, 9], [500], 1)]
)
def test_only_training_rows_are_measured(training, others, factor: int, tmp_path: Path) -> None:
    lengths = np.array([*training, *others])
    stops = np.cumsum(lengths)
    pl.DataFrame(
        {
            "split": [0] * len(training) + [2] * len(others),
            "start": stops - lengths,
            "stop": stops,
            "known": True,
        }
    ).write_parquet(tmp_path / "sequences.parquet")
    model = ModelConfig(downsample="auto", downsample_by="patch")

    resolved = resolve_downsample(model, tmp_path)

    assert resolved.downsample == factor
    assert resolved.downsample_by == ("patch" if factor > 1 else "conv")
