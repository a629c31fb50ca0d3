"""Versions that nobody needs go from MLflow, and nothing else does."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.errors import RegistryDownError
from tasks.registry.alias_log import list_serving_periods, read_log
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.registry.promotion import promote, roll_back
from tasks.retention.versions import delete_versions, find_unused_versions
from tasks.storage.store import Store, StoreConfig, open_store
from tests.support.registry import files_of, now, register, served_model

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_model(tmp_path_factory.mktemp("served"))


@pytest.fixture
def six(local_store: Store, served: Path) -> Store:
    """Six versions: the second is the champion, the first the one before, the third challenges."""
    register(served, 6, model_key="of a network")
    promote(local_store, "waves", "1", "")
    promote(local_store, "waves", "2", "")
    move_aliases(local_store, AliasMove("waves", "3", "register", "", make_challenger=True))
    return local_store


def numbers() -> set[str]:
    found = MlflowClient().search_model_versions("name = 'waves'")
    return {str(version.version) for version in found}


def keys(store: Store, keep: int) -> list[str]:
    return [row["key"] for row in find_unused_versions(store, keep=keep)]


def test_aliases_and_the_newest_stay_and_the_rest_goes_with_its_files(six: Store) -> None:
    MlflowClient().set_registered_model_alias("waves", "shadow", "5")
    files, run = files_of("4"), MlflowClient().get_model_version("waves", "4").run_id
    dead = find_unused_versions(six, keep=1)
    assert [row["key"] for row in dead] == ["waves/4"]
    assert dead[0]["bytes"] == sum(p.stat().st_size for p in files.rglob("*") if p.is_file())
    assert numbers() == set("123456")

    delete_versions(six, dead)

    assert numbers() == set("12356")
    assert not [path for path in files.rglob("*") if path.is_file()]
    assert MlflowClient().get_run(run).info.lifecycle_stage == "active"
    assert keys(six, 1) == []
    assert now() == {"champion": "2", "previous": "1", "challenger": "3", "shadow": "5"}
    assert [span.version for span in list_serving_periods(read_log(six, "waves"))] == ["1", "2"]
    assert roll_back(six, "waves", None, "").change.version == "1"


def test_as_many_of_the_newest_stay_as_are_asked_for(six: Store) -> None:
    assert keys(six, 0) == ["waves/4", "waves/5", "waves/6"]
    assert keys(six, 2) == ["waves/4"]
    assert keys(six, 3) == []
    assert keys(six, 100) == []


def test_a_version_that_was_promoted_after_it_was_shown_stays(six: Store) -> None:
    dead = find_unused_versions(six, keep=0)
    promote(six, "waves", "5", "")

    delete_versions(six, dead)

    assert numbers() == {"1", "2", "3", "5"}
    assert now()["champion"] == "5"


def test_models_of_another_store_and_of_other_programs_are_left_alone(
    six: Store, served: Path, tmp_path: Path
) -> None:
    register(served, 3, name="foreign")
    other = open_store(StoreConfig(uri=str(tmp_path / "other")))

    assert keys(six, 0) == ["waves/4", "waves/5", "waves/6"]
    assert keys(other, 0) == []


def test_no_version_is_dead_while_nobody_can_be_asked(
    six: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    with pytest.raises(RegistryDownError):
        find_unused_versions(six, keep=0)
