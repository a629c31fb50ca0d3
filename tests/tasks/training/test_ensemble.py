"""An ensemble of networks that differ only in their seed is one bundle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flows.job.job import load_job
from models.bundle import Bundle, load_bundle, save_bundle
from models.learning.loop import Callbacks, EpochResult
from models.networks.ensemble import (
    Ensemble,
    average_classes,
    average_labels,
    mix_gaussians,
    mix_students,
)
from tasks.errors import JobError
from tasks.records import Candidate
from tasks.storage.artifacts import local_dir
from tasks.training.train import make_candidate
from tasks.tuning.trials import TrialContext
from tests.support.learning_fixtures import ProcessKilledError
from tests.support.sample_jobs import make_waves, write_job
from tests.support.tuning_fixtures import SEARCHED, make_trial_context

NO_CALLBACKS = Callbacks(lambda _: None)


def train(
    context: TrialContext, callbacks: Callbacks = NO_CALLBACKS, **training: object
) -> Candidate:
    return make_candidate(
        context.features,
        context.store,
        model=context.base.model,
        head=context.base.head,
        training=replace(context.base.training, **training),
        callbacks=callbacks,
    )


def load_trained_bundle(context: TrialContext, candidate: Candidate) -> Bundle:
    return load_bundle(local_dir(context.store, candidate) / "bundle")


def test_an_ensemble_predicts_the_mean_of_its_networks_probabilities(tmp_path: Path) -> None:
    context, rows = make_trial_context(tmp_path), make_waves(20, seed=5)
    networks = [load_trained_bundle(context, train(context, seed=seed)) for seed in (7, 8, 9)]

    together = load_trained_bundle(context, train(context, ensemble=3)).predict(rows)

    expected = np.mean([one.predict(rows)["probabilities"].to_list() for one in networks], axis=0)
    np.testing.assert_allclose(together["probabilities"].to_list(), expected, atol=1e-6)
    assert set(together["status"]) == {"ok"}


def test_a_larger_ensemble_trains_only_its_new_networks(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)
    small, results = train(context, ensemble=2), list[EpochResult]()

    large = train(context, Callbacks(results.append), ensemble=3)

    assert large.facts.members[:2] == small.facts.members
    assert [epoch.epoch for epoch in results] == list(range(context.base.training.epochs))


def test_a_killed_ensemble_resumes_the_network_that_was_being_trained(tmp_path: Path) -> None:
    whole, interrupted = (
        make_trial_context(tmp_path / "whole"),
        make_trial_context(tmp_path / "interrupted"),
    )
    expected, results = train(whole, ensemble=2), list[EpochResult]()

    def interrupt(epoch: EpochResult) -> None:
        results.append(epoch)
        if len(results) == 6:
            raise ProcessKilledError

    with pytest.raises(ProcessKilledError):
        train(interrupted, Callbacks(interrupt), ensemble=2)
    results.clear()
    resumed = train(interrupted, Callbacks(results.append), ensemble=2)

    assert [epoch.epoch for epoch in results] == [1, 2, 3] or [e.epoch for e in results] == [2, 3]
    assert resumed.key == expected.key
    for name in ("network_1.safetensors", "network_2.safetensors"):
        files = [
            local_dir(context.store, candidate) / "bundle" / name
            for context, candidate in ((whole, expected), (interrupted, resumed))
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_bundle_of_one_network_is_stored_and_loaded_as_one(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)
    bundle, rows = load_trained_bundle(context, train(context)), make_waves(9, seed=5)
    folder = tmp_path / "copy"

    save_bundle(bundle, folder)

    copy = load_bundle(folder)
    assert (folder / "network.safetensors").exists()
    assert copy.predict(rows).equals(bundle.predict(rows))
    assert not isinstance(copy.network, Ensemble)


def test_an_ensemble_for_texts_is_refused_with_a_hint(home: Path) -> None:
    job = SEARCHED | {
        "target": {"column": "label", "kind": "text"},
        "training": {"ensemble": 3},
        "tuning": None,
    }

    with pytest.raises(JobError, match=r"training.ensemble: .*texts cannot be averaged; remove it"):
        load_job(write_job(home, job))


scores = st.integers(0, 999).map(
    lambda seed: 6 * torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(seed))
)


@given(outputs=scores)
def test_means_of_probabilities_are_probabilities(outputs: torch.Tensor) -> None:
    classes, labels = average_classes(outputs), average_labels(outputs)

    torch.testing.assert_close(classes.softmax(1), outputs.softmax(2).mean(0))
    torch.testing.assert_close(labels.sigmoid(), outputs.sigmoid().mean(0))


@given(outputs=scores)
def test_a_mixture_is_never_narrower_than_the_mean_of_its_parts(outputs: torch.Tensor) -> None:
    outputs[..., 1::2] = outputs[..., 1::2].abs() + 0.1

    mixed = mix_gaussians(outputs)

    torch.testing.assert_close(mixed[:, ::2], outputs[..., ::2].mean(0))
    rms_std = outputs[..., 1::2].square().mean(0).sqrt()
    assert (mixed[:, 1::2] >= rms_std - 1e-5).all()


@given(outputs=scores)
def test_equal_distributions_mix_to_themselves(outputs: torch.Tensor) -> None:
    outputs = outputs[:1].abs().add(3.0).expand(3, -1, -1)

    torch.testing.assert_close(mix_gaussians(outputs), outputs[0])
    torch.testing.assert_close(mix_students(outputs), outputs[0])
