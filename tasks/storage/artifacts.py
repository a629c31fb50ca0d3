"""Content-addressed artifacts: found by their key, or built and published in one atomic step.

An artifact is at `<stage>/<key>/`: a folder with the files of one attempt, and `manifest.json`,
which names that attempt. The manifest is written last, by one exclusive create, so a reader finds
a whole artifact or none, and of two publishers of one key both get the first one's. Folders without
a manifest are left by killed runs; `prune` deletes them.
"""

import errno
import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
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
    open_staging_dir,
    read_bytes,
    translate_os_errors,
)

MANIFEST = "manifest.json"

Facts = TypeVar("Facts")
"""A stage's record of its output: a frozen dataclass, see `tasks/facts.py`."""

Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that determines an artifact; its hash is the artifact's key."""

    stage: str
    """The stage that makes it."""
    version: int
    """Raised when the stage's code changes what it writes."""
    config: Any
    """The stage's section of the job: a frozen dataclass, or plain JSON."""
    inputs: Mapping[str, str]
    """Key of each input, by its name."""

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
    """The stage's facts as JSON; `find_by_key` reads them into their own record."""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(entry.bytes for entry in self.files.values())


def produce(
    store: Store, recipe: Recipe, build: Callable[[Path], Facts], facts_type: type[Facts]
) -> Artifact[Facts]:
    """Return the recipe's artifact, built and published unless the store has it.

    Args:
        store: where it is looked up, and published.
        recipe: what it is made from.
        build: writes the files into an empty folder, and returns the facts. If it raises an error,
            the folder is deleted.
        facts_type: class of the facts.

    Raises:
        StoreError: the store cannot be written, or the artifact in it cannot be read.
    """
    if found := find_artifact(store, recipe, facts_type):
        return found
    with open_staging_dir(store) as folder, translate_os_errors(store):
        facts = build(folder)
        _publish(store, recipe, folder, facts)
    published = find_artifact(store, recipe, facts_type)
    if published is None:
        raise StoreError.of(
            f"{recipe.stage}/{recipe.key} vanished from {store.root} right after its publication",
            hint="let no other program delete files of the store, then run again",
        )
    return replace(published, recomputed=True)


def find_artifact(store: Store, recipe: Recipe, facts_type: type[Facts]) -> Artifact[Facts] | None:
    """Return the artifact of this recipe; None where it is not published."""
    return find_by_key(store, recipe.stage, recipe.key, facts_type)


def find_by_key(
    store: Store, stage: str, key: str, facts_type: type[Facts]
) -> Artifact[Facts] | None:
    """Return the artifact of this key; None where it is not published.

    Raises:
        StoreError: its manifest is damaged, or its facts are not of that class.
    """
    manifest = read_manifest(store, stage, key)
    if manifest is None:
        return None
    return Artifact(
        stage=stage,
        key=key,
        content_hash=manifest.content_hash,
        facts=parse_record(facts_type, manifest.facts, _format_manifest_path(store, stage, key)),
        recomputed=False,
    )


def read_manifest(store: Store, stage: str, key: str) -> Manifest | None:
    """Read an artifact's manifest; None where the artifact is not published.

    Raises:
        StoreError: it is damaged.
    """
    data = read_bytes(store, f"{stage}/{key}/{MANIFEST}")
    return None if data is None else _parse_manifest(data, _format_manifest_path(store, stage, key))


def load_manifest(store: Store, artifact: Artifact[object]) -> Manifest:
    """Return an artifact's manifest.

    Raises:
        StoreError: the artifact is missing, or its manifest is damaged.
    """
    manifest = read_manifest(store, artifact.stage, artifact.key)
    if manifest is None:
        raise _build_missing_error(store, artifact)
    return manifest


def parse_record(record_type: type[Record], content: object, path: str) -> Record:
    """Build a record from parsed JSON; no field may be unknown or missing.

    Raises:
        StoreError: it does not fit; names the path and the field.
    """
    # mypy does not know that a type variable's class is hashable.
    hashable: Any = record_type
    try:
        record: Record = _adapt(hashable).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(name) for name in first["loc"])
        raise _build_damage_error(path, f"{field}: {first['msg']}") from error
    return record


