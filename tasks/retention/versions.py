"""Registered versions that are no longer needed: finding and deleting them.

A version is needed while an alias points at it or it is among the newest. Models that come from
another store, or that ostinato did not register, are left alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.registry import versions
from tasks.registry.alias_log import count_entries
from tasks.registry.aliases import lock_aliases
from tasks.storage.artifacts import read_manifest
from tasks.storage.store import Store
from tasks.tracking.mlflow_client import TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusedVersion:
    """A version that is no longer needed, as `ostinato prune` lists it, like an artifact."""

    stage: str = "version"
    key: str
    """NAME/NUMBER."""
    bytes: int
    """Size of its files."""


def find_unused_versions(store: Store, *, keep: int) -> list[UnusedVersion]:
    """Find the versions without an alias that are not among the newest.

    Args:
        store: its models are looked through.
        keep: number of newest versions of each model that are needed without an alias.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    return [
        UnusedVersion(
            key=f"{name}/{version.version}", bytes=versions.measure_version_bytes(version)
        )
        for name in versions.list_models()
        for version in _list_unused_versions(store, name, keep)
    ]


def delete_versions(store: Store, unused: Sequence[UnusedVersion]) -> None:
    """Delete versions, except those that have got an alias since they were found.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
        LeaseHeldError: another process moves the model's aliases for too long.
    """
    for version in unused:
        name, _, number = version.key.rpartition("/")
        with lock_aliases(store, name):
            if number not in versions.get_aliases(name).values():
                versions.delete_version(name, number)


def _list_unused_versions(store: Store, name: str, keep: int) -> "Iterator[ModelVersion]":
    """Return the unused versions of one model, oldest first."""
    registered = [
        version for version in versions.list_versions(name) if version.tags.get(f"{TAG}model_key")
    ]
    if not _is_from_store(store, name, registered):
        return
    aliased = set(versions.get_aliases(name).values())
    oldest = sorted(registered, key=lambda version: int(version.version))
    for version in oldest[: max(len(oldest) - keep, 0)]:
        if str(version.version) not in aliased:
            yield version


def _is_from_store(store: Store, name: str, registered: "list[ModelVersion]") -> bool:
    """Return whether the store has a model's alias log, or one of its trained networks."""
    keys = (version.tags[f"{TAG}model_key"] for version in registered)
    return count_entries(store, name) > 0 or any(read_manifest(store, "train", key) for key in keys)
