"""Reproduce: make a registered version again from its own tags, and compare the weights."""

import json

from pydantic import ValidationError

from flows.job.job import ADAPTER, Job
from models.learning.loop import Watch
from tasks.errors import RegistryError
from tasks.features.featurize import make_features
from tasks.registry.reproduction import Reproduction, apart, compare, sources_of
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store
from tasks.training.train import make_candidate
from tasks.validation.validate import contract_of, hold


def reproduce(store: Store, name: str, number: str) -> Reproduction:
    """Make a version again from the snapshot on, in a store of its own, and compare.

    Args:
        store: where the version's snapshot is.
        name: of the model.
        number: of the version.

    Raises:
        RegistryError: there is no such version, or its tags do not say what it was made from.
        StoreError: the snapshot is gone or damaged.
    """
    found = sources_of(store, name, number)
    job = job_of(found.job_text, f"{name} version {number}")
    with apart(store, found.snapshot) as scratch:
        accepted = hold(found.snapshot, contract_of(store, found.accepted), scratch)
        features = make_features(
            accepted, scratch, layout=job.layout, target=job.target, split=job.split
        )
        candidate = make_candidate(
            features,
            scratch,
            **job.settings._asdict(),
            watch=Watch(lambda _: None),
            plans=found.plans,
        )
        again = {"accepted": accepted, "features": features, "model": candidate}
        bundle = local_dir(scratch, candidate) / "bundle"
        return compare((name, number), found, again, bundle, store=store)


def job_of(text: str, title: str) -> Job:
    """Read the job that a version was made by.

    Raises:
        RegistryError: this program does not know such a job any more.
    """
    try:
        return ADAPTER.validate_python(json.loads(text))
    except (ValidationError, ValueError) as error:
        raise RegistryError.of(
            f"{title} has a job that this version of ostinato cannot read: {error}",
            mend="install the version that is in its tag ostinato.code_version",
        ) from error


def words(found: Reproduction) -> str:
    """Say what came of it, on a terminal."""
    title = f"{found.model} version {found.version}"
    if found.identical:
        lines = [f"{title} was made again: all {found.tensors} tensors are the same to the bit"]
    else:
        lines = [f"{title} was made again, and {len(found.differing)} or more tensors differ"]
        lines += [
            f"  {row['name']} {row['shape']}: "
            + ("cannot be compared" if row["largest"] is None else f"up to {row['largest']:.3g}")
            for row in found.differing
        ]
    lines += [f"  stage {stage}: {word}" for stage, word in found.stages.items()]
    lines += [f"  {what}: {then}, now {now}" for what, (then, now) in found.made_by.items()]
    if found.files:
        lines.append(f"  files that differ: {', '.join(found.files)}")
    return "\n".join(lines)
