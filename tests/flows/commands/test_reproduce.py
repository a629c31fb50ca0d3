"""A version is reproduced from its own tags, or the reason why not is reported."""

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
from tasks.storage.store import Store, StoreConfig, open_store
from tests.support.pipeline import run_pipeline
from tests.support.registry import find_version_files, seal_version
from tests.support.sample_jobs import WAVES, make_waves, write_job


@pytest.fixture
def store(home: Path) -> Store:
    """A store, and a registry with one version."""
    make_waves(120).write_parquet("waves.parquet")
    run_pipeline(load_job(write_job(home, WAVES), {"training.epochs": 2, "training.folds": 1}))
    # Today's content of the source does not matter.
    pl.DataFrame({"wave": [[1.0]], "label": ["other"]}).write_parquet("waves.parquet")
    return open_store(StoreConfig())


def list_files(store: Store) -> set[Path]:
    return set(Path(store.root).rglob("*"))


def test_a_version_is_reproduced_bit_for_bit_or_its_differences_are_reported(store: Store) -> None:
    before = list_files(store)

    again = reproduce(store, "waves", "1")

    assert again.identical, format_reproduction(again)
    assert (again.differing_tensors, again.differing_files, again.environment_changes) == (
        [],
        [],
        {},
    )
    assert again.tensors > 3
    assert set(again.stages.values()) == {"same"}
    assert list_files(store) == before

    # Other weights of a branch count as well.
    folder = find_version_files("1") / "artifacts" / "bundle"
    branch = folder / "branch_1.safetensors"
    content, weights = branch.read_bytes(), load_file(branch)
    save_file(weights | {"bias_O": weights["bias_O"] + 1}, branch)
    seal_version("1")
    [difference] = reproduce(store, "waves", "1").differing_tensors
    assert difference.name == "branch_1.bias_O"
    branch.write_bytes(content)

    # Other weights, made by another torch.
    tensors = load_file(folder / "network.safetensors")
    name = min(tensors)
    changed = tensors[name].copy()
    changed.flat[0] += 0.5
    save_file(tensors | {name: changed}, folder / "network.safetensors")
    seal_version("1")
    tags = MlflowClient().get_model_version("waves", "1").tags
    changed_environment = tags["ostinato.environment"].replace('"torch": "', '"torch": "1.')
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.environment", changed_environment)

    other = reproduce(store, "waves", "1")

    assert not other.identical
    assert [tensor.name for tensor in other.differing_tensors] == [f"network.{name}"]
    assert other.differing_tensors[0].max_difference == pytest.approx(0.5)
    assert other.differing_files == ["network.safetensors"]
    assert list(other.environment_changes) == ["torch"]
    assert f"network.{name}" in format_reproduction(other)


@pytest.mark.parametrize(
    ("training", "networks"),
    [
        ({"budget": 1.0, "batch_size": "fastest", "learning_rate": "auto", "epochs": 400}, 1),
        ({"ensemble": 3, "batch_size": "fastest"}, 3),
        ({"folds": 3, "batch_size": "fastest"}, 3),
        ({"ensemble": 3, "distill": True, "learning_rate": "auto"}, 4),
        ({"ensemble": 2, "pretrain": "next_step", "batch_size": "fastest"}, 2),
    ],
    ids=["measured", "ensemble", "folds", "distilled", "pretrained"],
)
def test_reproduction_uses_the_recorded_measurements(
    home: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, Any], networks: int
) -> None:
    make_waves(120).write_parquet("waves.parquet")
    overrides = {
        f"training.{name}": value for name, value in ({"epochs": 3, "folds": 1} | training).items()
    }
    run_pipeline(load_job(write_job(home, WAVES), overrides))
    plans = json.loads(MlflowClient().get_model_version("waves", "1").tags["ostinato.plans"])

    def measured_again(*_: object) -> TrainingPlan:
        pytest.fail("a network's training was planned anew")

    monkeypatch.setattr("models.learning.plan.make_plan", measured_again)
    again = reproduce(open_store(StoreConfig()), "waves", "1")

    assert len(plans) == networks
    assert again.identical, format_reproduction(again)
    assert (again.differing_tensors, again.differing_files, again.environment_changes) == (
        [],
        [],
        {},
    )


def test_a_version_that_cannot_be_reproduced_is_rejected_with_the_reason(store: Store) -> None:
    root = Path(store.root)
    [part] = root.glob("part/*/*/rows.parquet")
    content = part.read_bytes()
    part.write_bytes(content[:-1] + b"?")
    with pytest.raises(StoreError, match=r"cannot be reproduced: .*rows\.parquet is damaged"):
        reproduce(store, "waves", "1")
    part.write_bytes(content)

    for stage, what in {
        "part": "1 of 1 parts",
        "validate": "the contract",
        "ingest": "the snapshot",
    }.items():
        (root / stage).rename(root / f"{stage}.away")
        with pytest.raises(StoreError, match=what):
            reproduce(store, "waves", "1")
        (root / f"{stage}.away").rename(root / stage)

    with pytest.raises(RegistryError, match="has no version 2"):
        reproduce(store, "waves", "2")
    with pytest.raises(RegistryError, match="no model 'wave'"):
        reproduce(store, "wave", "1")
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.job", '{"name": "waves"}')
    with pytest.raises(RegistryError, match="has a job that"):
        reproduce(store, "waves", "1")
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.plans", '[{"epoch": 3}]')
    with pytest.raises(RegistryError, match="has training plans that"):
        reproduce(store, "waves", "1")
    MlflowClient().delete_model_version_tag("waves", "1", "ostinato.snapshot_key")
    with pytest.raises(RegistryError, match=r"ostinato\.snapshot_key missing"):
        reproduce(store, "waves", "1")


def test_a_version_that_cannot_be_loaded_is_told_before_it_is_trained_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_again(*_: object, **__: object) -> None:
        pytest.fail("the version was trained again")

    monkeypatch.setattr("flows.commands.reproduce.make_features", train_again)
    weights = find_version_files("1") / "artifacts" / "bundle" / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    with pytest.raises(RegistryError, match=r"network\.safetensors is damaged"):
        reproduce(store, "waves", "1")

    find_version_files("1").rename(store.root + ".away")
    with pytest.raises(RegistryError):
        reproduce(store, "waves", "1")


def test_a_version_is_reproduced_after_its_folder_was_moved(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = home.rename(home.with_name(f"{home.name}-moved"))
    monkeypatch.chdir(moved)
    database = moved / ".ostinato" / "mlflow" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")

    again = reproduce(open_store(StoreConfig()), "waves", "1")

    assert again.identical, format_reproduction(again)
    assert not Path(store.root).exists()
