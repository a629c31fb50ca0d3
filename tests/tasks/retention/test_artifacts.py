"""Housekeeping: what anything live refers to stays, and nothing goes while nobody can be asked."""

import json
import os
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.errors import RegistryDownError
from tasks.facts import ProfileFacts
from tasks.retention.artifacts import (
    WORK_SECONDS,
    delete_artifacts,
    find_unused_artifacts,
    list_artifacts,
)
from tasks.storage.artifacts import Recipe, find_dir, produce
from tasks.storage.store import Store, write_bytes


def fill(folder: Path) -> ProfileFacts:
    (folder / "file").write_bytes(b"12345")
    return ProfileFacts(columns=[])


def make(store: Store, stage: str, number: int, *inputs: str) -> str:
    named = {f"input-{place}": key for place, key in enumerate(inputs)}
    recipe = Recipe(stage=stage, version=1, config={"number": number}, inputs=named)
    return produce(store, recipe, fill, ProfileFacts).key


def make_chain(store: Store, number: int) -> dict[str, str]:
    """One artifact a stage, as a run leaves them."""
    snapshot = make(store, "ingest", number)
    accepted = make(store, "validate", number, snapshot)
    features = make(store, "featurize", number, snapshot, accepted)
    model = make(store, "train", number, features)
    report = make(store, "evaluate", number, model, features, snapshot)
    return {
        "ingest": snapshot,
        "validate": accepted,
        "featurize": features,
        "train": model,
        "evaluate": report,
    }


def age_all(store: Store, seconds: float) -> None:
    """Make the artifacts so far older: the newest of each stage is always live."""
    for path in Path(store.root).glob("*/*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["created_at"] = f"2020-01-01T00:00:{seconds:02.0f}+00:00"
        path.write_text(json.dumps(manifest), encoding="utf-8")


def register(chain: dict[str, str], alias: str | None = None) -> None:
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
    """A champion that is old, a version that nothing names any more, and the newest."""
    chains = []
    for number in range(3):
        age_all(local_store, number)
        chains.append(make_chain(local_store, number))
    return chains


def test_the_champion_keeps_all_that_it_was_made_from(
    three_chains: list[dict[str, str]], local_store: Store
) -> None:
    register(three_chains[0], "champion")
    register(three_chains[1])
    register(three_chains[2])

    dead = find_unused_artifacts(local_store, keep=1)

    assert {row["key"] for row in dead} == set(three_chains[1].values())
    assert {row["bytes"] for row in dead} == {5}


def test_the_newest_versions_stay_without_an_alias(
    three_chains: list[dict[str, str]], local_store: Store
) -> None:
    for chain in three_chains:
        register(chain)

    assert find_unused_artifacts(local_store, keep=3) == []


def test_looking_deletes_nothing_and_deleting_takes_only_what_was_shown(
    three_chains: list[dict[str, str]], local_store: Store
) -> None:
    register(three_chains[0], "champion")
    dead = find_unused_artifacts(local_store, keep=1)
    assert len(list_artifacts(local_store)) == 15

    delete_artifacts(local_store, dead)

    assert len(list_artifacts(local_store)) == 10
    assert find_dir(local_store, "train", three_chains[0]["train"])
    assert find_dir(local_store, "train", three_chains[1]["train"]) is None
    assert find_unused_artifacts(local_store, keep=1) == []


@pytest.mark.usefixtures("three_chains")
def test_nothing_is_dead_while_the_registry_cannot_be_asked(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    with pytest.raises(RegistryDownError, match="cannot be reached"):
        find_unused_artifacts(local_store, keep=1)


def test_leftovers_of_a_kill_go_when_they_are_old_and_never_before(local_store: Store) -> None:
    write_bytes(local_store, "train/fresh/attempt/file", b"1")
    write_bytes(local_store, "train/old/attempt/file", b"123")
    past = time.time() - WORK_SECONDS - 60
    os.utime(Path(local_store.root) / "train" / "old" / "attempt" / "file", (past, past))

    dead = find_unused_artifacts(local_store, keep=1)

    assert dead == [{"stage": "train", "key": "old", "bytes": 3}]


def test_checkpoints_of_a_finished_model_are_leftovers(local_store: Store) -> None:
    chain = make_chain(local_store, 0)
    write_bytes(local_store, f"checkpoints/{chain['train']}/state.pt", b"12")
    write_bytes(local_store, "checkpoints/unfinished/state.pt", b"12")

    dead = find_unused_artifacts(local_store, keep=1)

    assert dead == [{"stage": "checkpoints", "key": chain["train"], "bytes": 2}]
