"""What a person asks of the aliases is proven, told apart from nonsense, and done once."""

import signal
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.errors import RegistryError
from tasks.registry import versions
from tasks.registry.alias_log import read_log
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.registry.promotion import approve, find_store_config, promote, reject, roll_back
from tasks.storage.store import Store, StoreConfig
from tests.support.registry import files_of, now, register, served_model

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_model(tmp_path_factory.mktemp("served"))


def challenge(store: Store, version: str) -> None:
    """What register does with a version that the gate does not promote."""
    move_aliases(store, AliasMove("waves", version, "register", "a test", make_challenger=True))


def actions(store: Store) -> list[str]:
    return [entry.change.action for entry in read_log(store, "waves") if entry.outcome == "done"]


def test_rolling_back_twice_goes_back_twice_and_never_to_what_was_left(
    local_store: Store, served: Path
) -> None:
    register(served, 3)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")

    first = roll_back(local_store, "waves", None, "3 was worse")

    assert (first.change.version, first.change.reason) == ("2", "3 was worse")
    assert now() == {"champion": "2", "previous": "1"}
    roll_back(local_store, "waves", None, "")
    assert now() == {"champion": "1"}
    with pytest.raises(RegistryError, match="none served before version 1"):
        roll_back(local_store, "waves", None, "")
    promote(local_store, "waves", "3", "mended")
    assert now() == {"champion": "3", "previous": "1"}


def test_a_rollback_may_skip_versions(local_store: Store, served: Path) -> None:
    register(served, 4)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")

    roll_back(local_store, "waves", "1", "")

    assert now() == {"champion": "1"}
    with pytest.raises(RegistryError, match="version 4 has never served"):
        roll_back(local_store, "waves", "4", "")


def test_after_a_rollback_to_it_a_deleted_version_is_nobodys_predecessor(
    local_store: Store, served: Path
) -> None:
    register(served, 3)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")
    MlflowClient().delete_model_version("waves", "1")

    roll_back(local_store, "waves", None, "")

    assert now() == {"champion": "2"}


def test_a_person_decides_where_the_gate_did_not(local_store: Store, served: Path) -> None:
    register(served, 3, decision="needs-approval")
    challenge(local_store, "1")

    approve(local_store, "waves", None, "the window is short this week")

    assert now() == {"challenger": "1", "champion": "1"}
    challenge(local_store, "2")
    reject(local_store, "waves", None, "")
    assert now() == {"champion": "1"}
    reject(local_store, "waves", "3", "")
    assert actions(local_store) == ["register", "approve", "register", "reject", "reject"]
    tags = MlflowClient().get_model_version("waves", "3").tags
    assert "reject" in tags["ostinato.move.000005"]
    with pytest.raises(RegistryError, match="version 3 was rejected before"):
        reject(local_store, "waves", "3", "")


def test_an_approval_holds_only_against_the_champion_that_was_compared(
    local_store: Store, served: Path
) -> None:
    register(served)
    register(served, decision="needs-approval")
    MlflowClient().set_model_version_tag("waves", "1", "ostinato.model_key", "another model")
    promote(local_store, "waves", "1", "")

    with pytest.raises(RegistryError, match="the champion of 'waves' changed"):
        approve(local_store, "waves", "2", "")

    assert now() == {"champion": "1"}


