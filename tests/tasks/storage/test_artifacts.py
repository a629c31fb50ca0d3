"""Artifacts: made once, found by what they are made of, whole or not there."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.errors import StoreError
from tasks.facts import ProfileFacts, RefusedFacts
from tasks.storage.artifacts import MANIFEST, Recipe, find, local_dir, produce, read_manifest
from tasks.storage.store import Store, create_exclusively, read_bytes, write_bytes

pytestmark = [
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


FACTS = ProfileFacts(columns=["x"])


def recipe(**changes: object) -> Recipe:
    parts = {"stage": "train", "version": 1, "config": {"a": 1, "b": 2}, "inputs": {"x": "k1"}}
    return Recipe(**(parts | changes))


def write_two_files(folder: Path) -> ProfileFacts:
    (folder / "deep").mkdir()
    (folder / "one.txt").write_text("one", encoding="utf-8")
    (folder / "deep" / "two.bin").write_bytes(bytes(range(256)))
    return FACTS


def never(_: Path) -> ProfileFacts:
    pytest.fail("it was built twice")


def names(store: Store) -> list[str]:
    store.fs.invalidate_cache()
    found = store.fs.find(f"{store.root}/train")
    return sorted(path.rpartition("/")[2] for path in found)


def test_an_artifact_is_built_once_and_read_back_whole(store: Store) -> None:
    first = produce(store, recipe(), write_two_files, ProfileFacts)
    second = produce(store, recipe(), never, ProfileFacts)

    folder = local_dir(store, second)
    assert (first.recomputed, second.recomputed) == (True, False)
    assert (second.key, second.content_hash, second.facts) == (
        first.key, first.content_hash, FACTS,
    )  # fmt: skip
    assert (folder / "one.txt").read_text(encoding="utf-8") == "one"
    assert (folder / "deep" / "two.bin").read_bytes() == bytes(range(256))


def test_a_manifest_tells_where_an_artifact_comes_from(store: Store) -> None:
    artifact = produce(store, recipe(), write_two_files, ProfileFacts)

    manifest = read_manifest(store, "train", artifact.key)

    assert manifest.recipe == recipe()
    assert manifest.files["deep/two.bin"].bytes == 256
    assert set(manifest.files) == {"one.txt", "deep/two.bin"}
    assert manifest.bytes == 259


@pytest.mark.parametrize(
    "change",
    [{"stage": "test"}, {"version": 2}, {"config": {"a": 1, "b": 3}}, {"inputs": {"x": "k2"}}],
)
def test_a_key_changes_with_everything_that_goes_into_it(change: dict) -> None:
    assert recipe(**change).key != recipe().key


def test_a_key_is_the_same_in_every_order_and_process() -> None:
    code = (
        "from tasks.storage.artifacts import Recipe;"
        "print(Recipe(inputs={'x': 'k1'}, config={'b': 2, 'a': 1}, version=1, stage='train').key)"
    )

    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert other.stdout.strip() == recipe().key


def test_equal_files_have_one_content_hash_whatever_they_were_made_from(store: Store) -> None:
    one = produce(store, recipe(), write_two_files, ProfileFacts)
    other = produce(store, recipe(version=2), write_two_files, ProfileFacts)

    assert one.key != other.key
    assert one.content_hash == other.content_hash


def test_a_build_that_fails_leaves_nothing(local_store: Store) -> None:
    def half(folder: Path) -> ProfileFacts:
        write_two_files(folder)
        raise ValueError("bad data")

    with pytest.raises(ValueError, match="bad data"):
        produce(local_store, recipe(), half, ProfileFacts)

    left = [path for path in Path(local_store.root).rglob("*") if path.is_file()]
    assert left == []
    assert find(local_store, recipe(), ProfileFacts) is None


def test_of_many_publishers_of_one_key_one_wins_and_all_get_the_same(store: Store) -> None:
    together, results = threading.Barrier(4), []

    def build(folder: Path) -> ProfileFacts:
        together.wait()
        (folder / "who.txt").write_text(str(threading.get_ident()), encoding="utf-8")
        return FACTS

    threads = [
        threading.Thread(
            target=lambda: results.append(produce(store, recipe(), build, ProfileFacts))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({result.content_hash for result in results}) == 1
    assert len(results) == 4
    assert names(store) == [MANIFEST, "who.txt"]


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


def test_a_kill_in_the_middle_publishes_nothing_and_the_next_run_goes_on(
    local_store: Store,
) -> None:
    command = [sys.executable, "-c", KILLED, local_store.root]

    killed = subprocess.run(command, check=False)
    after = find(local_store, recipe(config={}, inputs={}), ProfileFacts)
    made = produce(local_store, recipe(config={}, inputs={}), write_two_files, ProfileFacts)

    assert killed.returncode == -signal.SIGKILL
    assert after is None
    assert made.recomputed


def test_a_damaged_artifact_is_named_with_the_fix(local_store: Store) -> None:
    artifact = produce(local_store, recipe(), write_two_files, ProfileFacts)
    path = local_dir(local_store, artifact) / "one.txt"
    path.write_text("o", encoding="utf-8")

    with pytest.raises(StoreError, match=r"one\.txt is damaged: it should hold 3 bytes\n.*delete"):
        local_dir(local_store, artifact)


def test_facts_of_another_version_of_the_program_are_refused(local_store: Store) -> None:
    produce(local_store, recipe(), write_two_files, ProfileFacts)

    with pytest.raises(StoreError, match=r"another version of ostinato: contract: .*\n.*delete"):
        find(local_store, recipe(), RefusedFacts)


def test_a_manifest_that_is_no_json_is_refused(local_store: Store) -> None:
    artifact = produce(local_store, recipe(), write_two_files, ProfileFacts)
    write_bytes(local_store, f"train/{artifact.key}/{MANIFEST}", b"{")

    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        find(local_store, recipe(), ProfileFacts)


def test_a_missing_artifact_is_named(local_store: Store) -> None:
    artifact = produce(local_store, recipe(), write_two_files, ProfileFacts)
    local_store.fs.rm(f"{local_store.root}/train", recursive=True)

    with pytest.raises(StoreError, match="is not in the store"):
        local_dir(local_store, artifact)


def test_small_files_are_replaced_whole_and_created_once(store: Store) -> None:
    write_bytes(store, "a/b.json", b"one")
    write_bytes(store, "a/b.json", b"two")

    assert read_bytes(store, "a/b.json") == b"two"
    assert read_bytes(store, "a/none.json") is None
    assert create_exclusively(store, "a/c.json", b"first")
    assert not create_exclusively(store, "a/c.json", b"second")
    assert read_bytes(store, "a/c.json") == b"first"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(local_store: Store) -> None:
    Path(local_store.root).mkdir()
    Path(local_store.root).chmod(0o500)

    with pytest.raises(StoreError, match="give this user the right"):
        produce(local_store, recipe(), write_two_files, ProfileFacts)
