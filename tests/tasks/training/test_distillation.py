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
from models.bundle import Bundle, load_bundle
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
from tests.support.learning_fixtures import ProcessKilledError, draw_sequences
from tests.support.model_parts import build_plain_spec
from tests.support.sample_jobs import make_waves, write_job
from tests.support.tuning_fixtures import SEARCHED, copy_context, make_trial_context

NO_CALLBACKS = Callbacks(lambda _: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> TrialContext:
    """Return a context over small waves, with an ensemble that was trained on them."""
    context = make_trial_context(tmp_path_factory.mktemp("prepared"))
    train(context, ensemble=3)
    return context


@pytest.fixture
def context(prepared: TrialContext, tmp_path: Path) -> TrialContext:
    """Return the prepared context with a copy of its store."""
    return copy_context(prepared, tmp_path / "one")


def train(context: TrialContext, callbacks: Callbacks = NO_CALLBACKS, **training: Any) -> Candidate:
    return make_candidate(
        context.features,
        context.store,
        model=context.base.model,
        head=context.base.head,
        training=replace(context.base.training, epochs=6, **training),
        callbacks=callbacks,
    )


def load_trained_bundle(context: TrialContext, candidate: Candidate) -> Bundle:
    return load_bundle(local_dir(context.store, candidate) / "bundle")


def predict_probabilities(bundle: Bundle, rows: pl.DataFrame) -> np.ndarray:
    return np.array(replace(bundle, calibration=None).predict(rows)["probabilities"].to_list())


def test_the_distilled_network_is_nearer_to_the_ensemble_than_a_plain_one(
    context: TrialContext,
) -> None:
    rows = make_waves(200, seed=5)
    ensemble = predict_probabilities(load_trained_bundle(context, train(context, ensemble=3)), rows)

    distilled = train(context, ensemble=3, distill=True)

    # A network outside the ensemble: its members are near to it in any case.
    plain = predict_probabilities(load_trained_bundle(context, train(context, seed=50)), rows)
    distilled_probabilities = predict_probabilities(load_trained_bundle(context, distilled), rows)
    assert np.abs(distilled_probabilities - ensemble).mean() < np.abs(plain - ensemble).mean()


def test_the_bundle_contains_one_network_and_the_facts_name_its_teacher(
    context: TrialContext,
) -> None:
    ensemble = train(context, ensemble=3)

    distilled = train(context, ensemble=3, distill=True)

    bundle = load_trained_bundle(context, distilled)
    assert not isinstance(bundle.network, Ensemble)
    assert bundle.calibration is not None
    assert distilled.facts.ensemble == ensemble.key
    assert distilled.facts.members == ensemble.facts.members
    assert distilled.facts.parameters * 3 == ensemble.facts.parameters
    assert distilled.facts.seconds > ensemble.facts.seconds


def test_a_killed_distillation_resumes_to_the_same_weights(
    context: TrialContext, tmp_path: Path
) -> None:
    interrupted = copy_context(context, tmp_path / "interrupted")
    expected, results = train(context, ensemble=3, distill=True), list[EpochResult]()

    def interrupt(epoch: EpochResult) -> None:
        results.append(epoch)
        if len(results) == 4:
            raise ProcessKilledError

    with pytest.raises(ProcessKilledError):
        train(interrupted, Callbacks(interrupt), ensemble=3, distill=True)
    results.clear()
    resumed = train(interrupted, Callbacks(results.append), ensemble=3, distill=True)

    assert results[0].epoch > 0
    assert resumed.key == expected.key
    assert resumed.content_hash == expected.content_hash


def test_teacher_outputs_are_selected_with_their_rows() -> None:
    config = ModelConfig(hidden_size=4)
    members = [build_network(config, build_plain_spec(2, 2), seed=seed) for seed in (1, 2)]
    teachers = Ensemble(members, "category", HeadConfig())
    data = draw_sequences(20, "category")

    distilled = add_teacher_outputs(data, teachers)

    rows = np.array([7, 3, 19])
    torch.testing.assert_close(
        distilled.select(rows).teacher_outputs_SO, distilled.teacher_outputs_SO[torch.tensor(rows)]
    )
    from_selected = add_teacher_outputs(data.select(rows), teachers)
    torch.testing.assert_close(
        from_selected.teacher_outputs_SO, distilled.select(rows).teacher_outputs_SO
    )


def test_streaming_distills_like_rows_in_memory(context: TrialContext) -> None:
    streaming = train(context, ensemble=3, distill=True, data_loading="streaming")

    in_memory = train(context, ensemble=3, distill=True)
    assert streaming.facts.data_loading == "streaming"
    assert streaming.facts.validation_loss == pytest.approx(
        in_memory.facts.validation_loss, abs=0.3
    )


@pytest.mark.parametrize(
    ("changes", "message"),
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
    home: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        load_job(write_job(home, SEARCHED | {"tuning": None} | changes))


seeds = st.integers(0, 999)


def draw_encoded(head: torch.nn.Module, seed: int) -> tuple[Encoded, Tensor, Tensor]:
    """Return encoded sequences, the head's outputs for them, and other outputs."""
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
    encoded, own, other = draw_encoded(head, seed)

    head.distillation_loss(encoded, own).backward()

    assert all(weight.grad.abs().max() < 1e-5 for weight in head.parameters())
    head.zero_grad()
    head.distillation_loss(encoded, other).backward()
    assert any(weight.grad.abs().max() > 1e-4 for weight in head.parameters())


@pytest.mark.parametrize("loss", ["mse", "mae", *DISTRIBUTION_LOSSES])
@given(seed=seeds)
def test_no_outputs_are_nearer_to_the_teacher_than_its_own(loss: Any, seed: int) -> None:
    output = build_output(HeadConfig(loss=loss))
    draw = torch.Generator().manual_seed(seed)
    teacher, other = (
        output.compute_parts(torch.randn(6, output.num_raw, generator=draw)) for _ in range(2)
    )

    assert output.distillation_loss(teacher, teacher) <= output.distillation_loss(other, teacher)
