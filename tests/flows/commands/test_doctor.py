"""`ostinato doctor` reads everything that was written, and names what is damaged."""

from pathlib import Path

import pytest

from flows.commands.doctor import end_crashed_runs, examine, format_examination
from tasks.errors import PrefectDownError
from tasks.facts import ProfileFacts
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.serving.package_files import seal_package
from tasks.storage.artifacts import Recipe, produce
from tasks.storage.store import Store, StoreConfig, open_store, write_bytes
from tasks.training.checkpoints import hold_checkpoints
from tests.support.registry import find_version_files, register_versions


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    seal_package(folder)
    return folder


def interrupt_training(store: Store) -> None:
    """Leave a checkpoint, as a training that is stopped does."""
    with hold_checkpoints(store, "key") as checkpoints:
        checkpoints.save(b"weights")
        raise KeyboardInterrupt


@pytest.fixture
def store(home: Path, package: Path) -> Store:
    """A store with an artifact, a checkpoint and an alias log, and a registry with a version."""
    store = open_store(StoreConfig(uri=str(home / "store")))

    def build(folder: Path) -> ProfileFacts:
        (folder / "file.bin").write_bytes(bytes(5000))
        return ProfileFacts(columns=[])

    produce(store, Recipe(stage="train", version=1, config={}, inputs={}), build, ProfileFacts)
    with pytest.raises(KeyboardInterrupt):
        interrupt_training(store)
    register_versions(package, model_key="key")
    move_aliases(store, AliasMove("waves", "1", "promote", "a test"))
    write_bytes(store, "source_states/state.json", b'{"files": {}}')
    return store


def test_a_whole_store_has_no_damage(store: Store) -> None:
    found = examine(store)

    assert found.damaged == []
    assert found.checked >= 5
    assert found.bytes > 5000
    assert "nothing is damaged" in format_examination(found)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("store/train/*/*/file.bin", "train/"),
        ("store/train/*/manifest.json", "train/"),
        ("store/checkpoints/key/state.pt", "checkpoints/key/state.pt"),
        ("store/source_states/*.json", "source_states/state.json"),
        ("store/**/*.outcome.json", ".outcome.json"),
        (".ostinato/mlflow/artifacts/**/MLmodel", "waves/1"),
    ],
)
def test_a_damaged_file_is_named_with_what_mends_it(
    store: Store, home: Path, pattern: str, what: str
) -> None:
    [path] = home.glob(pattern)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 128]) + content[1:])

    [damaged] = examine(store).damaged

    assert what in damaged.what
    assert path.name in damaged.damage
    text = format_examination(examine(store))
    assert damaged.damage in text
    assert damaged.remedy in text
    assert "1 damaged" in text
    path.write_bytes(content)
    assert examine(store).damaged == []


def test_a_file_beside_a_version_is_damage(store: Store) -> None:
    (find_version_files("1") / "more.py").write_text("", encoding="utf-8")

    [damaged] = examine(store).damaged

    assert (damaged.what, "more.py was added" in damaged.damage) == ("waves/1", True)


def test_a_server_that_does_not_answer_hides_no_damage(store: Store) -> None:
    def fail() -> None:
        raise PrefectDownError("no server")

    found = end_crashed_runs(examine(store), fail)

    assert found.crashed_runs is None
    assert "Prefect does not answer" in format_examination(found)
    assert found.checked >= 5
