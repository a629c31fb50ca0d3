"""A version is made again from its own tags, or the reason why not is told."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient
from safetensors.numpy import load_file, save_file

from flows.commands.reproduce import format_reproduction, reproduce
from flows.job.job import load_job
from models.learning.plan import TrainingPlan
from tasks.errors import RegistryError, StoreError
from tasks.registry import versions
from tasks.storage.store import Store, StoreConfig, open_store
from tests.support.pipeline import run
from tests.support.sample_jobs import WAVES, waves, write_job


@pytest.fixture
def made(home: Path) -> Store:
    """A store, and a registry with one version."""
    waves(120).write_parquet("waves.parquet")
    run(load_job(write_job(home, WAVES), {"training.epochs": 2}))
    # What the source holds today does not matter.
    pl.DataFrame({"wave": [[1.0]], "label": ["other"]}).write_parquet("waves.parquet")
    return open_store(StoreConfig())


def held(store: Store) -> set[Path]:
    return set(Path(store.root).rglob("*"))


def test_a_version_is_made_again_to_the_bit_or_what_differs_is_told(made: Store) -> None:
    before = held(made)

    again = reproduce(made, "waves", "1")

    assert again.identical, format_reproduction(again)
    assert (again.differing, again.files, again.made_by) == ([], [], {})
    assert again.tensors > 3
    assert set(again.stages.values()) == {"same"}
    assert held(made) == before

    # Other weights, made by another torch.
    folder = versions.fetch_files("waves", "1") / "artifacts" / "bundle"
    tensors = load_file(folder / "network.safetensors")
    name = min(tensors)
    changed = tensors[name].copy()
    changed.flat[0] += 0.5
    save_file(tensors | {name: changed}, folder / "network.safetensors")
    tags = MlflowClient().get_model_version("waves", "1").tags
    made_by = tags["ostinato.made_by"].replace('"torch": "', '"torch": "1.')
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.made_by", made_by)

    other = reproduce(made, "waves", "1")

    assert not other.identical
    assert [row["name"] for row in other.differing] == [f"network.{name}"]
    assert other.differing[0]["largest"] == pytest.approx(0.5)
    assert other.files == ["network.safetensors"]
    assert list(other.made_by) == ["torch"]
    assert f"network.{name}" in format_reproduction(other)


@pytest.mark.parametrize(
    ("training", "networks"),
    [
        ({"budget": 1.0, "batch_size": "auto", "learning_rate": "auto", "epochs": 400}, 1),
        ({"ensemble": 3, "batch_size": "auto"}, 3),
        ({"ensemble": 3, "distill": True, "learning_rate": "auto"}, 4),
    ],
    ids=["measured", "ensemble", "distilled"],
)
def test_what_was_measured_then_is_not_measured_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, Any], networks: int
) -> None:
    waves(120).write_parquet("waves.parquet")
    given = {f"training.{name}": value for name, value in ({"epochs": 3} | training).items()}
    run(load_job(write_job(home, WAVES), given))
    plans = json.loads(MlflowClient().get_model_version("waves", "1").tags["ostinato.plans"])

    def measured_again(*_: object) -> TrainingPlan:
        pytest.fail("a network's training was planned anew")

    monkeypatch.setattr("models.learning.plan.make_plan", measured_again)
    again = reproduce(open_store(StoreConfig()), "waves", "1")

    assert len(plans) == networks
    assert again.identical, format_reproduction(again)
    assert (again.differing, again.files, again.made_by) == ([], [], {})


def test_what_cannot_be_made_again_is_refused_with_the_reason(made: Store) -> None:
    root = Path(made.root)
    [part] = root.glob("part/*/*/rows.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + b"?")
    with pytest.raises(StoreError, match="is not what was read then"):
        reproduce(made, "waves", "1")
    part.write_bytes(whole)

    for stage, what in {
        "part": "1 of 1 parts",
        "validate": "the contract",
        "ingest": "the data",
    }.items():
        (root / stage).rename(root / f"{stage}.away")
        with pytest.raises(StoreError, match=what):
            reproduce(made, "waves", "1")
        (root / f"{stage}.away").rename(root / stage)

    with pytest.raises(RegistryError, match="has no version 2"):
        reproduce(made, "waves", "2")
    with pytest.raises(RegistryError, match="no model 'wave'"):
        reproduce(made, "wave", "1")
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.job", '{"name": "waves"}')
    with pytest.raises(RegistryError, match="has a job that"):
        reproduce(made, "waves", "1")
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.plans", '[{"epoch": 3}]')
    with pytest.raises(RegistryError, match="has training plans that"):
        reproduce(made, "waves", "1")
    MlflowClient().delete_model_version_tag("waves", "1", "ostinato.snapshot_key")
    with pytest.raises(RegistryError, match=r"ostinato\.snapshot_key missing"):
        reproduce(made, "waves", "1")
