"""Reproduction of a version: what it was made from, and how it compares with what is made again.

A version is reproduced from its snapshot alone, in a store of its own: nothing else is taken from
the first store, and nothing is added to it.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from models.learning.plan import TrainingPlan
from tasks.environment import describe_environment
from tasks.errors import DamagedArtifactError, RegistryError, StoreError
from tasks.facts import AcceptedFacts, PartFacts, SnapshotFacts
from tasks.records import Accepted, Artifact, Candidate, Features, Part, Snapshot
from tasks.registry import versions
from tasks.registry.promotion import check_version_exists
from tasks.storage.artifacts import find_by_key, local_dir, read_manifest
from tasks.storage.integrity import hash_file
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.tracking.mlflow_client import TAG

_MAX_SHOWN_TENSORS = 20

_Array = np.ndarray[Any, Any]

StageState = Literal["same", "other", "unknown"]
"""Whether a stage's output is equal again; unknown where the first output is deleted."""


class VersionSources(NamedTuple):
    """What a version was made from, as far as the store still has it."""

    tags: Mapping[str, str]
    job_text: str
    plans: list[TrainingPlan]
    """What was measured before the training of each of its networks, in order."""
    pretraining_plan: TrainingPlan | None
    """What was measured before their pretraining; None where there was none."""
    snapshot: Snapshot
    accepted: Accepted
    bundle_dir: Path
    """Local folder with the registered model."""

    @property
    def is_fallback(self) -> bool:
        """Whether the version is a baseline."""
        return f"{TAG}fallback" in self.tags


class ReproducedArtifacts(NamedTuple):
    """The artifacts that were made again, in a store of their own."""

    accepted: Accepted
    features: Features
    candidate: Candidate
    bundle_dir: Path
    """Local folder with the model."""

    @property
    def by_tag(self) -> dict[str, Artifact[object]]:
        """The artifacts by their names in the version's tags."""
        return {"accepted": self.accepted, "features": self.features, "model": self.candidate}


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorDifference:
    """A tensor of weights that is not equal bit for bit."""

    name: str
    shape: list[int]
    max_difference: float | None
    """Largest absolute difference; None where only one of the models has such a tensor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """The result of a reproduction; the last line of `ostinato reproduce --json`."""

    model: str
    version: str
    identical: bool
    """Whether all weights are equal bit for bit."""
    tensors: int
    """Number of tensors of the registered model."""
    differing_tensors: list[TensorDifference]
    """Those with the largest differences, in descending order."""
    differing_files: list[str]
    """Files of the bundle that are not equal, or that one of the two lacks."""
    stages: dict[str, StageState]
    environment_changes: dict[str, list[str]]
    """Packages, device and processor that have changed: the value then, and the value now."""


def find_sources(store: Store, name: str, number: str) -> VersionSources:
    """Find what a version was made from.

    The version's files are fetched here, so that a version that cannot be compared is not trained
    again first.

    Raises:
        RegistryError: there is no such version, its tags do not say what it was made from, or its
            files are missing or were changed.
        StoreError: the snapshot is not in the store, or was changed.
    """
    check_version_exists(name, number)
    tags = versions.get_version(name, number).tags
    values = {
        key: tags.get(f"{TAG}{key}") for key in ("snapshot_key", "accepted_key", "job", "plans")
    }
    if missing := [key for key, value in values.items() if not value]:
        raise RegistryError.of(
            f"{name} version {number} does not say what it was made from: "
            f"{', '.join(TAG + key for key in missing)} missing among its tags",
            hint="only versions that `ostinato run` registered can be reproduced",
        )
    snapshot = find_by_key(store, "ingest", str(values["snapshot_key"]), SnapshotFacts)
    accepted = find_by_key(store, "validate", str(values["accepted_key"]), AcceptedFacts)
    if snapshot is None or accepted is None:
        what = "snapshot" if snapshot is None else "contract"
        raise StoreError.of(
            f"{name} version {number} cannot be reproduced: the {what} that it was made from is "
            f"no longer in the store {store.root}",
            found=f"Looked for: ingest/{values['snapshot_key']}, validate/{values['accepted_key']}",
            hint="name the store that has it with --store, or restore it from a copy",
        )
    title = f"{name} version {number}"
    plans = _parse_plans(json.loads, str(values["plans"]), title)
    pretraining = tags.get(f"{TAG}pretraining")
    start = _parse_plans(_read_pretraining_plans, pretraining, title) if pretraining else [None]
    bundle_dir = versions.fetch_files(name, number) / "artifacts" / "bundle"
    sources = VersionSources(
        tags, str(values["job"]), plans, start[0], snapshot, accepted, bundle_dir
    )
    _check_unchanged(store, sources, f"{name} version {number}")
    return sources


def _read_pretraining_plans(text: str) -> list[Mapping[str, Any]]:
    """Read the plan of a version's pretraining from its tag."""
    return [json.loads(text)["plan"]]


