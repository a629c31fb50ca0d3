"""What is not what was written is never read: files, manifests and local copies of them."""

import json
import os
import pickle
import time
from pathlib import Path

import pytest

from tasks.errors import DamagedArtifactError, StoreError
from tasks.facts import ProfileFacts
from tasks.records import Artifact
from tasks.storage import integrity
from tasks.storage.artifacts import (
    MANIFEST,
    Recipe,
    find_artifact,
    local_dir,
    produce,
    read_manifest,
    withdraw_artifact,
)
from tasks.storage.store import Store

pytestmark = [
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def build_recipe(number: int = 1) -> Recipe:
    return Recipe(stage="train", version=1, config={"number": number}, inputs={})


def make_artifact(store: Store, number: int = 1) -> Artifact[ProfileFacts]:
    def build(folder: Path) -> ProfileFacts:
        (folder / "deep").mkdir()
        (folder / "one.txt").write_text("one", encoding="utf-8")
        (folder / "deep" / "two.bin").write_bytes(bytes(range(256)) * 50)
        return ProfileFacts(columns=["x"])

    return produce(store, build_recipe(number), build, ProfileFacts)


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def find_manifest(store: Store, artifact: Artifact[ProfileFacts]) -> Path:
    return Path(store.root) / "train" / artifact.key / MANIFEST


DAMAGES = {
    "flipped": flip,
    "cut": lambda content: content[:-1],
    "empty": lambda _: b"",
    "another": lambda _: pickle.dumps(print),
}


@pytest.mark.parametrize("name", ["one.txt", "deep/two.bin", MANIFEST])
@pytest.mark.parametrize("damage", [*DAMAGES, "missing"])
def test_a_changed_file_is_named_and_its_artifact_made_again(
    local_store: Store, damage: str, name: str
) -> None:
    artifact = make_artifact(local_store)
    folder = local_dir(local_store, artifact)
    path = folder / name if name != MANIFEST else find_manifest(local_store, artifact)
    times = path.stat()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    if (damage, name) != ("missing", MANIFEST):
        with pytest.raises(DamagedArtifactError) as refusal:
            local_dir(local_store, artifact)
        assert str(path) in str(refusal.value)
        assert (refusal.value.stage, refusal.value.key) == ("train", artifact.key)
        withdraw_artifact(local_store, "train", artifact.key)

    again = make_artifact(local_store)
    assert again.recomputed
    assert again.content_hash == artifact.content_hash
    assert (local_dir(local_store, again) / "one.txt").read_text(encoding="utf-8") == "one"
    left = [path.name for path in find_manifest(local_store, artifact).parent.iterdir()]
    attempt = read_manifest(local_store, "train", artifact.key).attempt
    if damage != "missing":
        assert sorted(left) == sorted([MANIFEST, attempt])


def test_a_manifest_of_changed_facts_or_of_another_artifact_is_refused(local_store: Store) -> None:
    artifact, other = make_artifact(local_store, 1), make_artifact(local_store, 2)
    path = find_manifest(local_store, artifact)
    content = path.read_text(encoding="utf-8")

    path.write_text(content.replace('"x"', '"y"'), encoding="utf-8")
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        find_artifact(local_store, build_recipe(1), ProfileFacts)

    path.write_bytes(find_manifest(local_store, other).read_bytes())
    with pytest.raises(StoreError, match=f"manifest of train/{other.key}"):
        find_artifact(local_store, build_recipe(1), ProfileFacts)

    path.write_text(json.dumps(json.loads(content)), encoding="utf-8")
    assert find_artifact(local_store, build_recipe(1), ProfileFacts) is not None


def test_a_file_is_read_once_in_a_process_unless_it_changes(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, read = make_artifact(local_store), []

    def hash_file(path: Path) -> str:
        read.append(path.name)
        return original(path)

    original = integrity.hash_file
    monkeypatch.setattr(integrity, "hash_file", hash_file)
    # Files that were written just now could be written again without another time.
    local_dir(local_store, artifact)
    local_dir(local_store, artifact)
    assert sorted(read) == ["one.txt", "one.txt", "two.bin", "two.bin"]
    later = time.time_ns() + 10 * 10**9
    monkeypatch.setattr(integrity.time, "time_ns", lambda: later)
    read.clear()

    folder = local_dir(local_store, artifact)
    local_dir(local_store, artifact)

    assert sorted(read) == ["one.txt", "two.bin"]
    times = (folder / "one.txt").stat()
    (folder / "one.txt").write_text("two", encoding="utf-8")
    os.utime(folder / "one.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DamagedArtifactError, match=r"one\.txt is damaged"):
        local_dir(local_store, artifact)


def test_a_damaged_local_copy_is_fetched_again(store: Store) -> None:
    artifact = make_artifact(store)
    if store.is_local:
        pytest.skip("a folder has no local copies")
    folder = local_dir(store, artifact)
    (folder / "one.txt").write_text("two", encoding="utf-8")
    (folder / "deep" / "two.bin").unlink()

    assert (local_dir(store, artifact) / "one.txt").read_text(encoding="utf-8") == "one"

    attempt = read_manifest(store, "train", artifact.key).attempt
    store.fs.pipe_file(f"{store.root}/train/{artifact.key}/{attempt}/one.txt", b"two")
    (folder / "one.txt").unlink()
    with pytest.raises(DamagedArtifactError, match=r"one\.txt is damaged"):
        local_dir(store, artifact)
    withdraw_artifact(store, "train", artifact.key)
    assert find_artifact(store, build_recipe(), ProfileFacts) is None
    assert (local_dir(store, make_artifact(store)) / "one.txt").read_text("utf-8") == "one"


def test_a_whole_artifact_is_not_withdrawn(local_store: Store) -> None:
    artifact = make_artifact(local_store)

    withdraw_artifact(local_store, "train", artifact.key)

    assert not make_artifact(local_store).recomputed
