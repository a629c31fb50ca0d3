"""Promotions, rollbacks, approvals and rejections are verified, validated, and done once."""

import marshal
import signal
import subprocess
import sys
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.errors import RegistryError
from tasks.registry import versions
from tasks.registry.alias_log import read_log
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.registry.promotion import approve, find_store_config, promote, reject, roll_back
from tasks.storage.store import Store, StoreConfig
from tests.support.registry import (
    find_version_files,
    read_aliases,
    register_versions,
    seal_version,
    train_model_package,
)

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_model_package(tmp_path_factory.mktemp("package"))


def make_challenger(store: Store, version: str) -> None:
    """Make a version the challenger, as registration does if the gate does not promote it."""
    move_aliases(store, AliasMove("waves", version, "register", "a test", make_challenger=True))


def list_actions(store: Store) -> list[str]:
    return [entry.change.action for entry in read_log(store, "waves") if entry.outcome == "done"]


def test_a_second_rollback_goes_further_back_and_never_to_a_version_rolled_back(
    local_store: Store, package: Path
) -> None:
    register_versions(package, 3)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")

    first = roll_back(local_store, "waves", None, "3 was worse")

    assert (first.change.version, first.change.reason) == ("2", "3 was worse")
    assert read_aliases() == {"champion": "2", "previous": "1"}
    roll_back(local_store, "waves", None, "")
    assert read_aliases() == {"champion": "1"}
    with pytest.raises(RegistryError, match="none served before version 1"):
        roll_back(local_store, "waves", None, "")
    promote(local_store, "waves", "3", "fixed")
    assert read_aliases() == {"champion": "3", "previous": "1"}


def test_a_rollback_may_skip_versions(local_store: Store, package: Path) -> None:
    register_versions(package, 4)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")

    roll_back(local_store, "waves", "1", "")

    assert read_aliases() == {"champion": "1"}
    with pytest.raises(RegistryError, match="version 4 has never served"):
        roll_back(local_store, "waves", "4", "")


def test_a_deleted_version_is_not_the_previous_one_after_a_rollback(
    local_store: Store, package: Path
) -> None:
    register_versions(package, 3)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")
    MlflowClient().delete_model_version("waves", "1")

    roll_back(local_store, "waves", None, "")

    assert read_aliases() == {"champion": "2"}


def test_a_person_may_approve_or_reject_what_needs_approval(
    local_store: Store, package: Path
) -> None:
    register_versions(package, 3, decision="needs-approval")
    make_challenger(local_store, "1")

    approve(local_store, "waves", None, "few rows this week")

    assert read_aliases() == {"challenger": "1", "champion": "1"}
    make_challenger(local_store, "2")
    reject(local_store, "waves", None, "")
    assert read_aliases() == {"champion": "1"}
    reject(local_store, "waves", "3", "")
    assert list_actions(local_store) == ["register", "approve", "register", "reject", "reject"]
    tags = MlflowClient().get_model_version("waves", "3").tags
    assert "reject" in tags["ostinato.move.000005"]
    with pytest.raises(RegistryError, match="version 3 was rejected before"):
        reject(local_store, "waves", "3", "")


def test_an_approval_is_valid_only_against_the_compared_champion(
    local_store: Store, package: Path
) -> None:
    register_versions(package)
    register_versions(package, decision="needs-approval")
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.model_key", "another model")
    promote(local_store, "waves", "1", "")

    with pytest.raises(RegistryError, match="the champion of 'waves' changed"):
        approve(local_store, "waves", "2", "")

    assert read_aliases() == {"champion": "1"}


