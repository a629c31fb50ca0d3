"""Artifacts: built once, found by the hash of their recipe, and published whole or not at all."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.errors import StoreError
from tasks.facts import ProfileFacts, RefusedFacts
from tasks.storage.artifacts import (
    MANIFEST,
    Recipe,
    find_artifact,
    local_dir,
    produce,
    read_manifest,
)
from tasks.storage.store import Store, create_exclusively, read_bytes, write_bytes

pytestmark = [
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


FACTS = ProfileFacts(columns=["x"])


def build_recipe(**changes: object) -> Recipe:
    fields = {"stage": "train", "version": 1, "config": {"a": 1, "b": 2}, "inputs": {"x": "k1"}}
    return Recipe(**(fields | changes))


def write_two_files(folder: Path) -> ProfileFacts:
    (folder / "deep").mkdir()
    (folder / "one.txt").write_text("one", encoding="utf-8")
    (folder / "deep" / "two.bin").write_bytes(bytes(range(256)))
    return FACTS


def refuse_build(_: Path) -> ProfileFacts:
    pytest.fail("the artifact was built twice")


def list_file_names(store: Store) -> list[str]:
    store.fs.invalidate_cache()
    paths = store.fs.find(f"{store.root}/train")
    return sorted(path.rpartition("/")[2] for path in paths)


def test_an_artifact_is_built_once_and_read_back_whole(store: Store) -> None:
    first = produce(store, build_recipe(), write_two_files, ProfileFacts)
    second = produce(store, build_recipe(), refuse_build, ProfileFacts)

    folder = local_dir(store, second)
    assert (first.recomputed, second.recomputed) == (True, False)
    assert (second.key, second.content_hash, second.facts) == (
        first.key, first.content_hash, FACTS,
    )  # fmt: skip
    assert (folder / "one.txt").read_text(encoding="utf-8") == "one"
    assert (folder / "deep" / "two.bin").read_bytes() == bytes(range(256))


def test_a_manifest_records_the_recipe_and_the_files(store: Store) -> None:
    artifact = produce(store, build_recipe(), write_two_files, ProfileFacts)

    manifest = read_manifest(store, "train", artifact.key)

    assert manifest.recipe == build_recipe()
    assert manifest.files["deep/two.bin"].bytes == 256
    assert set(manifest.files) == {"one.txt", "deep/two.bin"}
    assert manifest.bytes == 259


@pytest.mark.parametrize(
    "change",
    [{"stage": "test"}, {"version": 2}, {"config": {"a": 1, "b": 3}}, {"inputs": {"x": "k2"}}],
)
def test_a_key_changes_with_every_part_of_the_recipe(change: dict) -> None:
    assert build_recipe(**change).key != build_recipe().key


def test_a_key_is_the_same_in_every_order_and_process() -> None:
    code = (
        "from tasks.storage.artifacts import Recipe;"
        "print(Recipe(inputs={'x': 'k1'}, config={'b': 2, 'a': 1}, version=1, stage='train').key)"
    )

    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert other.stdout.strip() == build_recipe().key


def test_equal_files_have_one_content_hash_whatever_their_recipe(store: Store) -> None:
    one = produce(store, build_recipe(), write_two_files, ProfileFacts)
    other = produce(store, build_recipe(version=2), write_two_files, ProfileFacts)

    assert one.key != other.key
    assert one.content_hash == other.content_hash


def test_a_failed_build_leaves_no_file(local_store: Store) -> None:
    def fail(folder: Path) -> ProfileFacts:
        write_two_files(folder)
        raise ValueError("bad data")

    with pytest.raises(ValueError, match="bad data"):
        produce(local_store, build_recipe(), fail, ProfileFacts)

    leftovers = [path for path in Path(local_store.root).rglob("*") if path.is_file()]
    assert leftovers == []
    assert find_artifact(local_store, build_recipe(), ProfileFacts) is None


def test_concurrent_builds_of_one_key_publish_one_artifact(store: Store) -> None:
    barrier, results = threading.Barrier(4), []

    def build(folder: Path) -> ProfileFacts:
        barrier.wait()
        (folder / "thread.txt").write_text(str(threading.get_ident()), encoding="utf-8")
        return FACTS

    threads = [
        threading.Thread(
            target=lambda: results.append(produce(store, build_recipe(), build, ProfileFacts))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({result.content_hash for result in results}) == 1
    assert len(results) == 4
    assert list_file_names(store) == [MANIFEST, "thread.txt"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.facts import ProfileFacts
from tasks.storage.artifacts import Recipe, produce
from tasks.storage.store import StoreConfig, open_store

def build(folder):
    (folder / "one.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

store = open_store(StoreConfig(uri=sys.argv[1]))
produce(store, Recipe(stage="train", version=1, config={}, inputs={}), build, ProfileFacts)
"""


