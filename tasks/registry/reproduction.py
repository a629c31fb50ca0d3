"""A version that is made again: where from, in a store apart, and how it compares with the first.

What is made again is made of the snapshot alone. Nothing that the store has beyond that is taken,
and nothing is added to it.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from models.learning.plan import TrainingPlan
from tasks.environment import describe_environment
from tasks.errors import RegistryError, StoreError
from tasks.facts import AcceptedFacts, PartFacts, SnapshotFacts
from tasks.records import Accepted, Artifact, Candidate, Features, Part, Snapshot
from tasks.registry import versions
from tasks.registry.promotion import check_version_exists
from tasks.storage.artifacts import find_key, hash_file, local_dir, read_manifest
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.tracking.mlflow_client import TAG

MAX_SHOWN_TENSORS = 20


class VersionSources(NamedTuple):
    """What a version was made from, as far as the store still has it."""

    tags: Mapping[str, str]
    job_text: str
    plans: list[TrainingPlan]
    """What was measured before each of its networks learned, in the order in which they did."""
    snapshot: Snapshot
    accepted: Accepted


class Remade(NamedTuple):
    """The artifacts that were made again, in another store."""

    accepted: Accepted
    features: Features
    candidate: Candidate
    bundle_dir: Path
    """Local folder with the model."""

    @property
    def by_tag(self) -> dict[str, Artifact[object]]:
        """The artifacts by the name that the version's tags give them."""
        return {"accepted": self.accepted, "features": self.features, "model": self.candidate}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """What came of making a version again; the last line of `ostinato reproduce --json`."""

    model: str
    version: str
    identical: bool
    """Whether every weight is the same to the last bit."""
    tensors: int
    differing: list[dict[str, Any]]
    """Tensors that are not the same: `name`, `shape`, `largest`; the first of them."""
    files: list[str]
    """Files of the model that are not the same, or that one of the two lacks."""
    stages: dict[str, str]
    """Whether each came to the "same", to "other" or, the first being gone, to "unknown"."""
    made_by: dict[str, list[str]]
    """Packages, device and processor that are others now: what it was, and what it is."""


def find_sources(store: Store, name: str, number: str) -> VersionSources:
    """Find what a version was made from.

    Raises:
        RegistryError: there is no such version, or it does not say.
        StoreError: the snapshot is gone, or is not what it was.
    """
    check_version_exists(name, number)
    tags = versions.get_version(name, number).tags
    wanted = {
        key: tags.get(f"{TAG}{key}") for key in ("snapshot_key", "accepted_key", "job", "plans")
    }
    if missing := [key for key, value in wanted.items() if not value]:
        raise RegistryError.of(
            f"{name} version {number} does not say what it was made from: "
            f"{', '.join(TAG + key for key in missing)} missing among its tags",
            hint="only versions that `ostinato run` registered can be made again",
        )
    snapshot = find_key(store, "ingest", str(wanted["snapshot_key"]), SnapshotFacts)
    accepted = find_key(store, "validate", str(wanted["accepted_key"]), AcceptedFacts)
    if snapshot is None or accepted is None:
        what = "data" if snapshot is None else "contract"
        raise StoreError.of(
            f"{name} version {number} cannot be made again: the {what} that it was made from is "
            f"not in the store {store.root} any more",
            found=f"Looked for: ingest/{wanted['snapshot_key']}, validate/{wanted['accepted_key']}",
            hint="name the store that has it with --store, or restore it from a copy",
        )
    plans = _parse_plans(str(wanted["plans"]), f"{name} version {number}")
    found = VersionSources(tags, str(wanted["job"]), plans, snapshot, accepted)
    _check_unchanged(store, found, f"{name} version {number}")
    return found


def _parse_plans(text: str, title: str) -> list[TrainingPlan]:
    """Read what was measured before each network learned.

    Raises:
        RegistryError: this program does not know such plans any more.
    """
    try:
        return [TrainingPlan(**told) for told in json.loads(text)]
    except (TypeError, ValueError) as error:
        raise RegistryError.of(
            f"{title} has training plans that this version of ostinato cannot read: {error}",
            hint="install the version that is in its tag ostinato.code_version",
        ) from error


def _check_unchanged(store: Store, found: VersionSources, title: str) -> None:
    """Refuse a snapshot that is not what the version was made from.

    Raises:
        StoreError: names the file.
    """
    wanted = found.tags.get(f"{TAG}snapshot_hash")
    if wanted and found.snapshot.content_hash != wanted:
        raise StoreError.of(
            f"{title} cannot be made again: its snapshot's hash is {found.snapshot.content_hash}, "
            f"and was {wanted}",
            hint="restore the store from a copy",
        )
    for part in _find_parts(store, found.snapshot):
        manifest = read_manifest(store, part.stage, part.key)
        folder = local_dir(store, part)
        for name, entry in manifest.files.items() if manifest else ():
            if hash_file(folder / name) != entry.sha256:
                raise StoreError.of(
                    f"{title} cannot be made again: {folder / name} is not what was read then",
                    hint="restore the store from a copy",
                )


