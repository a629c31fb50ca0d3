"""Unused versions are deleted from MLflow, and nothing else."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.errors import RegistryDownError
from tasks.registry.alias_log import list_serving_periods, read_log
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.registry.promotion import promote, roll_back
from tasks.retention.versions import delete_versions, find_unused_versions
from tasks.storage.store import Store, StoreConfig, open_store
from tests.support.registry import (
    find_version_files,
    read_aliases,
    register_versions,
    train_model_package,
)

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_model_package(tmp_path_factory.mktemp("package"))


@pytest.fixture
def six_versions(local_store: Store, package: Path) -> Store:
    """Register six versions: 2 is the champion, 1 the previous, 3 the challenger."""
    register_versions(package, 6, model_key="of a network")
    promote(local_store, "waves", "1", "")
    promote(local_store, "waves", "2", "")
    move_aliases(local_store, AliasMove("waves", "3", "register", "", make_challenger=True))
    return local_store


def list_version_numbers() -> set[str]:
    versions = MlflowClient().search_model_versions("name = 'waves'")
    return {str(version.version) for version in versions}


def find_unused_keys(store: Store, keep: int) -> list[str]:
    return [version.key for version in find_unused_versions(store, keep=keep)]


def test_versions_without_an_alias_are_deleted_with_their_files_but_the_newest(
    six_versions: Store,
) -> None:
    MlflowClient().set_registered_model_alias("waves", "shadow", "5")
    files, run = find_version_files("4"), MlflowClient().get_model_version("waves", "4").run_id
    unused = find_unused_versions(six_versions, keep=1)
    assert [version.key for version in unused] == ["waves/4"]
    assert unused[0].bytes == sum(p.stat().st_size for p in files.rglob("*") if p.is_file())
    assert list_version_numbers() == set("123456")

    delete_versions(six_versions, unused)

    assert list_version_numbers() == set("12356")
    assert not [path for path in files.rglob("*") if path.is_file()]
    assert MlflowClient().get_run(run).info.lifecycle_stage == "active"
    assert find_unused_keys(six_versions, 1) == []
    assert read_aliases() == {"champion": "2", "previous": "1", "challenger": "3", "shadow": "5"}
    assert [span.version for span in list_serving_periods(read_log(six_versions, "waves"))] == [
        "1",
        "2",
    ]
    assert roll_back(six_versions, "waves", None, "").change.version == "1"


def test_the_newest_versions_stay(six_versions: Store) -> None:
    assert find_unused_keys(six_versions, 0) == ["waves/4", "waves/5", "waves/6"]
    assert find_unused_keys(six_versions, 2) == ["waves/4"]
    assert find_unused_keys(six_versions, 3) == []
    assert find_unused_keys(six_versions, 100) == []


def test_a_version_promoted_after_it_was_listed_stays(six_versions: Store) -> None:
    unused = find_unused_versions(six_versions, keep=0)
    promote(six_versions, "waves", "5", "")

    delete_versions(six_versions, unused)

    assert list_version_numbers() == {"1", "2", "3", "5"}
    assert read_aliases()["champion"] == "5"


def test_models_of_other_stores_and_programs_stay(
    six_versions: Store, package: Path, tmp_path: Path
) -> None:
    register_versions(package, 3, name="foreign")
    other = open_store(StoreConfig(uri=str(tmp_path / "other")))

    assert find_unused_keys(six_versions, 0) == ["waves/4", "waves/5", "waves/6"]
    assert find_unused_keys(other, 0) == []


def test_no_version_is_unused_while_the_registry_is_down(
    six_versions: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    with pytest.raises(RegistryDownError):
        find_unused_versions(six_versions, keep=0)
