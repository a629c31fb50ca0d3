"""Trees whose nodes teach: every label is an answer in training, and none is read in service."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from models.bundle import build_head_spec, map_node_labels
from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.featurizer import Featurizer
from models.features.static_covariates import NumberInput, fit_static_covariates
from models.features.tree import TreeInput, fit
from models.networks.config import ModelConfig
from models.networks.heads.base import Targets
from models.networks.jagged import Offsets
from models.networks.network import build_network
from tests.support.model_parts import BY_HASH, PLAIN, target_of

TREES = ["(1 (0 bad) (1 good))", "(0 (0 bad) (2 (5 odd) (1 good)))"]
FRAME = pl.DataFrame({"tree": TREES, "size": [1.0, 2.0]})
READ = TreeInput(column="tree", min_frequency=1, supervise_nodes=True)
MODEL = ModelConfig(cell="tree-lstm", hidden_size=4, embedding_dim=3)


def featurizer(answers: list[object], *, beside: tuple[NumberInput, ...] = ()) -> Featurizer:
    return Featurizer(
        layout=Layout(input=READ, window=None, time=None, entity=None, statics=beside),
        state=fit([FRAME], READ),
        statics=fit_static_covariates([FRAME], beside),
        target=target_of(answers, "category"),
        split=BY_HASH,
    )


def test_labels_of_the_training_trees_stand_beside_their_nodes() -> None:
    made = featurizer([0, 1])

    steps = made.transform(FRAME).steps.values_NC

    assert made.signal.labels == ("0", "1", "2", "5")
    assert steps[:, 3].tolist() == [0, 1, 1, 0, 3, 1, 2, 0]


def test_labels_that_are_no_classes_teach_nothing() -> None:
    assert map_node_labels(featurizer([0, 1])) == (0, 1, -1, -1)


def test_every_node_with_a_class_counts_as_much_as_a_root() -> None:
    made = featurizer([0, 1])
    network = build_network(MODEL, build_head_spec(made, PLAIN), seed=0).train()
    steps = torch.from_numpy(made.transform(FRAME).steps.values_NC)
    offsets = Offsets.from_lengths([3, 5])
    answers = Targets(torch.tensor([1.0, 0.0]), np.array([1, 1]))

    encoded = network.encode(steps, offsets)
    loss = network.loss(encoded, answers)
    served = network.eval().loss(network.encode(steps, offsets), answers)

    logits = network.head.scores(encoded.steps_NH)
    # The roots' own labels are not asked twice.
    asked = torch.tensor([2, 7, 0, 1, 3, 5])
    right = torch.tensor([1, 0, 0, 1, 0, 1])
    expected = torch.nn.functional.cross_entropy(logits[asked], right)
    torch.testing.assert_close(loss, expected)
    roots = torch.nn.functional.cross_entropy(logits[[2, 7]], torch.tensor([1, 0]))
    torch.testing.assert_close(served, roots)


def test_a_tree_is_answered_alike_whatever_its_labels_say() -> None:
    made = featurizer([0, 1])
    network = build_network(MODEL, build_head_spec(made, PLAIN), seed=0).eval()
    bare = pl.DataFrame({"tree": ["(x (y bad) (z good))", "(1 (1 bad) (0 (0 odd) (0 good)))"]})

    said = [
        network(
            torch.from_numpy(made.transform(frame).steps.values_NC), Offsets.from_lengths([3, 5])
        )
        for frame in (FRAME, bare)
    ]

    assert torch.equal(*said)


@pytest.mark.parametrize(
    ("answers", "model", "beside", "words"),
    [
        (["good", "bad"], MODEL, (), "no label of a node, such as '0', is a class"),
        ([0, 1], replace(MODEL, pooling="mean"), (), "set pooling: last"),
        ([0, 1], MODEL, (NumberInput(column="size"),), "remove static covariates"),
    ],
)
def test_nodes_that_cannot_teach_are_refused(answers, model, beside, words: str) -> None:
    with pytest.raises(UnlearnableError, match=words):
        build_network(model, build_head_spec(featurizer(answers, beside=beside), PLAIN), seed=0)
