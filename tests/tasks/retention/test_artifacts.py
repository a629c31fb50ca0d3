"""Retention: artifacts in use stay, and none is deleted while the registry is down."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.errors import RegistryDownError
from tasks.facts import ProfileFacts
from tasks.retention.artifacts import (
    WORK_SECONDS,
    UnusedArtifact,
    delete_artifacts,
    find_unused_artifacts,
    list_artifacts,
)
from tasks.storage.artifacts import (
    Recipe,
    find_artifact_dir,
    format_manifest,
    produce,
    read_manifest,
)
from tasks.storage.store import Store, write_bytes


def write_file(folder: Path) -> ProfileFacts:
    (folder / "file").write_bytes(b"12345")
    return ProfileFacts(columns=[])


def make_artifact(store: Store, stage: str, number: int, *inputs: str) -> str:
    named_inputs = {f"input-{index}": key for index, key in enumerate(inputs)}
    recipe = Recipe(stage=stage, version=1, config={"number": number}, inputs=named_inputs)
    return produce(store, recipe, write_file, ProfileFacts).key


def make_chain(store: Store, number: int) -> dict[str, str]:
    """Make one artifact a stage, as a run does, and return their keys by stage."""
    snapshot = make_artifact(store, "ingest", number)
    accepted = make_artifact(store, "validate", number, snapshot)
    features = make_artifact(store, "featurize", number, snapshot, accepted)
    model = make_artifact(store, "train", number, features)
    report = make_artifact(store, "evaluate", number, model, features, snapshot)
    return {
        "ingest": snapshot,
        "validate": accepted,
        "featurize": features,
        "train": model,
        "evaluate": report,
    }


def age_all(store: Store, seconds: float) -> None:
    """Set the creation time of all artifacts to `seconds` after the start of 2020."""
    time = f"2020-01-01T00:00:{seconds:02.0f}+00:00"
    for path in Path(store.root).glob("*/*/manifest.json"):
        stage, key = path.parts[-3:-1]
        path.write_bytes(
            format_manifest(replace(read_manifest(store, stage, key), created_at=time))
        )


def register_chain(chain: dict[str, str], alias: str | None = None) -> None:
    client = MlflowClient()
    if not client.search_registered_models():
        client.create_registered_model("waves")
    tags = {"ostinato.report_key": chain["evaluate"], "ostinato.model_key": chain["train"]}
    experiment = client.get_experiment_by_name("Default")
    run = client.create_run(experiment.experiment_id)
    version = client.create_model_version(
        "waves", source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id, tags=tags
    )
    if alias:
        client.set_registered_model_alias("waves", alias, version.version)


pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def three_chains(local_store: Store) -> list[dict[str, str]]:
    """Make the artifacts of three runs, oldest first."""
    chains = []
    for number in range(3):
        age_all(local_store, number)
        chains.append(make_chain(local_store, number))
    return chains


def test_all_artifacts_of_the_champion_stay(
    three_chains: list[dict[str, str]], local_store: Store
) -> None:
    register_chain(three_chains[0], "champion")
    register_chain(three_chains[1])
    register_chain(three_chains[2])

    unused = find_unused_artifacts(local_store, keep=1)

    assert {artifact.key for artifact in unused} == set(three_chains[1].values())
    assert {artifact.bytes for artifact in unused} == {5}


def test_artifacts_of_the_newest_versions_stay_without_an_alias(
    three_chains: list[dict[str, str]], local_store: Store
) -> None:
    for chain in three_chains:
        register_chain(chain)

    assert find_unused_artifacts(local_store, keep=3) == []


def test_listing_deletes_nothing_and_deleting_only_what_was_listed(
    three_chains: list[dict[str, str]], local_store: Store
) -> None:
    register_chain(three_chains[0], "champion")
    unused = find_unused_artifacts(local_store, keep=1)
    assert len(list_artifacts(local_store)) == 15

    delete_artifacts(local_store, unused)

    assert len(list_artifacts(local_store)) == 10
    assert find_artifact_dir(local_store, "train", three_chains[0]["train"])
    assert find_artifact_dir(local_store, "train", three_chains[1]["train"]) is None
    assert find_unused_artifacts(local_store, keep=1) == []


@pytest.mark.usefixtures("three_chains")
def test_no_artifact_is_unused_while_the_registry_is_down(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    with pytest.raises(RegistryDownError, match="cannot be reached"):
        find_unused_artifacts(local_store, keep=1)


def test_leftovers_of_a_killed_run_are_unused_once_they_are_old(local_store: Store) -> None:
    write_bytes(local_store, "train/fresh/attempt/file", b"1")
    write_bytes(local_store, "train/old/attempt/file", b"123")
    old_time = time.time() - WORK_SECONDS - 60
    os.utime(Path(local_store.root) / "train" / "old" / "attempt" / "file", (old_time, old_time))

    unused = find_unused_artifacts(local_store, keep=1)

    assert unused == [UnusedArtifact(stage="train", key="old", bytes=3)]


def test_checkpoints_of_a_finished_model_are_unused(local_store: Store) -> None:
    chain = make_chain(local_store, 0)
    write_bytes(local_store, f"checkpoints/{chain['train']}/state.pt", b"12")
    write_bytes(local_store, "checkpoints/unfinished/state.pt", b"12")

    unused = find_unused_artifacts(local_store, keep=1)

    assert unused == [UnusedArtifact(stage="checkpoints", key=chain["train"], bytes=2)]
