"""What the store holds, what of it is still needed, and the deletion of the rest.

Live is what an alias, one of the newest versions of a registered model, or the newest artifact of
a stage refers to, what a run may be working on, and all that these were made from. Nothing goes by
age alone, and nothing at all goes while the registry cannot be asked.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.registry import versions
from tasks.storage.artifacts import MANIFEST, Manifest, read_manifest
from tasks.storage.store import Store, translate_os_errors
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


def read_manifests(store: Store) -> Iterator[Manifest]:
    """Read every manifest, stage by stage."""
    store.fs.invalidate_cache()
    for stage in STAGES:
        for path in sorted(store.fs.glob(f"{store.root}/{stage}/*/{MANIFEST}")):
            manifest = read_manifest(store, stage, path.rsplit("/", 2)[-2])
            if manifest is not None:
                yield manifest


def list_artifacts(store: Store) -> list[dict[str, Any]]:
    """Return each artifact's stage, key, time, size and inputs, oldest first."""
    rows = [
        {
            "stage": manifest.stage,
            "key": manifest.key,
            "created_at": manifest.created_at,
            "bytes": manifest.bytes,
            "made_from": _describe_inputs(manifest.stage, manifest.recipe.inputs),
        }
        for manifest in read_manifests(store)
    ]
    return sorted(rows, key=lambda row: (row["created_at"], STAGES.index(row["stage"])))


def _describe_inputs(stage: str, inputs: Mapping[str, str]) -> str:
    """Return what an artifact is made from: other artifacts' keys, or how many files or parts."""
    many = {"ingest": "part(s)", "part": "file(s)"}
    return f"{len(inputs)} {many[stage]}" if stage in many else " ".join(inputs.values())


def find_unused_artifacts(store: Store, *, keep: int) -> list[dict[str, Any]]:
    """List the artifacts and leftovers that nothing live refers to.

    Args:
        store: to look through.
        keep: newest versions of each registered model that count as live beside its aliases.

    Raises:
        RegistryError: the registry cannot be asked, so nothing is known to be dead.
    """
    listed = {manifest.key: manifest for manifest in read_manifests(store)}
    live = set(_list_registered_keys(keep)) | _list_newest_keys(listed.values())
    queue = list(live)
    while queue:
        manifest = listed.get(queue.pop())
        inputs = set(manifest.recipe.inputs.values()) - live if manifest else set()
        live |= inputs
        queue += inputs
    dead = [
        {
            "stage": manifest.stage,
            "key": manifest.key,
            "bytes": manifest.bytes,
        }
        for manifest in listed.values()
        if manifest.key not in live
    ]
    return dead + _list_leftovers(store, set(listed))


def _list_registered_keys(keep: int) -> Iterator[str]:
    """Return the keys of every version that has an alias or is among the newest."""
    for name in versions.list_models():
        newest = sorted(versions.list_versions(name), key=lambda version: -int(version.version))
        aliased = set(versions.get_aliases(name).values())
        aliases = [version for version in newest[keep:] if str(version.version) in aliased]
        for version in newest[:keep] + aliases:
            tags = (version.tags.get(f"{mlflow_client.TAG}{tag}") for tag in KEY_TAGS.values())
            yield from (key for key in tags if key)


def _list_newest_keys(listed: Iterable[Manifest]) -> set[str]:
    """Return the keys of each stage's newest artifact, and of all that a run may be working on."""
    fresh = datetime.now(UTC) - timedelta(seconds=WORK_SECONDS)
    newest: dict[str, Manifest] = {}
    keys = set()
    for manifest in listed:
        known = newest.get(manifest.stage)
        if known is None or manifest.created_at > known.created_at:
            newest[manifest.stage] = manifest
        if datetime.fromisoformat(manifest.created_at) > fresh:
            keys.add(manifest.key)
    return keys | {manifest.key for manifest in newest.values()}


def _list_leftovers(store: Store, published: set[str]) -> list[dict[str, Any]]:
    """List folders that were never published and are old, and checkpoints of finished models."""
    found = []
    for stage in (*STAGES, "checkpoints", ".staging"):
        for path in store.fs.glob(f"{store.root}/{stage}/*"):
            key = path.rpartition("/")[2]
            sizes = store.fs.find(path, detail=True)
            finished = stage == "checkpoints" and key in published
            unpublished = key not in published and _compute_age(sizes) > WORK_SECONDS
            if finished or unpublished:
                size = sum(entry["size"] for entry in sizes.values())
                found.append({"stage": stage, "key": key, "bytes": size})
    return found


def _compute_age(entries: dict[str, dict[str, Any]]) -> float:
    """Seconds since the newest of these files was written; none counts as just now."""
    times = [
        entry.get("mtime") or entry.get("LastModified") or entry.get("created")
        for entry in entries.values()
    ]
    stamps = [t.timestamp() if isinstance(t, datetime) else t for t in times if t is not None]
    return time.time() - max(stamps, default=datetime.now(UTC).timestamp())


def delete_artifacts(store: Store, unused: list[dict[str, Any]]) -> None:
    """Delete what was found dead: the manifest first, so that no reader sees half of one."""
    with translate_os_errors(store):
        for row in unused:
            home = f"{store.root}/{row['stage']}/{row['key']}"
            if store.fs.exists(f"{home}/{MANIFEST}"):
                store.fs.rm_file(f"{home}/{MANIFEST}")
            store.fs.rm(home, recursive=True)