def _parse_plans(
    read: Callable[[str], list[Mapping[str, Any]]], text: str, title: str
) -> list[TrainingPlan]:
    """Parse the training plans of a version's networks.

    Args:
        read: returns the plans of the tag's text.
        text: of the tag.
        title: of the version.

    Raises:
        RegistryError: another version of this program wrote them.
    """
    try:
        return [TrainingPlan(**plan) for plan in read(text)]
    except (KeyError, TypeError, ValueError) as error:
        raise RegistryError.of(
            f"{title} has training plans that this version of ostinato cannot read: {error}",
            hint="install the version that is in its tag ostinato.code_version",
        ) from error


def _check_unchanged(store: Store, sources: VersionSources, title: str) -> None:
    """Check that the snapshot is what the version was made from.

    Raises:
        StoreError: it was changed, or one of its parts was; names the file.
    """
    expected, snapshot = sources.tags.get(f"{TAG}snapshot_hash"), sources.snapshot
    if expected and snapshot.content_hash != expected:
        raise StoreError.of(
            f"{title} cannot be reproduced: its snapshot was changed",
            found=f"Hash {snapshot.content_hash}, expected {expected}",
            hint="restore the store from a copy",
        )
    for part in _find_parts(store, snapshot):
        try:
            local_dir(store, part)
        except DamagedArtifactError as error:
            raise StoreError.of(
                f"{title} cannot be reproduced: {str(error).splitlines()[0]}",
                hint="restore the store from a copy",
            ) from error


def _find_parts(store: Store, snapshot: Snapshot) -> list[Part]:
    """Find the parts of a snapshot.

    Raises:
        StoreError: one is not in the store.
    """
    keys = snapshot.facts.parts
    found = [find_by_key(store, "part", key, PartFacts) for key in keys]
    parts = [part for part in found if part is not None]
    if len(parts) < len(keys):
        raise StoreError.of(
            f"{len(keys) - len(parts)} of {len(keys)} parts of snapshot {snapshot.key} are no "
            f"longer in the store {store.root}",
            hint="name the store that has them with --store, or restore them from a copy",
        )
    return parts