@pytest.mark.parametrize(
    ("action", "name", "version", "message"),
    [
        (promote, "wave", "1", "there is no model 'wave' in MLflow\nRegistered models: waves"),
        (promote, "waves", "9", "waves has no version 9\nIt has: 2, 1"),
        (promote, "waves", "1", "version 1 serves already"),
        (promote, "waves", None, "'waves' has no challenger"),
        (approve, "waves", "2", "does not wait for approval: the gate's decision is 'keep'"),
        (reject, "waves", "2", "does not wait for approval"),
        (reject, "waves", "1", "version 1 serves already"),
        (roll_back, "waves", None, "none served before version 1"),
        (roll_back, "waves", "1", "version 1 serves already"),
        (roll_back, "waves", "2", "version 2 has never served"),
        (roll_back, "wa'ves", None, "refused"),
    ],
)
def test_an_invalid_request_is_refused_with_a_reason_and_moves_no_alias(
    local_store: Store, package: Path, action, name: str, version: str | None, message: str
) -> None:
    register_versions(package, 2, decision="keep")
    promote(local_store, "waves", "1", "")

    with pytest.raises(RegistryError) as refusal:
        action(local_store, name, version, "")

    assert message in str(refusal.value)
    assert read_aliases() == {"champion": "1"}
    assert list_actions(local_store) == ["promote"]


DAMAGED = (
    "MLmodel",
    "artifacts/bundle/network.safetensors",
    "artifacts/bundle/bundle.json",
    "artifacts/bundle/featurizer.json",
    "golden_inputs.parquet",
    "golden_predictions.parquet",
    "pyfunc_model.py",
)


@pytest.mark.parametrize("is_sealed", [False, True], ids=["changed", "changed and sealed again"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "overwritten"])
def test_a_damaged_version_is_never_promoted(
    local_store: Store, package: Path, damage: str, *, is_sealed: bool
) -> None:
    register_versions(package, 2)
    promote(local_store, "waves", "1", "")
    promote(local_store, "waves", "2", "")
    for name in DAMAGED:
        if is_sealed and name == "pyfunc_model.py":
            # MLflow alone runs it: the installed code predicts as it did.
            continue
        path = find_version_files("1") / name
        content = path.read_bytes()
        path.unlink()
        if damage != "missing":
            # 20 bytes end inside the first value of MLmodel and the docstring of the code.
            path.write_bytes(content[:20] if damage == "truncated" else b"\x00: [" * 40)
        if is_sealed:
            seal_version("1")

        with pytest.raises(RegistryError, match=r"cannot serve|refused"):
            roll_back(local_store, "waves", None, "")

        path.write_bytes(content)
    seal_version("1")
    assert read_aliases() == {"champion": "2", "previous": "1"}
    roll_back(local_store, "waves", None, "")
    assert read_aliases() == {"champion": "1"}


def test_changed_weights_are_detected(local_store: Store, package: Path) -> None:
    register_versions(package, 2)
    promote(local_store, "waves", "1", "")
    path = find_version_files("2") / "artifacts" / "bundle" / "network.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(RegistryError, match="its files were changed"):
        promote(local_store, "waves", "2", "")


def test_a_version_without_the_tag_of_its_hashes_is_refused(
    local_store: Store, package: Path
) -> None:
    register_versions(package, 1)
    MlflowClient().delete_model_version_tag("waves", "1", "ostinato.files_hash")

    with pytest.raises(RegistryError, match=r"it has no tag ostinato\.files_hash"):
        promote(local_store, "waves", "1", "")

    assert read_aliases() == {}


HOSTILE = "import pathlib; pathlib.Path({proof!r}).write_text('ran')\n"


def compile_hostile(folder: Path, name: str, proof: Path) -> None:
    """Put foreign compiled code beside `name`, which Python runs in place of its source."""
    source = folder / name
    target = Path(cache_from_source(str(source)))
    target.parent.mkdir(parents=True, exist_ok=True)
    code = compile(HOSTILE.format(proof=str(proof)), name, "exec")
    # Unchecked: Python does not compare it with the source.
    header = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    target.write_bytes(header + marshal.dumps(code))


@pytest.mark.parametrize("name", ["pyfunc_model.py", "code/models/bundle.py", "code/pandas.py"])
def test_foreign_compiled_code_beside_a_version_is_refused_and_not_run(
    local_store: Store, package: Path, tmp_path: Path, name: str
) -> None:
    register_versions(package, 1)
    proof = tmp_path / "proof"
    compile_hostile(find_version_files("1"), name, proof)

    with pytest.raises(RegistryError, match=r"changed since it was registered: .*__pycache__"):
        promote(local_store, "waves", "1", "")

    assert not proof.exists()
    assert read_aliases() == {}