def test_a_killed_build_publishes_nothing_and_the_next_run_builds_it(
    local_store: Store,
) -> None:
    command = [sys.executable, "-c", KILLED, local_store.root]

    killed = subprocess.run(command, check=False)
    artifact_before = find_artifact(local_store, build_recipe(config={}, inputs={}), ProfileFacts)
    artifact = produce(
        local_store, build_recipe(config={}, inputs={}), write_two_files, ProfileFacts
    )

    assert killed.returncode == -signal.SIGKILL
    assert artifact_before is None
    assert artifact.recomputed


def test_a_damaged_artifact_is_refused_with_a_hint(local_store: Store) -> None:
    artifact = produce(local_store, build_recipe(), write_two_files, ProfileFacts)
    path = local_dir(local_store, artifact) / "one.txt"
    path.write_text("o", encoding="utf-8")

    with pytest.raises(StoreError, match=r"one\.txt is damaged: it should hold 3 bytes.*\n.*again"):
        local_dir(local_store, artifact)


def test_facts_of_another_version_of_the_program_are_refused(local_store: Store) -> None:
    produce(local_store, build_recipe(), write_two_files, ProfileFacts)

    with pytest.raises(StoreError, match=r"another version of ostinato: contract: .*\n.*delete"):
        find_artifact(local_store, build_recipe(), RefusedFacts)


def test_a_manifest_that_is_not_json_is_refused(local_store: Store) -> None:
    artifact = produce(local_store, build_recipe(), write_two_files, ProfileFacts)
    write_bytes(local_store, f"train/{artifact.key}/{MANIFEST}", b"{")

    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        find_artifact(local_store, build_recipe(), ProfileFacts)


def test_a_missing_artifact_is_reported(local_store: Store) -> None:
    artifact = produce(local_store, build_recipe(), write_two_files, ProfileFacts)
    local_store.fs.rm(f"{local_store.root}/train", recursive=True)

    with pytest.raises(StoreError, match="is not in the store"):
        local_dir(local_store, artifact)


def test_small_files_are_replaced_atomically_and_created_exclusively(store: Store) -> None:
    write_bytes(store, "a/b.json", b"one")
    write_bytes(store, "a/b.json", b"two")

    assert read_bytes(store, "a/b.json") == b"two"
    assert read_bytes(store, "a/none.json") is None
    assert create_exclusively(store, "a/c.json", b"first")
    assert not create_exclusively(store, "a/c.json", b"second")
    assert read_bytes(store, "a/c.json") == b"first"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_reported(local_store: Store) -> None:
    Path(local_store.root).mkdir()
    Path(local_store.root).chmod(0o500)

    with pytest.raises(StoreError, match="give this user the right"):
        produce(local_store, build_recipe(), write_two_files, ProfileFacts)


def test_a_write_that_fails_half_way_leaves_what_was_there(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes(local_store, "a/b.json", b"one")
    original = Path.write_bytes

    def write_half(path: Path, data: bytes) -> int:
        original(path, data[: len(data) // 2])
        raise OSError("the machine is going down")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(StoreError, match="going down"):
        write_bytes(local_store, "a/b.json", b"other")
    with pytest.raises(StoreError, match="going down"):
        create_exclusively(local_store, "a/new.json", b"other")

    assert read_bytes(local_store, "a/b.json") == b"one"
    assert [path.name for path in Path(local_store.root, "a").iterdir()] == ["b.json"]
