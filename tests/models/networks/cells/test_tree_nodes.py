"""Trees with supervised nodes: every label is a target in training, and none is an input."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from models.bundle import build_network_spec, map_node_labels
from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.featurizer import Featurizer
from models.features.static_covariates import NumberInput, fit_static_covariates
from models.features.tree import TreeInput, fit
from models.networks.config import ModelConfig
from models.networks.heads.base import Targets
from models.networks.jagged import Offsets
from models.networks.network import build_network
from tests.support.model_parts import BY_HASH, DEFAULT_HEAD, fit_label_target

TREES = ["(1 (0 bad) (1 good))", "(0 (0 bad) (2 (5 odd) (1 good)))"]
FRAME = pl.DataFrame({"tree": TREES, "size": [1.0, 2.0]})
READ = TreeInput(column="tree", min_frequency=1, supervise_nodes=True)
MODEL = ModelConfig(cell="tree-lstm", hidden_size=4, embedding_dim=3)


def featurizer(targets: list[object], *, statics: tuple[NumberInput, ...] = ()) -> Featurizer:
    return Featurizer(
        layout=Layout(input=READ, window=None, time=None, entity=None, static_inputs=statics),
        state=fit([FRAME], READ),
        static_state=fit_static_covariates([FRAME], statics),
        target=fit_label_target(targets, "category"),
        split=BY_HASH,
    )


def test_labels_of_the_training_trees_are_stored_with_their_nodes() -> None:
    fitted = featurizer([0, 1])

    steps = fitted.transform(FRAME).steps.values_NC

    assert fitted.feature_spec.labels == ("0", "1", "2", "5")
    assert steps[:, 3].tolist() == [0, 1, 1, 0, 3, 1, 2, 0]


def test_labels_that_are_no_classes_give_no_gradient() -> None:
    assert map_node_labels(featurizer([0, 1])) == (0, 1, -1, -1)


def test_every_labeled_node_has_the_weight_of_a_root_in_the_loss() -> None:
    fitted = featurizer([0, 1])
    network = build_network(MODEL, build_network_spec(fitted, DEFAULT_HEAD), seed=0).train()
    steps = torch.from_numpy(fitted.transform(FRAME).steps.values_NC)
    offsets = Offsets.from_lengths([3, 5])
    targets = Targets(torch.tensor([1.0, 0.0]), np.array([1, 1]))

    encoded = network.encode(steps, offsets)
    loss = network.loss(encoded, targets)
    evaluation_loss = network.eval().loss(network.encode(steps, offsets), targets)

    logits = network.head.scores(encoded.steps_NH)
    # The roots' own labels are not counted twice.
    classes = torch.tensor([2, 7, 0, 1, 3, 5])
    right = torch.tensor([1, 0, 0, 1, 0, 1])
    expected = torch.nn.functional.cross_entropy(logits[classes], right)
    torch.testing.assert_close(loss, expected)
    roots = torch.nn.functional.cross_entropy(logits[[2, 7]], torch.tensor([1, 0]))
    torch.testing.assert_close(evaluation_loss, roots)


def test_the_prediction_for_a_tree_does_not_depend_on_its_labels() -> None:
    fitted = featurizer([0, 1])
    network = build_network(MODEL, build_network_spec(fitted, DEFAULT_HEAD), seed=0).eval()
    table = pl.DataFrame({"tree": ["(x (y bad) (z good))", "(1 (1 bad) (0 (0 odd) (0 good)))"]})

    logits = [
        network(
            torch.from_numpy(fitted.transform(frame).steps.values_NC), Offsets.from_lengths([3, 5])
        )
        for frame in (FRAME, table)
    ]

    assert torch.equal(*logits)


@pytest.mark.parametrize(
    ("targets", "model", "statics", "message"),
    [
        (["good", "bad"], MODEL, (), "no label of a node, such as '0', is a class"),
        ([0, 1], replace(MODEL, pooling="mean"), (), "set pooling: last"),
        ([0, 1], MODEL, (NumberInput(column="size"),), "remove static covariates"),
    ],
)
def test_supervised_nodes_are_rejected_where_they_cannot_be_trained(
    targets, model, statics, message: str
) -> None:
    with pytest.raises(UnlearnableError, match=message):
        build_network(
            model, build_network_spec(featurizer(targets, statics=statics), DEFAULT_HEAD), seed=0
        )
