"""Artifacts by content address: found by their key, or built and published by one atomic step.

An artifact lies at `<stage>/<key>/`: the files of one attempt in a folder of its own, and
`manifest.json`, which names that attempt. The manifest is written last, by one exclusive create,
so a reader sees a whole artifact or none, and of two publishers of one key one wins and both
get the winner's. Folders without a manifest are leftovers of a kill; `prune` takes them away.
"""

import errno
import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import StoreError
from tasks.records import Artifact, Facts
from tasks.storage.store import (
    Store,
    create_exclusively,
    read_bytes,
    refusals_named,
    staging_dir,
)

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What an artifact is made from; its hash is the artifact's key."""

    stage: str
    version: int
    """Raised when the stage's code changes what it writes."""
    config: Any
    """The stage's section of the job: a frozen dataclass, or plain JSON."""
    inputs: Mapping[str, str]
    """Name of each input and its key."""

    @property
    def key(self) -> str:
        """32 hexadecimal digits."""
        return hashlib.sha256(canonical(plain(self)).encode()).hexdigest()[:32]


def plain(value: Any) -> Any:  # noqa: ANN401 - any record becomes the same JSON
    """Turn a record of records into dictionaries and lists."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def canonical(value: object) -> str:
    """Write JSON in one way only: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=plain)


def find(store: Store, recipe: Recipe) -> Artifact | None:
    """Return the artifact of this recipe if it is published."""
    return find_key(store, recipe.stage, recipe.key)


def find_key(store: Store, stage: str, key: str) -> Artifact | None:
    """Return the artifact of this key if it is published, and say that it was not recomputed."""
    manifest = read_manifest(store, stage, key)
    if manifest is None:
        return None
    return Artifact(
        stage=stage,
        key=key,
        content_hash=manifest["content_hash"],
        facts=manifest["facts"],
        recomputed=False,
    )


def read_manifest(store: Store, stage: str, key: str) -> dict[str, Any] | None:
    """Read an artifact's manifest, or None when there is no such artifact."""
    data = read_bytes(store, f"{stage}/{key}/{MANIFEST}")
    if data is None:
        return None
    try:
        return dict(json.loads(data))
    except ValueError as error:
        raise StoreError.of(
            f"{store.root}/{stage}/{key}/{MANIFEST} is damaged: {error}",
            mend="delete that folder and run the job again; what is missing is made anew",
        ) from error


def produce(store: Store, recipe: Recipe, build: Callable[[Path], Facts]) -> Artifact:
    """Return the recipe's artifact, and let `build` make it first where it is missing.

    `build` gets an empty folder, fills it and returns facts. What it leaves when it raises is
    deleted.

    Raises:
        StoreError: the store cannot be written.
    """
    if found := find(store, recipe):
        return found
    with staging_dir(store) as folder, refusals_named(store):
        facts = build(folder)
        publish(store, recipe, folder, facts)
    published = find(store, recipe)
    if published is None:
        raise StoreError.of(
            f"{recipe.stage}/{recipe.key} vanished from {store.root} right after its publication",
            mend="keep other programs from deleting inside the store, then run again",
        )
    return Artifact(
        stage=published.stage,
        key=published.key,
        content_hash=published.content_hash,
        facts=published.facts,
    )


def publish(store: Store, recipe: Recipe, folder: Path, facts: Facts) -> None:
    """Move `folder` into the store and claim the key for it, unless another was first."""
    attempt = secrets.token_hex(8)
    home = f"{store.root}/{recipe.stage}/{recipe.key}"
    files = file_table(folder)
    manifest = {
        "stage": recipe.stage,
        "key": recipe.key,
        "attempt": attempt,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "content_hash": hash_files(files),
        "recipe": plain(recipe),
        "files": files,
        "facts": facts,
    }
    store.fs.makedirs(home, exist_ok=True)
    if store.is_local:
        folder.rename(f"{home}/{attempt}")
    else:
        store.fs.put(f"{folder}/", f"{home}/{attempt}/", recursive=True)
    text = json.dumps(manifest, indent=2, default=plain)
    if not create_exclusively(store, f"{recipe.stage}/{recipe.key}/{MANIFEST}", text.encode()):
        store.fs.rm(f"{home}/{attempt}", recursive=True)


def digest_of(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_table(folder: Path) -> dict[str, dict[str, Any]]:
    """Name every file under `folder`, with its bytes and its hash."""
    table = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        table[path.relative_to(folder).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": digest_of(path),
        }
    return table


def hash_files(table: Mapping[str, Mapping[str, Any]]) -> str:
    """Hash what a table of files names."""
    hashes = {name: entry["sha256"] for name, entry in table.items()}
    return hashlib.sha256(canonical(hashes).encode()).hexdigest()


def local_dir(store: Store, artifact: Artifact) -> Path:
    """Return a local folder with the artifact's files, fetched once from a remote store.

    Raises:
        StoreError: the artifact is missing, or its files are not those of its manifest.
    """
    manifest = read_manifest(store, artifact.stage, artifact.key)
    if manifest is None:
        raise StoreError.of(
            f"{artifact.stage}/{artifact.key} is not in the store {store.root}",
            mend="run the job again; what is missing is made anew",
        )
    where = f"{store.root}/{artifact.stage}/{artifact.key}/{manifest['attempt']}"
    folder = Path(where) if store.is_local else fetch(store, where, manifest["attempt"])
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            raise StoreError.of(
                f"{path} is damaged: it should hold {entry['bytes']} bytes",
                mend=f"delete {store.root}/{artifact.stage}/{artifact.key} and run the job again",
            )
    return folder


def fetch(store: Store, where: str, attempt: str) -> Path:
    """Copy a remote folder into the cache, whole or not at all."""
    target = store.cache_dir / attempt
    if target.is_dir():
        return target
    store.cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.cache_dir) as folder, refusals_named(store):
        partial = Path(folder) / attempt
        store.fs.get(f"{where}/", f"{partial}/", recursive=True)
        try:
            partial.rename(target)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
    return target
