"""What is damaged in a store and in the registry: every file against what was recorded of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.errors import DamagedArtifactError, RegistryDownError, RegistryError
from tasks.registry import versions
from tasks.retention.artifacts import STAGES
from tasks.storage.artifacts import MANIFEST, find_artifact_dir, read_manifest
from tasks.storage.store import Store, read_bytes
from tasks.tracking.mlflow_client import TAG
from tasks.training.checkpoints import is_whole

_CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """Something that was checked."""

    what: str
    """STAGE/KEY of an artifact, NAME/NUMBER of a version, or a path in the store."""
    bytes: int
    """Size of its files; 0 where it is unknown."""
    damage: str = ""
    """What is wrong, with the name of the file; empty where nothing is."""
    remedy: str = ""
    """What mends it."""


def check_artifacts(store: Store) -> Iterator[Checked]:
    """Compare every file of every artifact with its hash.

    Raises:
        StoreError: the store cannot be read.
    """
    store.fs.invalidate_cache()
    for stage in STAGES:
        for path in sorted(store.fs.glob(f"{store.root}/{stage}/*/{MANIFEST}")):
            key = path.rsplit("/", 2)[-2]
            try:
                manifest = read_manifest(store, stage, key)
                find_artifact_dir(store, stage, key)
            except DamagedArtifactError as error:
                yield Checked(
                    what=f"{stage}/{key}",
                    bytes=0,
                    damage=str(error).partition("\n")[0],
                    remedy="the next run that needs it makes it again, if its inputs still exist",
                )
                continue
            yield Checked(what=f"{stage}/{key}", bytes=manifest.bytes if manifest else 0)


def check_records(store: Store) -> Iterator[Checked]:
    """Read everything else in the store: states of sources, logs of aliases, checkpoints."""
    for path in sorted(store.fs.find(store.root)):
        name = path.removeprefix(f"{store.root}/")
        folder = name.partition("/")[0]
        if folder in {*STAGES, ".staging"} or not name.endswith((".json", ".pt")):
            continue
        content = read_bytes(store, name) or b""
        if folder == _CHECKPOINTS and name.endswith(".pt"):
            damage = "" if is_whole(content) else f"{path} is damaged (SHA-256)"
            remedy = "training goes on from the checkpoint before it, or begins again"
        else:
            damage = _find_json_damage(path, content)
            remedy = "restore it from a copy of the store"
        yield Checked(what=name, bytes=len(content), damage=damage, remedy=remedy if damage else "")


def check_versions() -> Iterator[Checked]:
    """Compare the files of every version that was registered here with their hashes.

    Raises:
        RegistryDownError: MLflow cannot be reached.
    """
    for name in versions.list_models():
        for version in versions.list_versions(name):
            if f"{TAG}model_key" not in version.tags:
                continue
            number, damage = str(version.version), ""
            try:
                versions.fetch_files(name, number)
            except RegistryDownError:
                raise
            except RegistryError as error:
                damage = str(error).partition("\n")[0]
            yield Checked(
                what=f"{name}/{number}",
                bytes=0 if damage else versions.measure_version_bytes(version),
                damage=damage,
                remedy="restore its files from a copy of MLflow's storage" if damage else "",
            )


def _find_json_damage(path: str, content: bytes) -> str:
    """Return why a file is not JSON; empty where it is."""
    try:
        json.loads(content)
    except ValueError as error:
        return f"{path} is damaged: {error}"
    return ""
