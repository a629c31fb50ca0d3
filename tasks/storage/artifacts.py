"""Artifacts by content address: found by their key, or built and published by one atomic step.

An artifact lies at `<stage>/<key>/`: the files of one attempt in a folder of its own, and
`manifest.json`, which names that attempt. The manifest is written last, by one exclusive create,
so a reader sees a whole artifact or none, and of two publishers of one key one wins and both
get the winner's. Folders without a manifest are left by killed runs; `prune` deletes them.
"""

import errno
import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.errors import StoreError
from tasks.facts import FileEntry
from tasks.records import Artifact
from tasks.storage.store import (
    Store,
    create_exclusively,
    read_bytes,
    staging_dir,
    translate_os_errors,
)

MANIFEST = "manifest.json"

Facts = TypeVar("Facts")
"""The record in which a stage tells of its output: a frozen dataclass, see `tasks/facts.py`."""

Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What an artifact is made from; its hash is the artifact's key."""

    stage: str
    """The stage that makes it."""
    version: int
    """Raised when the stage's code changes what it writes."""
    config: Any
    """The stage's section of the job: a frozen dataclass, or plain JSON."""
    inputs: Mapping[str, str]
    """Name of each input and its key."""

    @property
    def key(self) -> str:
        """32 hexadecimal digits."""
        return hashlib.sha256(format_canonical_json(to_plain(self)).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The content of an artifact's `manifest.json`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    stage: str
    """The stage that made it."""
    key: str
    """The recipe's."""
    attempt: str
    """Name of the folder with its files."""
    created_at: str
    """In UTC, ISO 8601, to the second."""
    content_hash: str
    """Hash of the files."""
    recipe: Recipe
    """What it is made from."""
    files: Mapping[str, FileEntry]
    """Its files, by their path in the folder."""
    facts: Any
    """The stage's facts as JSON; `find_key` reads them into their own record."""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(entry.bytes for entry in self.files.values())


def produce(
    store: Store, recipe: Recipe, build: Callable[[Path], Facts], facts_type: type[Facts]
) -> Artifact[Facts]:
    """Return the recipe's artifact, and let `build` make it first where it is missing.

    Args:
        store: where it is looked up, and published.
        recipe: what it is made from.
        build: fills the empty folder that it is given, and returns facts. What it leaves when it
            raises is deleted.
        facts_type: class of the facts.

    Raises:
        StoreError: the store cannot be written, or the artifact in it cannot be read.
    """
    if found := find(store, recipe, facts_type):
        return found
    with staging_dir(store) as folder, translate_os_errors(store):
        facts = build(folder)
        _publish(store, recipe, folder, facts)
    published = find(store, recipe, facts_type)
    if published is None:
        raise StoreError.of(
            f"{recipe.stage}/{recipe.key} vanished from {store.root} right after its publication",
            hint="keep other programs from deleting inside the store, then run again",
        )
    return replace(published, recomputed=True)


def find(store: Store, recipe: Recipe, facts_type: type[Facts]) -> Artifact[Facts] | None:
    """Return the artifact of this recipe; None where it is not published."""
    return find_key(store, recipe.stage, recipe.key, facts_type)


def find_key(store: Store, stage: str, key: str, facts_type: type[Facts]) -> Artifact[Facts] | None:
    """Return the artifact of this key; None where it is not published.

    Raises:
        StoreError: its manifest is damaged, or its facts are not of this class.
    """
    manifest = read_manifest(store, stage, key)
    if manifest is None:
        return None
    return Artifact(
        stage=stage,
        key=key,
        content_hash=manifest.content_hash,
        facts=parse_record(facts_type, manifest.facts, _locate_manifest(store, stage, key)),
        recomputed=False,
    )


def read_manifest(store: Store, stage: str, key: str) -> Manifest | None:
    """Read an artifact's manifest; None where the artifact is not published.

    Raises:
        StoreError: it is damaged.
    """
    data = read_bytes(store, f"{stage}/{key}/{MANIFEST}")
    return None if data is None else parse_manifest(data, _locate_manifest(store, stage, key))


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse the content of a manifest.

    Raises:
        StoreError: it is damaged; names `where` it is from.
    """
    try:
        content = json.loads(data)
    except ValueError as error:
        raise _damaged(where, str(error)) from error
    return parse_record(Manifest, content, where)


def parse_record(kind: type[Record], content: object, where: str) -> Record:
    """Read a dataclass from what JSON holds; no field may be unknown or missing.

    Raises:
        StoreError: it does not fit; names `where` it is from, and the field.
    """
    hashable: Any = kind  # mypy takes a type variable's class for one that may not be hashable
    try:
        record: Record = _adapt(hashable).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(name) for name in first["loc"])
        raise _damaged(where, f"{field}: {first['msg']}") from error
    return record


@cache
def _adapt(kind: type[Any]) -> TypeAdapter[Any]:
    """Build the reader of a class once."""
    return TypeAdapter(kind)


def _damaged(where: str, what: str) -> StoreError:
    return StoreError.of(
        f"{where} is damaged, or was written by another version of ostinato: {what}",
        hint="delete the folder that it is in and run the job again, which makes what is missing",
    )


def _locate_manifest(store: Store, stage: str, key: str) -> str:
    return f"{store.root}/{stage}/{key}/{MANIFEST}"


def local_dir(store: Store, artifact: Artifact[object]) -> Path:
    """Return a local folder with the artifact's files, fetched once from a remote store.

    Raises:
        StoreError: the artifact is missing, or its files are not those of its manifest.
    """
    folder = find_dir(store, artifact.stage, artifact.key)
    if folder is None:
        raise StoreError.of(
            f"{artifact.stage}/{artifact.key} is not in the store {store.root}",
            hint="run the job again, which makes what is missing",
        )
    return folder


def find_dir(store: Store, stage: str, key: str) -> Path | None:
    """Return a local folder with an artifact's files; None where it is not published.

    Raises:
        StoreError: its files are not those of its manifest.
    """
    manifest = read_manifest(store, stage, key)
    if manifest is None:
        return None
    home = f"{store.root}/{stage}/{key}"
    where = f"{home}/{manifest.attempt}"
    folder = Path(where) if store.is_local else _fetch(store, where, manifest.attempt)
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry.bytes:
            raise StoreError.of(
                f"{path} is damaged: it should hold {entry.bytes} bytes",
                hint=f"delete {home} and run the job again",
            )
    return folder


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any record becomes the same JSON
    """Turn a dataclass and those in it into dictionaries; leave anything else as it is."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def format_canonical_json(value: object) -> str:
    """Write JSON in one way only: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=to_plain)


def hash_file(path: Path) -> str:
    """Hash a file's content with SHA-256, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> dict[str, FileEntry]:
    """List every file under `folder` by its relative path, with its size and its hash."""
    return {
        path.relative_to(folder).as_posix(): FileEntry(
            bytes=path.stat().st_size, sha256=hash_file(path)
        )
        for path in sorted(path for path in folder.rglob("*") if path.is_file())
    }


def hash_files(table: Mapping[str, FileEntry]) -> str:
    """Hash the names and the contents of files."""
    hashes = {name: entry.sha256 for name, entry in table.items()}
    return hashlib.sha256(format_canonical_json(hashes).encode()).hexdigest()


def _publish(store: Store, recipe: Recipe, folder: Path, facts: object) -> None:
    """Move `folder` into the store and claim the key for it, unless another was first."""
    attempt = secrets.token_hex(8)
    home = f"{store.root}/{recipe.stage}/{recipe.key}"
    files = list_files(folder)
    manifest = Manifest(
        stage=recipe.stage,
        key=recipe.key,
        attempt=attempt,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        content_hash=hash_files(files),
        recipe=recipe,
        files=files,
        facts=facts,
    )
    store.fs.makedirs(home, exist_ok=True)
    if store.is_local:
        folder.rename(f"{home}/{attempt}")
    else:
        store.fs.put(f"{folder}/", f"{home}/{attempt}/", recursive=True)
    text = json.dumps(to_plain(manifest), indent=2, default=to_plain)
    if not create_exclusively(store, f"{recipe.stage}/{recipe.key}/{MANIFEST}", text.encode()):
        store.fs.rm(f"{home}/{attempt}", recursive=True)


def _fetch(store: Store, where: str, attempt: str) -> Path:
    """Copy a remote folder into the cache, whole or not at all."""
    target = store.cache_dir / attempt
    if target.is_dir():
        return target
    store.cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.cache_dir) as folder, translate_os_errors(store):
        partial = Path(folder) / attempt
        store.fs.get(f"{where}/", f"{partial}/", recursive=True)
        try:
            partial.rename(target)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
    return target