def local_dir(store: Store, artifact: Artifact[object]) -> Path:
    """Return a local folder with the artifact's files, fetched once from a remote store.

    Raises:
        StoreError: the artifact is missing, or its files are not those of its manifest.
    """
    folder = find_artifact_dir(store, artifact.stage, artifact.key)
    if folder is None:
        raise _build_missing_error(store, artifact)
    return folder


def find_artifact_dir(store: Store, stage: str, key: str) -> Path | None:
    """Return a local folder with an artifact's files; None where it is not published.

    Raises:
        StoreError: its files are not those of its manifest.
    """
    manifest = read_manifest(store, stage, key)
    if manifest is None:
        return None
    root = f"{store.root}/{stage}/{key}"
    uri = f"{root}/{manifest.attempt}"
    folder = Path(uri) if store.is_local else _fetch(store, uri, manifest.attempt)
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry.bytes:
            raise StoreError.of(
                f"{path} is damaged: it should hold {entry.bytes} bytes",
                hint=f"delete {root} and run the job again",
            )
    return folder


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any record becomes the same JSON
    """Convert a dataclass and those in it to dictionaries; return anything else as it is."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def format_canonical_json(value: object) -> str:
    """Format JSON in a unique way: sorted keys, no whitespace."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=to_plain)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Return size and hash of every file under `folder`, by its relative path."""
    return list_entries(sorted(path for path in folder.rglob("*") if path.is_file()), folder)


def list_entries(paths: Iterable[Path], folder: Path) -> dict[str, FileEntry]:
    """Return size and hash of some files under `folder`, by their relative paths."""
    return {
        path.relative_to(folder).as_posix(): FileEntry(
            bytes=path.stat().st_size, sha256=hash_file(path)
        )
        for path in paths
    }


def hash_files(files: Mapping[str, FileEntry]) -> str:
    """Return one SHA-256 of the names and contents of files."""
    hashes = {name: entry.sha256 for name, entry in files.items()}
    return hashlib.sha256(format_canonical_json(hashes).encode()).hexdigest()


def _publish(store: Store, recipe: Recipe, folder: Path, facts: object) -> None:
    """Move `folder` into the store and claim the key; delete it where the key is taken."""
    attempt = secrets.token_hex(8)
    root = f"{store.root}/{recipe.stage}/{recipe.key}"
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
    store.fs.makedirs(root, exist_ok=True)
    if store.is_local:
        folder.rename(f"{root}/{attempt}")
    else:
        store.fs.put(f"{folder}/", f"{root}/{attempt}/", recursive=True)
    text = json.dumps(to_plain(manifest), indent=2, default=to_plain)
    if not create_exclusively(store, f"{recipe.stage}/{recipe.key}/{MANIFEST}", text.encode()):
        store.fs.rm(f"{root}/{attempt}", recursive=True)


def _parse_manifest(data: bytes, path: str) -> Manifest:
    """Parse the content of a manifest.

    Raises:
        StoreError: it is damaged; names the path.
    """
    try:
        content = json.loads(data)
    except ValueError as error:
        raise _build_damage_error(path, str(error)) from error
    return parse_record(Manifest, content, path)


@cache
def _adapt(record_type: type[Any]) -> TypeAdapter[Any]:
    """Build the parser of a class once."""
    return TypeAdapter(record_type)


def _build_damage_error(path: str, reason: str) -> StoreError:
    """Build the error for a file that is not what this program writes."""
    return StoreError.of(
        f"{path} is damaged, or was written by another version of ostinato: {reason}",
        hint="delete the folder that it is in and run the job again, which makes what is missing",
    )


def _build_missing_error(store: Store, artifact: Artifact[object]) -> StoreError:
    """Build the error for an artifact that is not published."""
    return StoreError.of(
        f"{artifact.stage}/{artifact.key} is not in the store {store.root}",
        hint="run the job again, which makes what is missing",
    )


def _format_manifest_path(store: Store, stage: str, key: str) -> str:
    """Format the path of a manifest."""
    return f"{store.root}/{stage}/{key}/{MANIFEST}"


def _fetch(store: Store, uri: str, attempt: str) -> Path:
    """Copy a remote folder into the cache, whole or not at all."""
    target = store.cache_dir / attempt
    if target.is_dir():
        return target
    store.cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.cache_dir) as folder, translate_os_errors(store):
        partial = Path(folder) / attempt
        store.fs.get(f"{uri}/", f"{partial}/", recursive=True)
        try:
            partial.rename(target)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
    return target