@pytest.mark.parametrize("name", ["code/json.py", "more.pkl", "artifacts/bundle/.hidden"])
def test_a_file_that_was_not_registered_is_refused(
    local_store: Store, package: Path, name: str
) -> None:
    register_versions(package, 1)
    (find_version_files("1") / name).write_text("", encoding="utf-8")

    with pytest.raises(RegistryError, match=f"{name} was added to its files"):
        promote(local_store, "waves", "1", "")


def test_the_installed_code_is_run_and_not_that_of_the_registry(
    local_store: Store, package: Path, tmp_path: Path
) -> None:
    register_versions(package, 1)
    proof, files = tmp_path / "proof", find_version_files("1")
    for name in ("pyfunc_model.py", "code/models/__init__.py", "code/models/bundle.py"):
        (files / name).write_text(HOSTILE.format(proof=str(proof)), encoding="utf-8")
    seal_version("1")
    path = list(sys.path)

    promote(local_store, "waves", "1", "")

    assert not proof.exists()
    assert sys.path == path
    assert read_aliases() == {"champion": "1"}


def test_a_version_that_mlflow_has_loaded_in_place_can_still_be_promoted(
    local_store: Store, package: Path
) -> None:
    register_versions(package, 1)
    code = "import mlflow; mlflow.pyfunc.load_model('models:/waves/1')"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd="/")

    promote(local_store, "waves", "1", "")

    assert read_aliases() == {"champion": "1"}


class KilledError(BaseException):
    """Stands for the end of a killed process."""


def test_a_killed_request_is_completed_once_when_it_is_repeated(
    local_store: Store, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_versions(package, 3)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")
    with monkeypatch.context() as patch:

        def kill(*_: object) -> None:
            raise KilledError

        patch.setattr(versions, "tag_version", kill)
        with pytest.raises(KilledError):
            roll_back(local_store, "waves", None, "")

    repeated = roll_back(local_store, "waves", None, "")

    assert repeated.resumed
    assert read_aliases() == {"champion": "2", "previous": "1"}
    assert list_actions(local_store) == ["promote", "promote", "promote", "rollback"]


@pytest.mark.parametrize("alias", ["previous", "champion"])
def test_an_interrupted_move_is_completed_or_abandoned(
    local_store: Store, package: Path, monkeypatch: pytest.MonkeyPatch, alias: str
) -> None:
    register_versions(package, 2)
    promote(local_store, "waves", "1", "")
    point_alias = versions.point_alias

    def point_and_interrupt(name: str, moved: str, version: str | None) -> None:
        point_alias(name, moved, version)
        if moved == alias:
            monkeypatch.setattr(versions, "point_alias", point_alias)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(versions, "point_alias", point_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        promote(local_store, "waves", "2", "")

    last = read_log(local_store, "waves")[-1]
    is_complete = alias == "champion"
    assert last.outcome == ("done" if is_complete else "abandoned")
    assert read_aliases() == (
        {"champion": "2", "previous": "1"} if is_complete else {"champion": "1"}
    )


def test_a_move_that_expects_other_aliases_is_refused(local_store: Store, package: Path) -> None:
    register_versions(package, 3)
    promote(local_store, "waves", "1", "")
    promote(local_store, "waves", "2", "")

    with pytest.raises(RegistryError, match="were moved while version 3 was verified"):
        move_aliases(
            local_store, AliasMove("waves", "3", "promote", "", expected_aliases={"champion": "1"})
        )


def test_the_store_is_the_one_in_the_job_of_the_newest_version(package: Path) -> None:
    register_versions(package, 2)
    assert find_store_config("waves") == StoreConfig()
    job = '{"name": "waves", "store": {"uri": "memory://here", "cache": "there"}}'
    MlflowClient().set_model_version_tag("waves", "2", "ostinato.job", job)

    assert find_store_config("waves") == StoreConfig(uri="memory://here", cache="there")
