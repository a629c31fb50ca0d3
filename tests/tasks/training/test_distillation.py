"""One network that learns from an ensemble, and serves in its place."""

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
from models.learning.callbacks import Epoch, Watch
from models.learning.validation import advised
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.category import CategoryHead
from models.networks.heads.config import SPREADING, HeadConfig
from models.networks.heads.face import Encoded
from models.networks.heads.forms import make_form
from models.networks.heads.tags import TagsHead
from models.networks.jagged import Offsets
from models.networks.network import build
from tasks.errors import JobError
from tasks.records import Candidate
from tasks.storage.artifacts import local_dir
from tasks.training.train import make_candidate
from tasks.tuning.trials import Bench
from tests.support.learning_fixtures import PulledPlugError, sequences
from tests.support.model_parts import face
from tests.support.sample_jobs import waves, write_job
from tests.support.tuning_fixtures import SEARCHED, copied, make_bench

NOBODY = Watch(lambda _: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A bench with a few hard waves, and an ensemble that has learned them."""
    bench = make_bench(tmp_path_factory.mktemp("prepared"))
    train(bench, ensemble=3)
    return bench


@pytest.fixture
def bench(prepared: Bench, tmp_path: Path) -> Bench:
    """The prepared bench, over a store of its own."""
    return copied(prepared, tmp_path / "one")


def train(bench: Bench, watch: Watch = NOBODY, **training: Any) -> Candidate:
    return make_candidate(
        bench.features,
        bench.store,
        model=bench.own.model,
        head=bench.own.head,
        training=replace(bench.own.training, epochs=6, **training),
        watch=watch,
    )


def bundle_of(bench: Bench, candidate: Candidate) -> Bundle:
    return load(local_dir(bench.store, candidate) / "bundle")


def chances(bundle: Bundle, rows: pl.DataFrame) -> np.ndarray:
    return np.array(replace(bundle, calibration=None).predict(rows)["probabilities"].to_list())


def test_the_distilled_network_is_nearer_to_the_ensemble_than_a_plain_one(bench: Bench) -> None:
    rows = waves(200, seed=5)
    ensemble = chances(bundle_of(bench, train(bench, ensemble=3)), rows)

    distilled = train(bench, ensemble=3, distil=True)

    # One that is no member of the ensemble, for those are near it anyway.
    plain = chances(bundle_of(bench, train(bench, seed=50)), rows)
    found = chances(bundle_of(bench, distilled), rows)
    assert np.abs(found - ensemble).mean() < np.abs(plain - ensemble).mean()


def test_the_bundle_holds_one_network_and_tells_who_taught_it(bench: Bench) -> None:
    ensemble = train(bench, ensemble=3)

    distilled = train(bench, ensemble=3, distil=True)

    bundle = bundle_of(bench, distilled)
    assert not isinstance(bundle.network, Ensemble)
    assert bundle.calibration is not None
    assert distilled.facts["ensemble"] == ensemble.key
    assert distilled.facts["members"] == ensemble.facts["members"]
    assert distilled.facts["parameters"] * 3 == ensemble.facts["parameters"]
    assert distilled.facts["seconds"] > ensemble.facts["seconds"]


def test_a_killed_network_goes_on_with_its_teachers_to_the_same_weights(
    bench: Bench, tmp_path: Path
) -> None:
    broken = copied(bench, tmp_path / "broken")
    expected, seen = train(bench, ensemble=3, distil=True), list[Epoch]()

    def pull(epoch: Epoch) -> None:
        seen.append(epoch)
        if len(seen) == 4:
            raise PulledPlugError

    with pytest.raises(PulledPlugError):
        train(broken, Watch(pull), ensemble=3, distil=True)
    seen.clear()
    found = train(broken, Watch(seen.append), ensemble=3, distil=True)

    assert seen[0].epoch > 0
    assert found.key == expected.key
    assert found.content_hash == expected.content_hash


def test_what_an_ensemble_says_goes_with_its_rows() -> None:
    config = ModelConfig(hidden_size=4)
    members = [build(config, face(2, 2), seed=seed) for seed in (1, 2)]
    teachers = Ensemble(members, "category", HeadConfig())
    whole = sequences(20, "category")

    told = advised(whole, teachers)

    rows = np.array([7, 3, 19])
    torch.testing.assert_close(told.picked(rows).advice_SO, told.advice_SO[torch.tensor(rows)])
    alone = advised(whole.picked(rows), teachers)
    torch.testing.assert_close(alone.advice_SO, told.picked(rows).advice_SO)


def test_rows_on_disk_are_taught_as_rows_in_memory_are(bench: Bench) -> None:
    found = train(bench, ensemble=3, distil=True, data="streamed")

    resident = train(bench, ensemble=3, distil=True)
    assert found.facts["data"] == "streamed"
    assert found.facts["validation_loss"] == pytest.approx(
        resident.facts["validation_loss"], abs=0.3
    )


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
            "texts have no mean",
        ),
    ],
)
def test_what_cannot_be_handed_on_is_refused(
    home: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        load_job(write_job(home, SEARCHED | {"tuning": None} | changes))


seeds = st.integers(0, 999)


def read(head: torch.nn.Module, seed: int) -> tuple[Encoded, Tensor, Tensor]:
    """Return what was read, the head's answers to it, and other answers."""
    draw = torch.Generator().manual_seed(seed)
    pooled = torch.randn(5, 4, generator=draw)
    encoded = Encoded(pooled, pooled, Offsets.of([1] * 5, torch.device("cpu")))
    own: Tensor = head(encoded).detach()
    return encoded, own, own + torch.randn(own.shape, generator=draw)


@pytest.mark.parametrize("kind", [CategoryHead, TagsHead])
@given(seed=seeds)
def test_to_be_told_ones_own_answer_moves_nothing(kind: Any, seed: int) -> None:
    torch.manual_seed(seed)
    head = kind(4, 3, HeadConfig())
    encoded, own, other = read(head, seed)

    head.unlike(encoded, own).backward()

    assert all(weight.grad.abs().max() < 1e-5 for weight in head.parameters())
    head.zero_grad()
    head.unlike(encoded, other).backward()
    assert any(weight.grad.abs().max() > 1e-4 for weight in head.parameters())


@pytest.mark.parametrize("error", ["squared", "absolute", *SPREADING])
@given(seed=seeds)
def test_no_number_is_nearer_to_what_is_told_than_itself(error: Any, seed: int) -> None:
    form = make_form(HeadConfig(loss=error))
    draw = torch.Generator().manual_seed(seed)
    told, other = (form.parts(torch.randn(6, form.raw, generator=draw)) for _ in range(2))

    assert form.unlike(told, told) <= form.unlike(other, told)
