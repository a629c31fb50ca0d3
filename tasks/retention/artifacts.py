"""The artifacts of a store: listing them, finding those that are no longer needed, deleting them.

Live is what an alias, one of the newest versions of a registered model, or the newest artifact of
a stage refers to, what a run may be working on, and all that these were made from. Nothing is
deleted for its age alone, and nothing at all while the registry cannot be reached.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.registry import versions
from tasks.storage.artifacts import MANIFEST, Manifest, read_manifest
from tasks.storage.store import Store, translate_os_errors
from tasks.tracking import mlflow_client

WORK_SECONDS = 86_400.0
"""Age up to which an artifact, or a folder without a manifest, may belong to an active run."""

STAGES = (
    "part", "ingest", "refused", "validate", "profile", "featurize", "pretrain", "train",
    "evaluate", "trial", "tune", "choose",
)  # fmt: skip

_KEY_TAGS = {
    "ingest": "snapshot_key",
    "validate": "accepted_key",
    "featurize": "features_key",
    "train": "model_key",
    "evaluate": "report_key",
}
"""The tag of a version that holds the key of each stage's artifact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactSummary:
    """A published artifact, as `ostinato artifacts` lists it."""

    stage: str
    key: str
    created_at: str
    """In UTC, ISO 8601."""
    bytes: int
    """Size of its files."""
    made_from: str
    """Keys of the artifacts that it was made from, or how many files or parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusedArtifact:
    """A folder of the store that nothing live refers to, as `ostinato prune` lists it."""

    stage: str
    key: str
    bytes: int
    """Size of its files."""


def list_artifacts(store: Store) -> list[ArtifactSummary]:
    """List the published artifacts, oldest first."""
    summaries = [
        ArtifactSummary(
            stage=manifest.stage,
            key=manifest.key,
            created_at=manifest.created_at,
            bytes=manifest.bytes,
            made_from=_describe_inputs(manifest.stage, manifest.recipe.inputs),
        )
        for manifest in read_manifests(store)
    ]
    return sorted(summaries, key=lambda each: (each.created_at, STAGES.index(each.stage)))


def read_manifests(store: Store) -> Iterator[Manifest]:
    """Read every manifest, stage by stage."""
    store.fs.invalidate_cache()
    for stage in STAGES:
        for path in sorted(store.fs.glob(f"{store.root}/{stage}/*/{MANIFEST}")):
            manifest = read_manifest(store, stage, path.rsplit("/", 2)[-2])
            if manifest is not None:
                yield manifest


def find_unused_artifacts(store: Store, *, keep: int) -> list[UnusedArtifact]:
    """Find the artifacts that nothing live refers to, and what killed runs have left.

    Args:
        store: to look through.
        keep: number of newest versions of each registered model that are live without an alias.

    Raises:
        RegistryError: the registry cannot be reached, so it is unknown what is live.
    """
    published = {manifest.key: manifest for manifest in read_manifests(store)}
    live = set(_list_registered_keys(keep)) | _list_newest_keys(published.values())
    queue = list(live)
    while queue:
        manifest = published.get(queue.pop())
        inputs = set(manifest.recipe.inputs.values()) - live if manifest else set()
        live |= inputs
        queue += inputs
    unused = [
        UnusedArtifact(stage=manifest.stage, key=manifest.key, bytes=manifest.bytes)
        for manifest in published.values()
        if manifest.key not in live
    ]
    return unused + _list_leftovers(store, set(published))


def delete_artifacts(store: Store, unused: Sequence[UnusedArtifact]) -> None:
    """Delete artifacts, each one's manifest first, so that no reader finds a partial one."""
    with translate_os_errors(store):
        for artifact in unused:
            folder = f"{store.root}/{artifact.stage}/{artifact.key}"
            if store.fs.exists(f"{folder}/{MANIFEST}"):
                store.fs.rm_file(f"{folder}/{MANIFEST}")
            store.fs.rm(folder, recursive=True)


def _describe_inputs(stage: str, inputs: Mapping[str, str]) -> str:
    """Return the keys that an artifact is made from, or the number of files or parts."""
    many = {"ingest": "part(s)", "part": "file(s)"}
    return f"{len(inputs)} {many[stage]}" if stage in many else " ".join(inputs.values())


def _list_registered_keys(keep: int) -> Iterator[str]:
    """Return the keys of all versions that have an alias or are among the `keep` newest."""
    for name in versions.list_models():
        newest = sorted(versions.list_versions(name), key=lambda version: -int(version.version))
        aliased = set(versions.get_aliases(name).values())
        older = [version for version in newest[keep:] if str(version.version) in aliased]
        for version in newest[:keep] + older:
            tags = (version.tags.get(f"{mlflow_client.TAG}{tag}") for tag in _KEY_TAGS.values())
            yield from (key for key in tags if key)


def _list_newest_keys(manifests: Iterable[Manifest]) -> set[str]:
    """Return the keys of each stage's newest artifact, and of those that a run may be using."""
    recent = datetime.now(UTC) - timedelta(seconds=WORK_SECONDS)
    newest: dict[str, Manifest] = {}
    keys = set()
    for manifest in manifests:
        known = newest.get(manifest.stage)
        if known is None or manifest.created_at > known.created_at:
            newest[manifest.stage] = manifest
        if datetime.fromisoformat(manifest.created_at) > recent:
            keys.add(manifest.key)
    return keys | {manifest.key for manifest in newest.values()}


def _list_leftovers(store: Store, published: set[str]) -> list[UnusedArtifact]:
    """List old folders that were never published, and checkpoints of models that were."""
    leftovers = []
    for stage in (*STAGES, "checkpoints", ".staging"):
        for path in store.fs.glob(f"{store.root}/{stage}/*"):
            key = path.rpartition("/")[2]
            files = store.fs.find(path, detail=True)
            finished = stage == "checkpoints" and key in published
            unpublished = key not in published and _compute_age_seconds(files) > WORK_SECONDS
            if finished or unpublished:
                size = sum(entry["size"] for entry in files.values())
                leftovers.append(UnusedArtifact(stage=stage, key=key, bytes=size))
    return leftovers


def _compute_age_seconds(files: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the seconds since the newest of these files was written; 0 where none has a time.

    Args:
        files: fsspec's details by path, whose fields depend on the filesystem.
    """
    times = [
        entry.get("mtime") or entry.get("LastModified") or entry.get("created")
        for entry in files.values()
    ]
    stamps = [t.timestamp() if isinstance(t, datetime) else t for t in times if t is not None]
    return time.time() - max(stamps, default=datetime.now(UTC).timestamp())
