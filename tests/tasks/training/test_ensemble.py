"""Networks that differ in their seed alone answer as one, in one bundle."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flows.job.job import load_job
from models.bundle import Bundle, load, save
from models.learning.loop import Epoch, Watch
from models.networks.ensemble import (
    Ensemble,
    mean_classes,
    mean_labels,
    mixed_gaussians,
    mixed_students,
)
from tasks.errors import JobError
from tasks.records import Candidate
from tasks.storage.artifacts import local_dir
from tasks.training.train import make_candidate
from tasks.tuning.trials import Bench
from tests.support.learning_fixtures import PulledPlugError
from tests.support.sample_jobs import waves, write_job
from tests.support.tuning_fixtures import SEARCHED, make_bench

NOBODY = Watch(lambda _: None)


def train(bench: Bench, watch: Watch = NOBODY, **training: object) -> Candidate:
    return make_candidate(
        bench.features,
        bench.store,
        model=bench.own.model,
        head=bench.own.head,
        training=replace(bench.own.training, **training),
        watch=watch,
    )


def bundle_of(bench: Bench, candidate: Candidate) -> Bundle:
    return load(local_dir(bench.store, candidate) / "bundle")


def test_an_ensemble_answers_with_the_mean_of_its_networks_chances(tmp_path: Path) -> None:
    bench, rows = make_bench(tmp_path), waves(20, seed=5)
    alone = [bundle_of(bench, train(bench, seed=seed)) for seed in (7, 8, 9)]

    together = bundle_of(bench, train(bench, ensemble=3)).predict(rows)

    expected = np.mean([one.predict(rows)["probabilities"].to_list() for one in alone], axis=0)
    np.testing.assert_allclose(together["probabilities"].to_list(), expected, atol=1e-6)
    assert set(together["status"]) == {"ok"}


def test_a_larger_ensemble_trains_only_the_networks_that_are_new(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    few, seen = train(bench, ensemble=2), list[Epoch]()

    more = train(bench, Watch(seen.append), ensemble=3)

    assert more.facts["members"][:2] == few.facts["members"]
    assert [epoch.epoch for epoch in seen] == list(range(bench.own.training.epochs))


def test_a_killed_ensemble_goes_on_with_the_network_that_was_at_work(tmp_path: Path) -> None:
    whole, broken = make_bench(tmp_path / "whole"), make_bench(tmp_path / "broken")
    expected, seen = train(whole, ensemble=2), list[Epoch]()

    def pull(epoch: Epoch) -> None:
        seen.append(epoch)
        if len(seen) == 6:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        train(broken, Watch(pull), ensemble=2)
    seen.clear()
    found = train(broken, Watch(seen.append), ensemble=2)

    assert [epoch.epoch for epoch in seen] == [1, 2, 3] or [e.epoch for e in seen] == [2, 3]
    assert found.key == expected.key
    for name in ("network_1.safetensors", "network_2.safetensors"):
        files = [
            local_dir(bench.store, candidate) / "bundle" / name
            for bench, candidate in ((whole, expected), (broken, found))
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_bundle_of_one_network_is_as_it_was_and_older_ones_load(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bundle, rows = bundle_of(bench, train(bench)), waves(9, seed=5)
    folder = tmp_path / "older"
    save(bundle, folder)
    spec = json.loads((folder / "bundle.json").read_text("utf-8"))
    del spec["networks"]
    (folder / "bundle.json").write_text(json.dumps(spec | {"format": 4}), "utf-8")

    older = load(folder)

    assert (folder / "network.safetensors").exists()
    assert older.predict(rows).equals(bundle.predict(rows))
    assert not isinstance(older.network, Ensemble)


def test_texts_have_no_mean_and_say_what_to_do(home: Path) -> None:
    job = SEARCHED | {
        "target": {"column": "label", "kind": "text"},
        "training": {"ensemble": 3},
        "tuning": None,
    }

    with pytest.raises(JobError, match=r"training.ensemble: .*texts have no mean; remove it"):
        load_job(write_job(home, job))


scores = st.integers(0, 999).map(
    lambda seed: 6 * torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(seed))
)


@given(answers=scores)
def test_means_of_chances_are_chances_again(answers: torch.Tensor) -> None:
    classes, labels = mean_classes(answers), mean_labels(answers)

    torch.testing.assert_close(classes.softmax(1), answers.softmax(2).mean(0))
    torch.testing.assert_close(labels.sigmoid(), answers.sigmoid().mean(0))


@given(answers=scores)
def test_a_mixture_is_never_surer_than_its_parts_in_the_mean(answers: torch.Tensor) -> None:
    answers[..., 1::2] = answers[..., 1::2].abs() + 0.1

    mixed = mixed_gaussians(answers)

    torch.testing.assert_close(mixed[:, ::2], answers[..., ::2].mean(0))
    least = answers[..., 1::2].square().mean(0).sqrt()
    assert (mixed[:, 1::2] >= least - 1e-5).all()


@given(answers=scores)
def test_equal_distributions_mix_to_themselves(answers: torch.Tensor) -> None:
    answers = answers[:1].abs().add(3.0).expand(3, -1, -1)

    torch.testing.assert_close(mixed_gaussians(answers), answers[0])
    torch.testing.assert_close(mixed_students(answers), answers[0])
