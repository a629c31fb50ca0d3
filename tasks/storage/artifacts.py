"""Content-addressed artifacts: found by their key, or built and published in one atomic step.

An artifact is at `<stage>/<key>/`: a folder with the files of one attempt, and `manifest.json`,
which names that attempt. The manifest is written last, by one exclusive create, so a reader finds
a whole artifact or none, and of two publishers of one key both get the first one's. Folders without
a manifest are left by killed runs; `prune` deletes them.

A manifest holds the SHA-256 of each file and of itself. They are compared when an artifact is
opened; a damaged one can be withdrawn, so that the next `produce` makes it again.
"""

import errno
import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.errors import DamagedArtifactError, MissingArtifactError, StoreError
from tasks.facts import FileEntry
from tasks.records import Artifact
from tasks.storage.integrity import find_damaged_file, list_files
from tasks.storage.store import (
    Store,
    create_exclusively,
    open_staging_dir,
    read_bytes,
    translate_os_errors,
)

MANIFEST = "manifest.json"

WITHDRAWN = "damaged.json"
"""Name of the manifest of an artifact that was withdrawn."""

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
        DamagedArtifactError: it is not what was written.
    """
    data = read_bytes(store, f"{stage}/{key}/{MANIFEST}")
    if data is None:
        return None
    try:
        return _parse_manifest(data, stage, key)
    except ValueError as error:
        reason = f"{_format_manifest_path(store, stage, key)} is damaged: {error}"
        raise _build_damage_error(stage, key, reason) from error


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
        raise StoreError.of(
            f"{path} is damaged, or was written by another version of ostinato: {field}: "
            f"{first['msg']}",
            hint="delete the folder that it is in and run the job again, which makes it anew",
        ) from error
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

    The files are read and compared with their hashes, once in a process (`integrity.py`).

    Raises:
        DamagedArtifactError: a file is not what was written; names it.
    """
    manifest = read_manifest(store, stage, key)
    if manifest is None:
        return None
    uri = f"{store.root}/{stage}/{key}/{manifest.attempt}"
    folder = Path(uri) if store.is_local else _fetch(store, uri, manifest.attempt)
    damage = find_damaged_file(folder, manifest.files)
    if damage and not store.is_local:
        # The copy may be what is damaged.
        shutil.rmtree(folder, ignore_errors=True)
        folder = _fetch(store, uri, manifest.attempt)
        damage = find_damaged_file(folder, manifest.files)
    if damage:
        raise _build_damage_error(stage, key, damage)
    return folder


def withdraw_artifact(store: Store, stage: str, key: str) -> None:
    """Withdraw a damaged artifact, so that it is made again; its files are kept until then.

    Nothing is done where another process has made it again in the meantime.

    Raises:
        StoreError: the store cannot be written.
    """
    try:
        if find_artifact_dir(store, stage, key) is not None:
            return
    except DamagedArtifactError:
        root = f"{store.root}/{stage}/{key}"
        with translate_os_errors(store), suppress(FileNotFoundError):
            store.fs.mv(f"{root}/{MANIFEST}", f"{root}/{WITHDRAWN}")


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any record becomes the same JSON
    """Convert a dataclass and those in it to dictionaries; return anything else as it is."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def format_canonical_json(value: object) -> str:
    """Format JSON in a unique way: sorted keys, no whitespace."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=to_plain)


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
    if create_exclusively(
        store, f"{recipe.stage}/{recipe.key}/{MANIFEST}", format_manifest(manifest)
    ):
        _delete_withdrawn(store, root, attempt)
    else:
        with suppress(FileNotFoundError):
            store.fs.rm(f"{root}/{attempt}", recursive=True)


def format_manifest(manifest: Manifest) -> bytes:
    """Format a manifest as JSON with the SHA-256 of its own content."""
    content = json.loads(format_canonical_json(to_plain(manifest)))
    signed = {"sha256": _hash_content(content), **content}
    return json.dumps(signed, indent=2).encode()


def _parse_manifest(data: bytes, stage: str, key: str) -> Manifest:
    """Parse the content of an artifact's manifest.

    Raises:
        ValueError: it is not what was written, or is of another artifact.
    """
    content = json.loads(data)
    if not isinstance(content, dict) or content.pop("sha256", None) != _hash_content(content):
        raise ValueError("its content is not what was written (SHA-256)")
    try:
        manifest: Manifest = _adapt(Manifest).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(name) for name in first["loc"])
        raise ValueError(
            f"it was written by another version of ostinato: {field}: {first['msg']}"
        ) from error
    if (manifest.stage, manifest.key) != (stage, key):
        raise ValueError(f"it is the manifest of {manifest.stage}/{manifest.key}")
    return manifest


def _hash_content(content: object) -> str:
    """Return the SHA-256 of JSON in its unique form."""
    return hashlib.sha256(format_canonical_json(content).encode()).hexdigest()


def _delete_withdrawn(store: Store, root: str, attempt: str) -> None:
    """Delete what was withdrawn of an artifact that was made again as `attempt`."""
    if not store.fs.exists(f"{root}/{WITHDRAWN}"):
        return
    for path in store.fs.ls(root, detail=False):
        if path.rstrip("/").rpartition("/")[2] not in {MANIFEST, attempt}:
            store.fs.rm(path, recursive=True)


@cache
def _adapt(record_type: type[Any]) -> TypeAdapter[Any]:
    """Build the parser of a class once."""
    return TypeAdapter(record_type)


def _build_damage_error(stage: str, key: str, reason: str) -> DamagedArtifactError:
    """Build the error for an artifact that is not what was written."""
    error = DamagedArtifactError.of(
        reason,
        hint=f"run the job that needs {stage}/{key} again, which makes it anew where its inputs "
        "still exist; or restore that folder of the store, or delete it if no job needs it",
    )
    error.stage, error.key = stage, key
    return error


def _build_missing_error(store: Store, artifact: Artifact[object]) -> MissingArtifactError:
    """Build the error for an artifact that is not published."""
    return MissingArtifactError.of(
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