@contextmanager
def isolate_snapshot(store: Store, snapshot: Snapshot) -> Iterator[Store]:
    """Open a temporary store that holds this snapshot alone."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "store"
        for artifact in (snapshot, *_find_parts(store, snapshot)):
            source = f"{store.root}/{artifact.stage}/{artifact.key}"
            target = root / artifact.stage / artifact.key
            target.parent.mkdir(parents=True, exist_ok=True)
            if store.is_local:
                target.symlink_to(Path(source).absolute())
            else:
                store.fs.get(f"{source}/", f"{target}/", recursive=True)
        yield open_store(StoreConfig(uri=str(root), cache=str(Path(temporary) / "cache")))


def compare_versions(
    name: str,
    number: str,
    sources: VersionSources,
    reproduced: ReproducedArtifacts,
    *,
    store: Store,
) -> Reproduction:
    """Compare a version with what was made again.

    Args:
        name: registered model.
        number: the version's number.
        sources: what it was made from.
        reproduced: what was made again.
        store: where the first artifacts are, unless they were deleted.
    """
    first = sources.bundle_dir
    differing, tensors = _compare_weights(first, reproduced.bundle_dir)
    then = json.loads(sources.tags.get(f"{TAG}environment", "{}"))
    now = describe_environment(reproduced.candidate.facts.device)
    return Reproduction(
        model=name,
        version=number,
        identical=not differing,
        tensors=tensors,
        differing_tensors=differing[:_MAX_SHOWN_TENSORS],
        differing_files=_list_differing_files(first, reproduced.bundle_dir),
        stages={
            stage: _compare_stage(store, sources.tags.get(f"{TAG}{stage}_key"), artifact)
            for stage, artifact in reproduced.by_tag.items()
        },
        environment_changes={
            key: [then.get(key, "none"), now.get(key, "none")]
            for key in sorted({*then, *now} if then else ())
            if then.get(key) != now.get(key)
        },
    )


def _compare_stage(store: Store, key: str | None, reproduced: Artifact[object]) -> StageState:
    """Compare the first output of a stage, by its key, with the reproduced one."""
    if key != reproduced.key:
        return "other"
    first = read_manifest(store, reproduced.stage, reproduced.key)
    if first is None:
        return "unknown"
    if reproduced.stage in {"train", "validate"}:
        # Their files hold times too; the same key means the same recipe.
        return "same"
    return "same" if first.content_hash == reproduced.content_hash else "other"


class _WeightComparison(NamedTuple):
    """The tensors of two models that differ, and the number of tensors of the first."""

    differences: list[TensorDifference]
    tensors: int


def _compare_weights(first_dir: Path, second_dir: Path) -> _WeightComparison:
    """Compare the weights of two bundles; the largest differences come first."""
    first, second = _read_weights(first_dir), _read_weights(second_dir)
    names = [*sorted(first), *sorted(set(second) - set(first))]
    differences = [
        TensorDifference(
            name=name,
            shape=list((first if name in first else second)[name].shape),
            max_difference=_compute_max_difference(first.get(name), second.get(name)),
        )
        for name in names
        if not _are_bits_equal(first.get(name), second.get(name))
    ]
    differences.sort(key=lambda difference: -(difference.max_difference or 0.0))
    return _WeightComparison(differences, len(first))


def _read_weights(folder: Path) -> dict[str, _Array]:
    """Read every tensor of a bundle's networks, branches or baseline, by file and name."""
    return {
        f"{path.stem}.{name}": tensor
        for pattern in ("network*.safetensors", "branch*.safetensors", "baseline.safetensors")
        for path in sorted(folder.glob(pattern))
        for name, tensor in load_file(path).items()
    }


def _are_bits_equal(first: _Array | None, second: _Array | None) -> bool:
    """Compare two tensors bit for bit; None is not equal to any."""
    if first is None or second is None:
        return False
    alike = first.shape == second.shape and first.dtype == second.dtype
    return alike and first.tobytes() == second.tobytes()


def _compute_max_difference(first: _Array | None, second: _Array | None) -> float | None:
    """Compute the largest absolute difference; None where shapes differ or a tensor is missing."""
    if first is None or second is None or first.shape != second.shape:
        return None
    return float(np.abs(first.astype(np.float64) - second.astype(np.float64)).max(initial=0.0))


def _list_differing_files(first_dir: Path, second_dir: Path) -> list[str]:
    """List the files that are not equal, or that one of two folders lacks."""
    first, second = (
        {path.relative_to(folder).as_posix(): hash_file(path) for path in folder.rglob("*.*")}
        for folder in (first_dir, second_dir)
    )
    return [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)]