@pytest.mark.parametrize(
    ("ask", "name", "version", "words"),
    [
        (promote, "wave", "1", "there is no model 'wave' in MLflow\nThere is: waves"),
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
def test_what_makes_no_sense_is_refused_in_words_and_moves_nothing(
    local_store: Store, served: Path, ask, name: str, version: str | None, words: str
) -> None:
    register(served, 2, decision="keep")
    promote(local_store, "waves", "1", "")

    with pytest.raises(RegistryError) as refusal:
        ask(local_store, name, version, "")

    assert words in str(refusal.value)
    assert now() == {"champion": "1"}
    assert actions(local_store) == ["promote"]


DAMAGED = (
    "MLmodel",
    "artifacts/bundle/network.safetensors",
    "artifacts/bundle/bundle.json",
    "artifacts/bundle/featurizer.json",
    "golden_inputs.parquet",
    "golden_predictions.parquet",
    "pyfunc_model.py",
)


@pytest.mark.parametrize("known", [True, False], ids=["hash known", "registered by an old version"])
@pytest.mark.parametrize("how", ["gone", "cut", "rubbish"])
def test_a_damaged_version_never_serves_again(
    local_store: Store, served: Path, how: str, *, known: bool
) -> None:
    register(served, 2)
    if not known:
        MlflowClient().delete_model_version_tag("waves", "1", "ostinato.files_hash")
    promote(local_store, "waves", "1", "")
    promote(local_store, "waves", "2", "")
    for name in DAMAGED:
        path = files_of("1") / name
        whole = path.read_bytes()
        path.unlink()
        if how != "gone":
            # An eighth: what is left of MLmodel then never says how to load it.
            path.write_bytes(whole[: len(whole) // 8] if how == "cut" else b"\x00: [" * 40)

        with pytest.raises(RegistryError, match=r"may not serve|refused"):
            roll_back(local_store, "waves", None, "")

        path.write_bytes(whole)
    assert now() == {"champion": "2", "previous": "1"}
    roll_back(local_store, "waves", None, "")
    assert now() == {"champion": "1"}


def test_weights_that_were_exchanged_are_noticed(local_store: Store, served: Path) -> None:
    register(served, 2)
    promote(local_store, "waves", "1", "")
    path = files_of("2") / "artifacts" / "bundle" / "network.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(RegistryError, match="its files are not those that were registered"):
        promote(local_store, "waves", "2", "")


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_a_request_that_was_killed_is_finished_once_when_it_is_asked_again(
    local_store: Store, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(served, 3)
    for version in ("1", "2", "3"):
        promote(local_store, "waves", version, "")
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KilledError

        patch.setattr(versions, "tag_version", killed)
        with pytest.raises(KilledError):
            roll_back(local_store, "waves", None, "")

    again = roll_back(local_store, "waves", None, "")

    assert again.resumed
    assert now() == {"champion": "2", "previous": "1"}
    assert actions(local_store) == ["promote", "promote", "promote", "rollback"]


@pytest.mark.parametrize("alias", ["previous", "champion"])
def test_ctrl_c_leaves_nothing_half_done(
    local_store: Store, served: Path, monkeypatch: pytest.MonkeyPatch, alias: str
) -> None:
    register(served, 2)
    promote(local_store, "waves", "1", "")
    point = versions.point_alias

    def interrupted(name: str, moved: str, version: str | None) -> None:
        point(name, moved, version)
        if moved == alias:
            monkeypatch.setattr(versions, "point_alias", point)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(versions, "point_alias", interrupted)
    with pytest.raises(KeyboardInterrupt):
        promote(local_store, "waves", "2", "")

    last = read_log(local_store, "waves")[-1]
    moved = alias == "champion"
    assert last.outcome == ("done" if moved else "abandoned")
    assert now() == ({"champion": "2", "previous": "1"} if moved else {"champion": "1"})


def test_a_move_asked_for_in_another_situation_is_refused(local_store: Store, served: Path) -> None:
    register(served, 3)
    promote(local_store, "waves", "1", "")
    promote(local_store, "waves", "2", "")

    with pytest.raises(RegistryError, match="were moved while version 3 was examined"):
        move_aliases(
            local_store, AliasMove("waves", "3", "promote", "", expected_aliases={"champion": "1"})
        )


def test_the_store_is_that_of_the_newest_versions_job(served: Path) -> None:
    register(served, 2)
    assert find_store_config("waves") == StoreConfig()
    job = '{"name": "waves", "store": {"uri": "memory://here", "cache": "there"}}'
    MlflowClient().set_model_version_tag("waves", "2", "ostinato.job", job)

    assert find_store_config("waves") == StoreConfig(uri="memory://here", cache="there")