def _find_parts(store: Store, snapshot: Snapshot) -> list[Part]:
    """Find the parts of a snapshot.

    Raises:
        StoreError: one is gone.
    """
    found = [find_key(store, "part", key, PartFacts) for key in snapshot.facts.parts]
    whole = [part for part in found if part is not None]
    if len(whole) < len(found):
        raise StoreError.of(
            f"{len(found) - len(whole)} of {len(found)} parts of snapshot {snapshot.key} are not "
            f"in the store {store.root} any more",
            hint="name the store that has them with --store, or restore them from a copy",
        )
    return whole


@contextmanager
def isolate_snapshot(store: Store, snapshot: Snapshot) -> Iterator[Store]:
    """Return a store that holds this snapshot alone, deleted at the end."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "store"
        for artifact in (snapshot, *_find_parts(store, snapshot)):
            home, place = f"{store.root}/{artifact.stage}/{artifact.key}", root / artifact.stage
            place.mkdir(parents=True, exist_ok=True)
            if store.is_local:
                (place / artifact.key).symlink_to(Path(home).absolute())
            else:
                store.fs.get(f"{home}/", f"{place / artifact.key}/", recursive=True)
        yield open_store(StoreConfig(uri=str(root), cache=str(Path(temporary) / "cache")))


def compare_versions(
    title: tuple[str, str],
    found: VersionSources,
    again: Remade,
    *,
    store: Store,
) -> Reproduction:
    """Compare a version with what was made again.

    Args:
        title: the model's name and the version's number.
        found: what it was made from.
        again: what was made again.
        store: where the first artifacts are, as far as they are there.
    """
    name, number = title
    first = versions.fetch_files(name, number) / "artifacts" / "bundle"
    differing, tensors = _compare_weights(first, again.bundle_dir)
    then = json.loads(found.tags.get(f"{TAG}made_by", "{}"))
    now = describe_environment(again.candidate.facts.device)
    return Reproduction(
        model=name,
        version=number,
        identical=not differing,
        tensors=tensors,
        differing=differing[:MAX_SHOWN_TENSORS],
        files=_list_differing_files(first, again.bundle_dir),
        stages={
            stage: _compare_stage(store, found.tags.get(f"{TAG}{stage}_key"), made)
            for stage, made in again.by_tag.items()
        },
        made_by={
            key: [then.get(key, "none"), now.get(key, "none")]
            for key in sorted({*then, *now} if then else ())
            if then.get(key) != now.get(key)
        },
    )


def _compare_stage(store: Store, key: str | None, made: Artifact[object]) -> str:
    """Return whether a stage came to the same again."""
    if key != made.key:
        return "other"
    first = read_manifest(store, made.stage, made.key)
    if first is None or made.stage in {"train", "validate"}:
        # These hold times beside what was made; the same key is the same recipe.
        return "same" if first is not None else "unknown"
    return "same" if first.content_hash == made.content_hash else "other"


def _compare_weights(first: Path, second: Path) -> tuple[list[dict[str, Any]], int]:
    """Compare all weights; tell those that differ, the most different first, and their count."""
    ours, theirs = _read_weights(first), _read_weights(second)
    found = [
        {
            "name": name,
            "shape": list(ours[name].shape),
            "largest": _compute_largest_difference(ours, theirs, name),
        }
        for name in sorted(ours)
        if name not in theirs or not _are_bits_equal(ours[name], theirs[name])
    ]
    found += [
        {"name": name, "shape": list(theirs[name].shape), "largest": None}
        for name in sorted(set(theirs) - set(ours))
    ]
    return sorted(found, key=lambda row: -(row["largest"] or 0.0)), len(ours)


def _read_weights(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read every tensor of a bundle's networks."""
    return {
        f"{path.stem}.{name}": tensor
        for path in sorted(folder.glob("network*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def _are_bits_equal(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Compare two tensors to the last bit."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and one.tobytes() == other.tobytes()


def _compute_largest_difference(
    ours: Mapping[str, np.ndarray[Any, Any]], theirs: Mapping[str, np.ndarray[Any, Any]], name: str
) -> float | None:
    """Return the largest difference of two tensors; None where they cannot be compared."""
    one, other = ours[name], theirs.get(name)
    if other is None or one.shape != other.shape:
        return None
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))


def _list_differing_files(first: Path, second: Path) -> list[str]:
    """Name the files that are not the same, or that one of two folders lacks."""
    tables = [
        {path.relative_to(folder).as_posix(): hash_file(path) for path in folder.rglob("*.*")}
        for folder in (first, second)
    ]
    names = sorted({*tables[0], *tables[1]})
    return [name for name in names if tables[0].get(name) != tables[1].get(name)]
