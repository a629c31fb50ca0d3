"""Hashes of files outside the store: of their content, and read once for each write."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from tasks.storage import file_hashes, integrity
from tasks.storage.file_hashes import hash_changed_files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Remember nothing from other tests, and take files as stable without waiting."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(integrity, "STABLE_NANOSECONDS", -(10**9))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the files that are read."""
    names: list[str] = []

    def read(path: Path) -> str:
        names.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(file_hashes, "hash_file", read)
    return names


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_a_file_is_read_once_until_it_is_written(tmp_path: Path, reads: list[str]) -> None:
    paths = [write(tmp_path / name, name) for name in ("a", "b")]

    first, again = (hash_changed_files(paths, group="g") for _ in range(2))
    write(paths[1], "c")
    changed = hash_changed_files(paths, group="g")

    assert reads == ["a", "b", "b"]
    assert first == again
    assert changed[paths[0]] == first[paths[0]]
    assert changed[paths[1]] == hashlib.sha256(b"c").hexdigest()


def test_a_write_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "one")
    status = path.stat()
    hash_changed_files([path], group="g")

    write(path, "two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert hash_changed_files([path], group="g") == {path: hashlib.sha256(b"two").hexdigest()}


def test_a_file_that_was_written_a_moment_ago_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "STABLE_NANOSECONDS", 3600 * 10**9)
    path = write(tmp_path / "a", "one")

    for _ in range(2):
        hash_changed_files([path], group="g")
    later = time.time_ns() + 7200 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    for _ in range(2):
        hash_changed_files([path], group="g")

    assert reads == ["a", "a", "a"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"x": 1}', b"\xff\xfe"])
def test_a_damaged_memory_is_made_anew(tmp_path: Path, cache: Path, damage: bytes) -> None:
    path = write(tmp_path / "a", "one")
    expected = hash_changed_files([path], group="g")
    (memory,) = (cache / "ostinato" / "file_hashes").iterdir()
    whole = memory.read_bytes()

    memory.write_bytes(damage.replace(b"x", str(path).encode()))

    assert hash_changed_files([path], group="g") == expected
    assert memory.read_bytes() == whole


def test_files_are_hashed_where_nothing_can_be_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a", "one")
    shared = tmp_path / "shared"
    (shared / "ostinato").mkdir(parents=True)
    (shared / "ostinato").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))

    assert hash_changed_files([path], group="g") == {path: hashlib.sha256(b"one").hexdigest()}
    assert list((shared / "ostinato").iterdir()) == []
