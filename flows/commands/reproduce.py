"""Reproduce: train a registered version again from its own tags, and compare the weights."""

from flows.job.job import Job
from flows.job.registered import load_registered_job
from models.learning.loop import Callbacks
from tasks.evaluation.fallback import make_fallback_candidate
from tasks.features.featurize import make_features
from tasks.features.input_files import check_input_files
from tasks.records import Accepted, Candidate, Features
from tasks.registry.reproduction import (
    ReproducedArtifacts,
    Reproduction,
    VersionSources,
    compare_versions,
    find_sources,
    isolate_snapshot,
)
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store
from tasks.tracking.mlflow_client import TAG
from tasks.training.train import make_candidate
from tasks.validation.validate import accept_snapshot, load_accepted_contract


def reproduce(store: Store, name: str, number: str) -> Reproduction:
    """Repeat a version from its snapshot on, in a store of its own, and compare the results.

    Args:
        store: the store that has the version's snapshot.
        name: registered model.
        number: the version's number.

    Raises:
        RegistryError: there is no such version, or its tags lack what it was made from.
        JobError: the pretrained embeddings or weights that it was trained with are missing.
        StoreError: the snapshot is missing or damaged.
    """
    origin = find_sources(store, name, number)
    job = load_registered_job(origin.job_text, f"{name} version {number}")
    check_input_files(
        job.layout,
        expected=origin.tags.get(f"{TAG}input_files_hash"),
        title=f"{name} version {number}",
    )
    with isolate_snapshot(store, origin.snapshot) as scratch:
        contract = load_accepted_contract(store, origin.accepted)
        accepted = accept_snapshot(origin.snapshot, contract, scratch)
        features = make_features(
            accepted,
            scratch,
            layout=job.layout,
            target=job.target,
            split=job.split,
            keep_unlabelled=job.keeps_unlabelled,
        )
        candidate = _make_candidate(job, origin, accepted, features, scratch=scratch)
        bundle_dir = local_dir(scratch, candidate) / "bundle"
        repeated = ReproducedArtifacts(accepted, features, candidate, bundle_dir)
        return compare_versions(name, number, origin, repeated, store=store)


def _make_candidate(
    job: Job, origin: VersionSources, accepted: Accepted, features: Features, *, scratch: Store
) -> Candidate:
    """Make the version's model again: a baseline, or a network by its plans."""
    if origin.is_fallback:
        return make_fallback_candidate(features, accepted, scratch, head=job.head, gate=job.gate)
    return make_candidate(
        features,
        scratch,
        **job.settings._asdict(),
        callbacks=Callbacks(lambda _: None),
        plans=origin.plans,
        start=origin.pretraining_plan,
    )


def format_reproduction(result: Reproduction) -> str:
    """Format the comparison for a terminal."""
    title = f"{result.model} version {result.version}"
    if result.identical:
        lines = [f"{title} was reproduced: all {result.tensors} tensors are equal bit for bit"]
    else:
        lines = [
            f"{title} was not reproduced: {len(result.differing_tensors)} or more tensors differ"
        ]
        lines += [
            f"  {tensor.name} {tensor.shape}: {_format_difference(tensor.max_difference)}"
            for tensor in result.differing_tensors
        ]
    lines += [f"  stage {stage}: {state}" for stage, state in result.stages.items()]
    lines += [
        f"  {what}: {then}, now {now}" for what, (then, now) in result.environment_changes.items()
    ]
    if result.differing_files:
        lines.append(f"  files that differ: {', '.join(result.differing_files)}")
    return "\n".join(lines)


def _format_difference(difference: float | None) -> str:
    """Format the largest difference of a tensor's values."""
    return "cannot be compared" if difference is None else f"up to {difference:.3g}"
