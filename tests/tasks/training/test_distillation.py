"""Distillation: one network that is trained on the outputs of an ensemble, and replaces it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flows.job.job import load_job
from models.bundle import Bundle, load
from models.learning.callbacks import Callbacks, EpochResult
from models.learning.validation import add_teacher_outputs
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.base import Encoded
from models.networks.heads.category import CategoryHead
from models.networks.heads.config import DISTRIBUTION_LOSSES, HeadConfig
from models.networks.heads.outputs import build_output
from models.networks.heads.tags import TagsHead
from models.networks.jagged import Offsets
from models.networks.network import build_network
from tasks.errors import JobError
from tasks.records import Candidate
from tasks.storage.artifacts import local_dir
from tasks.training.train import make_candidate
from tasks.tuning.trials import TrialContext
from tests.support.learning_fixtures import PulledPlugError, sequences
from tests.support.model_parts import face
from tests.support.sample_jobs import waves, write_job
from tests.support.tuning_fixtures import SEARCHED, copy_context, make_trial_context

NO_CALLBACKS = Callbacks(lambda _: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> TrialContext:
    """A context with a few hard waves, and an ensemble that was trained on them."""
    context = make_trial_context(tmp_path_factory.mktemp("prepared"))
    train(context, ensemble=3)
    return context


@pytest.fixture
def context(prepared: TrialContext, tmp_path: Path) -> TrialContext:
    """The prepared context, over a store of its own."""
    return copy_context(prepared, tmp_path / "one")


def train(context: TrialContext, watch: Callbacks = NO_CALLBACKS, **training: Any) -> Candidate:
    return make_candidate(
        context.features,
        context.store,
        model=context.base.model,
        head=context.base.head,
        training=replace(context.base.training, epochs=6, **training),
        callbacks=watch,
    )


def load_bundle(context: TrialContext, candidate: Candidate) -> Bundle:
    return load(local_dir(context.store, candidate) / "bundle")


def predict_probabilities(bundle: Bundle, rows: pl.DataFrame) -> np.ndarray:
    return np.array(replace(bundle, calibration=None).predict(rows)["probabilities"].to_list())


def test_the_distilled_network_is_nearer_to_the_ensemble_than_a_plain_one(
    context: TrialContext,
) -> None:
    rows = waves(200, seed=5)
    ensemble = predict_probabilities(load_bundle(context, train(context, ensemble=3)), rows)

    distilled = train(context, ensemble=3, distill=True)

    # One that is no member of the ensemble, for those are near it anyway.
    plain = predict_probabilities(load_bundle(context, train(context, seed=50)), rows)
    found = predict_probabilities(load_bundle(context, distilled), rows)
    assert np.abs(found - ensemble).mean() < np.abs(plain - ensemble).mean()


def test_the_bundle_holds_one_network_and_the_facts_name_its_teacher(context: TrialContext) -> None:
    ensemble = train(context, ensemble=3)

    distilled = train(context, ensemble=3, distill=True)

    bundle = load_bundle(context, distilled)
    assert not isinstance(bundle.network, Ensemble)
    assert bundle.calibration is not None
    assert distilled.facts.ensemble == ensemble.key
    assert distilled.facts.members == ensemble.facts.members
    assert distilled.facts.parameters * 3 == ensemble.facts.parameters
    assert distilled.facts.seconds > ensemble.facts.seconds


def test_a_killed_distillation_resumes_to_the_same_weights(
    context: TrialContext, tmp_path: Path
) -> None:
    broken = copy_context(context, tmp_path / "broken")
    expected, seen = train(context, ensemble=3, distill=True), list[EpochResult]()

    def interrupt(epoch: EpochResult) -> None:
        seen.append(epoch)
        if len(seen) == 4:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        train(broken, Callbacks(interrupt), ensemble=3, distill=True)
    seen.clear()
    found = train(broken, Callbacks(seen.append), ensemble=3, distill=True)

    assert seen[0].epoch > 0
    assert found.key == expected.key
    assert found.content_hash == expected.content_hash


def test_teacher_outputs_are_selected_with_their_rows() -> None:
    config = ModelConfig(hidden_size=4)
    members = [build_network(config, face(2, 2), seed=seed) for seed in (1, 2)]
    teachers = Ensemble(members, "category", HeadConfig())
    whole = sequences(20, "category")

    taught = add_teacher_outputs(whole, teachers)

    rows = np.array([7, 3, 19])
    torch.testing.assert_close(
        taught.select(rows).teacher_outputs_SO, taught.teacher_outputs_SO[torch.tensor(rows)]
    )
    alone = add_teacher_outputs(whole.select(rows), teachers)
    torch.testing.assert_close(alone.teacher_outputs_SO, taught.select(rows).teacher_outputs_SO)


def test_streamed_rows_are_distilled_as_rows_in_memory_are(context: TrialContext) -> None:
    found = train(context, ensemble=3, distill=True, data_loading="streaming")

    resident = train(context, ensemble=3, distill=True)
    assert found.facts.data == "streaming"
    assert found.facts.validation_loss == pytest.approx(resident.facts.validation_loss, abs=0.3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": {"distill": True}}, "distill: there is no ensemble to learn from"),
        (
            {
                "training": {"distill": True, "ensemble": 3},
                "target": {"kind": "next_step"},
            },
            "training.distill: a target of kind next_step is the sequence itself",
        ),
        (
            {
                "training": {"distill": True, "ensemble": 3},
                "target": {"column": "label", "kind": "text"},
            },
            "texts cannot be averaged",
        ),
    ],
)
def test_targets_that_cannot_be_distilled_are_refused(
    home: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        load_job(write_job(home, SEARCHED | {"tuning": None} | changes))


seeds = st.integers(0, 999)


def read(head: torch.nn.Module, seed: int) -> tuple[Encoded, Tensor, Tensor]:
    """Return what was read, the head's answers to it, and other answers."""
    draw = torch.Generator().manual_seed(seed)
    pooled = torch.randn(5, 4, generator=draw)
    encoded = Encoded(pooled, pooled, Offsets.from_lengths([1] * 5, torch.device("cpu")))
    own: Tensor = head(encoded).detach()
    return encoded, own, own + torch.randn(own.shape, generator=draw)


@pytest.mark.parametrize("kind", [CategoryHead, TagsHead])
@given(seed=seeds)
def test_a_teacher_with_the_same_outputs_gives_no_gradient(kind: Any, seed: int) -> None:
    torch.manual_seed(seed)
    head = kind(4, 3, HeadConfig())
    encoded, own, other = read(head, seed)

    head.distillation_loss(encoded, own).backward()

    assert all(weight.grad.abs().max() < 1e-5 for weight in head.parameters())
    head.zero_grad()
    head.distillation_loss(encoded, other).backward()
    assert any(weight.grad.abs().max() > 1e-4 for weight in head.parameters())


@pytest.mark.parametrize("error", ["mse", "mae", *DISTRIBUTION_LOSSES])
@given(seed=seeds)
def test_no_outputs_are_nearer_to_the_teacher_than_its_own(error: Any, seed: int) -> None:
    form = build_output(HeadConfig(loss=error))
    draw = torch.Generator().manual_seed(seed)
    taught, other = (form.parts(torch.randn(6, form.num_raw, generator=draw)) for _ in range(2))

    assert form.distillation_loss(taught, taught) <= form.distillation_loss(other, taught)
