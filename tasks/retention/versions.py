"""Versions in MLflow that nobody needs any more: what they are, and how they are deleted.

A version stays while an alias points at it or it is among the newest. Of a model that comes from
another store nothing is touched, and nothing that ostinato did not register.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tasks.registry import versions
from tasks.registry.alias_log import count_entries
from tasks.registry.aliases import lock_aliases
from tasks.storage.artifacts import read_manifest
from tasks.storage.store import Store
from tasks.tracking.mlflow_client import TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

VERSION = "version"
"""What stands as the stage of a version among artifacts."""


def find_unused_versions(store: Store, *, keep: int) -> list[dict[str, Any]]:
    """List the versions without an alias that are not among the newest.

    Args:
        store: whose models are looked through.
        keep: newest versions of each model that stay beside those with an alias.

    Raises:
        RegistryError: MLflow cannot be asked.
    """
    return [
        {
            "stage": VERSION,
            "key": f"{name}/{found.version}",
            "bytes": versions.measure_version_bytes(found),
        }
        for name in versions.list_models()
        for found in _list_unused_versions(store, name, keep)
    ]


def _list_unused_versions(store: Store, name: str, keep: int) -> "Iterator[ModelVersion]":
    """Return the dead versions of one model, the oldest first."""
    found = versions.list_versions(name)
    ours = [version for version in found if version.tags.get(f"{TAG}model_key")]
    if not _is_from_store(store, name, ours):
        return
    aliased = set(versions.get_aliases(name).values())
    newest = sorted(ours, key=lambda version: int(version.version))
    for version in newest[: max(len(newest) - keep, 0)]:
        if str(version.version) not in aliased:
            yield version


def _is_from_store(store: Store, name: str, ours: "list[ModelVersion]") -> bool:
    """Return whether a model comes from this store: its history or one of its networks is there."""
    keys = (version.tags[f"{TAG}model_key"] for version in ours)
    return count_entries(store, name) > 0 or any(read_manifest(store, "train", key) for key in keys)


def delete_versions(store: Store, unused: list[dict[str, Any]]) -> None:
    """Delete versions that were found dead, but for one that was given an alias since.

    Raises:
        RegistryError: MLflow cannot be asked, or refuses.
        LeaseHeldError: somebody moves aliases of the model, and does not come to an end.
    """
    for row in unused:
        name, _, number = row["key"].rpartition("/")
        with lock_aliases(store, name):
            if number not in versions.get_aliases(name).values():
                versions.delete_version(name, number)
