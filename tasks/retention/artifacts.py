"""What the store holds, what of it is still needed, and the deletion of the rest.

Live is what an alias, one of the newest versions of a registered model, or the newest artifact of
a stage refers to, what a run may be working on, and all that these were made from. Nothing goes by
age alone, and nothing at all goes while the registry cannot be asked.
"""

import json
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.registry import versions
from tasks.storage.artifacts import MANIFEST
from tasks.storage.store import Store, read_bytes, refusals_named
from tasks.tracking import mlflow_client

STAGES = (
    "part", "ingest", "refused", "validate", "profile", "featurize", "train", "evaluate", "trial",
    "tune", "choose",
)  # fmt: skip

KEY_TAGS = {
    "ingest": "snapshot_key",
    "validate": "accepted_key",
    "featurize": "features_key",
    "train": "model_key",
    "evaluate": "report_key",
}

WORK_SECONDS = 86_400.0
"""Age up to which an artifact, or a folder without a manifest, may belong to a run at work."""


def manifests(store: Store) -> Iterator[dict[str, Any]]:
    """Read every manifest, stage by stage."""
    store.fs.invalidate_cache()
    for stage in STAGES:
        for path in sorted(store.fs.glob(f"{store.root}/{stage}/*/{MANIFEST}")):
            data = read_bytes(store, f"{stage}/{path.rsplit('/', 2)[-2]}/{MANIFEST}")
            if data is not None:
                yield json.loads(data)


def list_artifacts(store: Store) -> list[dict[str, Any]]:
    """Tell each artifact's stage, key, time, size and inputs, oldest first."""
    rows = [
        {
            "stage": manifest["stage"],
            "key": manifest["key"],
            "created_at": manifest["created_at"],
            "bytes": sum(entry["bytes"] for entry in manifest["files"].values()),
            "made_from": origin_of(manifest["stage"], manifest["recipe"]["inputs"]),
        }
        for manifest in manifests(store)
    ]
    return sorted(rows, key=lambda row: (row["created_at"], STAGES.index(row["stage"])))


def origin_of(stage: str, inputs: dict[str, str]) -> str:
    """Tell what an artifact is made from: other artifacts' keys, or how many files or parts."""
    many = {"ingest": "part(s)", "part": "file(s)"}
    return f"{len(inputs)} {many[stage]}" if stage in many else " ".join(inputs.values())


def find_dead(store: Store, *, keep: int) -> list[dict[str, Any]]:
    """List the artifacts and leftovers that nothing live refers to.

    Args:
        store: to look through.
        keep: newest versions of each registered model that count as live beside its aliases.

    Raises:
        RegistryError: the registry cannot be asked, so nothing is known to be dead.
    """
    listed = {manifest["key"]: manifest for manifest in manifests(store)}
    live = set(registered_keys(keep)) | newest_keys(listed.values())
    queue = list(live)
    while queue:
        manifest = listed.get(queue.pop())
        inputs = set(manifest["recipe"]["inputs"].values()) - live if manifest else set()
        live |= inputs
        queue += inputs
    dead = [
        {
            "stage": manifest["stage"],
            "key": manifest["key"],
            "bytes": sum(entry["bytes"] for entry in manifest["files"].values()),
        }
        for manifest in listed.values()
        if manifest["key"] not in live
    ]
    return dead + leftovers(store, set(listed))


def registered_keys(keep: int) -> Iterator[str]:
    """Give the keys of every version that has an alias or is among the newest."""
    for name in versions.model_names():
        newest = sorted(versions.versions_of(name), key=lambda version: -int(version.version))
        aliased = set(versions.aliases_of(name).values())
        aliases = [version for version in newest[keep:] if str(version.version) in aliased]
        for version in newest[:keep] + aliases:
            tags = (version.tags.get(f"{mlflow_client.TAG}{tag}") for tag in KEY_TAGS.values())
            yield from (key for key in tags if key)


def newest_keys(listed: Iterable[dict[str, Any]]) -> set[str]:
    """Give the keys of each stage's newest artifact, and of all that a run may be working on."""
    fresh = datetime.now(UTC) - timedelta(seconds=WORK_SECONDS)
    newest: dict[str, dict[str, Any]] = {}
    keys = set()
    for manifest in listed:
        known = newest.get(manifest["stage"])
        if known is None or manifest["created_at"] > known["created_at"]:
            newest[manifest["stage"]] = manifest
        if datetime.fromisoformat(manifest["created_at"]) > fresh:
            keys.add(manifest["key"])
    return keys | {manifest["key"] for manifest in newest.values()}


def leftovers(store: Store, published: set[str]) -> list[dict[str, Any]]:
    """List folders that were never published and are old, and checkpoints of finished models."""
    found = []
    for stage in (*STAGES, "checkpoints", ".staging"):
        for path in store.fs.glob(f"{store.root}/{stage}/*"):
            key = path.rpartition("/")[2]
            sizes = store.fs.find(path, detail=True)
            finished = stage == "checkpoints" and key in published
            unpublished = key not in published and age(sizes) > WORK_SECONDS
            if finished or unpublished:
                size = sum(entry["size"] for entry in sizes.values())
                found.append({"stage": stage, "key": key, "bytes": size})
    return found


def age(entries: dict[str, dict[str, Any]]) -> float:
    """Seconds since the newest of these files was written; none counts as just now."""
    times = [
        entry.get("mtime") or entry.get("LastModified") or entry.get("created")
        for entry in entries.values()
    ]
    stamps = [t.timestamp() if isinstance(t, datetime) else t for t in times if t is not None]
    return time.time() - max(stamps, default=datetime.now(UTC).timestamp())


def delete(store: Store, dead: list[dict[str, Any]]) -> None:
    """Delete what was found dead: the manifest first, so that no reader sees half of one."""
    with refusals_named(store):
        for row in dead:
            home = f"{store.root}/{row['stage']}/{row['key']}"
            if store.fs.exists(f"{home}/{MANIFEST}"):
                store.fs.rm_file(f"{home}/{MANIFEST}")
            store.fs.rm(home, recursive=True)
