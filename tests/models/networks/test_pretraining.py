"""Networks that predict the next step: what they see, what they begin with, what they hand over."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import UnlearnableError
from models.features.feature_spec import Numbers, Tokens
from models.learning.config import TrainingConfig
from models.learning.fine_tuning import RATE_DIVISOR, UNFREEZING_SHARE
from models.learning.optimizer import Optimizer
from models.networks.cell import Cell
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.heads.base import Targets
from models.networks.heads.build import HeadSpec
from models.networks.jagged import Offsets
from models.networks.layer import Layer, build_cell
from models.networks.network import Network, NetworkSpec, build_network
from models.networks.pretraining import loss as next_step_loss
from models.networks.pretraining.network import (
    NextStepNetwork,
    build_next_step_network,
    load_pretrained_weights,
    select_pretrained_weights,
)
from models.networks.pretraining.weight_drop import drop_recurrent_weights

CAUSAL = [
    name
    for name, family in FAMILIES.items()
    if family.causal and family.reads == "steps" and family.extra is None
]

IDS = 40

NO_TARGETS = Targets(torch.zeros(0), np.zeros(0, np.int64))

OFFSETS = Offsets.from_lengths([6, 1, 9])


def build_spec(ids: int = IDS) -> NetworkSpec:
    return NetworkSpec(Tokens(size=ids), head=HeadSpec(kind="category", num_classes=3))


def build_token_network(ids: int = IDS, **model: object) -> NextStepNetwork:
    config = ModelConfig(**({"hidden_size": 8, "embedding_dim": 12} | model))
    return build_next_step_network(config, build_spec(ids), seed=3)


def draw_ids(ids: int = IDS, steps: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randint(ids, (steps, 1), generator=torch.Generator().manual_seed(seed))


def shake_outputs(network: NextStepNetwork) -> None:
    """Let predictions depend on what is read, as they do after a step of training."""
    for decoder in network.head.decoders:
        torch.nn.init.normal_(decoder.projection.weight)


def measure_errors(network: NextStepNetwork, values_NC: torch.Tensor) -> torch.Tensor:
    """Return the sum of errors of each sequence."""
    with torch.no_grad():
        return network.eval().encode(values_NC, OFFSETS).pooled_BP[:, 0]


@pytest.mark.parametrize("cell", CAUSAL)
def test_no_direction_reads_the_step_that_it_predicts(cell: str) -> None:
    network = build_token_network(cell=cell, bidirectional=True, num_layers=2, residual=True)
    network.eval()
    values_NC, changed_NC = draw_ids(), draw_ids()
    changed_NC[9] = (changed_NC[9] + 1) % IDS

    with torch.no_grad():
        forward_NH, backward_NH = network.encode(values_NC, OFFSETS).steps_NH.split(8, dim=1)
        forward_other_NH, backward_other_NH = network.encode(changed_NC, OFFSETS).steps_NH.split(
            8, dim=1
        )

    # The changed step is the third of the last sequence, and its seventh from the end.
    torch.testing.assert_close(forward_NH[7:9], forward_other_NH[7:9])
    torch.testing.assert_close(backward_NH[7:13], backward_other_NH[7:13])
    assert not torch.allclose(forward_NH[9], forward_other_NH[9])
    assert not torch.allclose(backward_NH[13], backward_other_NH[13])


def test_the_two_directions_of_one_layer_are_those_of_the_classifier() -> None:
    config = ModelConfig(hidden_size=8, embedding_dim=12, bidirectional=True)
    network = build_next_step_network(config, build_spec(), seed=3).eval()
    layer = network.layers[0]
    assert isinstance(layer, Layer)
    vectors_NC, _ = network.front(draw_ids(), OFFSETS)

    with torch.no_grad():
        both_NH = layer.outputs(vectors_NC, OFFSETS)
        backward_NH = network.read(vectors_NC, OFFSETS, direction=1)

    torch.testing.assert_close(both_NH[:, :8], network.read(vectors_NC, OFFSETS, direction=0))
    torch.testing.assert_close(both_NH[:, 8:], OFFSETS.reverse(backward_NH))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_first_predictions_are_the_frequencies_of_the_tokens(bidirectional: bool) -> None:
    network, values_NC = build_token_network(bidirectional=bidirectional), draw_ids()
    counts_V = torch.arange(IDS)
    network.head.fit_frequencies(counts_V)

    errors_B = measure_errors(network, values_NC)

    log_share_V = torch.log((counts_V + 1.0) / (counts_V + 1.0).sum())
    assert errors_B[1] == 0
    first_sequence = values_NC[:6, 0]
    expected = -log_share_V[first_sequence[1:]].sum()
    if bidirectional:
        expected = expected - log_share_V[first_sequence[:-1]].sum()
    assert float(errors_B[0]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        {"cell": "rnn"},
        {"cell": "lstm"},
        {"cell": "gru"},
        {"cell": "slstm"},
        {"cell": "lstm", "layer_norm": True},
    ],
    ids=lambda model: "-".join(map(str, model.values())),
)
def test_recurrent_weights_are_dropped_in_a_context_and_learn_through_it(
    model: dict[str, object],
) -> None:
    cell = build_cell(ModelConfig(hidden_size=8, **model), inputs=5)
    assert isinstance(cell, Cell)
    values_NI = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    names, before_NH = (
        [name for name, _ in cell.named_parameters()],
        cell.outputs(values_NI, OFFSETS),
    )

    torch.manual_seed(1)
    with drop_recurrent_weights(cell, 0.9):
        dropped_NH = cell.outputs(values_NI, OFFSETS)
    dropped_NH.square().sum().backward()

    [name] = cell.recurrent_weights
    gradient = cell.get_parameter(name).grad
    assert gradient is not None
    assert 0.5 < float((gradient == 0).double().mean()) < 1.0
    assert not torch.allclose(dropped_NH, before_NH)
    # The first step of a sequence has no state to multiply.
    torch.testing.assert_close(dropped_NH[:1], before_NH[:1])
    torch.testing.assert_close(cell.outputs(values_NI, OFFSETS), before_NH)
    assert [name for name, _ in cell.named_parameters()] == names


def test_a_sampled_softmax_agrees_with_the_full_one_in_a_large_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = next_step_loss.MAX_FULL_SOFTMAX + 1
    network = build_token_network(ids)
    network.head.fit_frequencies(torch.arange(ids) % 50)
    shake_outputs(network)
    vectors_PD = torch.randn(30, 12, generator=torch.Generator().manual_seed(1))
    next_P = draw_ids(ids, 30)[:, 0]
    [decoder] = network.head.decoders

    full_P = decoder.compute_full_errors(vectors_PD, next_P)
    torch.manual_seed(1)
    small_P = decoder.compute_sampled_errors(vectors_PD, next_P)
    monkeypatch.setattr(next_step_loss, "SAMPLED_IDS", 200_000)
    large_P = decoder.compute_sampled_errors(vectors_PD, next_P)

    torch.testing.assert_close(large_P, full_P, rtol=0, atol=0.05)
    torch.testing.assert_close(small_P, full_P, rtol=0, atol=0.8)
    assert not torch.equal(small_P, full_P)


def test_output_weights_are_the_embeddings() -> None:
    network = build_token_network(bidirectional=True)
    embedding = network.front.embedding
    network.head.fit_frequencies(torch.ones(IDS))
    shake_outputs(network)

    network.train()
    network.loss(network.encode(draw_ids(), OFFSETS), NO_TARGETS).backward()

    assert all(decoder.embedding is embedding for decoder in network.head.decoders)
    # Ids that were not read get a gradient from the softmax alone.
    unread = sorted(set(range(IDS)) - set(draw_ids()[:, 0].tolist()))
    assert embedding.weight.grad is not None
    assert bool(embedding.weight.grad[unread].abs().sum(dim=1).gt(0).all())


def test_long_batches_predict_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    network, counted = build_token_network(), []
    [decoder] = network.head.decoders
    decoder.register_forward_hook(lambda *call: counted.append(len(call[2])))
    monkeypatch.setattr(next_step_loss, "MAX_PAIRS", 10)

    network.train()
    network.loss(network.encode(draw_ids(), OFFSETS), NO_TARGETS)
    measure_errors(network, draw_ids())

    assert counted == [10, 13]


def test_of_numbers_the_difference_to_the_last_step_is_predicted() -> None:
    config = ModelConfig(hidden_size=8)
    network = build_next_step_network(config, NetworkSpec(Numbers(channels=2)), seed=3)
    [decoder] = network.head.decoders
    torch.nn.init.zeros_(decoder.output.weight)
    torch.nn.init.zeros_(decoder.output.bias)
    values_NC = torch.arange(32.0).view(16, 2)

    errors_B = measure_errors(network, values_NC)

    assert errors_B.tolist() == [5 * 4.0, 0.0, 8 * 4.0]


@pytest.mark.parametrize(
    ("model", "reason"),
    [({"cell": "cnn"}, "a cnn does not read step by step"), ({"downsample": 2}, "downsample: 1")],
)
def test_networks_that_have_no_next_step_are_refused(model: dict[str, object], reason: str) -> None:
    with pytest.raises(UnlearnableError, match=reason):
        build_token_network(**model)


@pytest.mark.parametrize("parallel_branch", ["none", "fcn"])
def test_a_classifier_takes_over_the_front_and_the_layers(parallel_branch: str) -> None:
    config = ModelConfig(
        hidden_size=8,
        embedding_dim=12,
        bidirectional=True,
        num_layers=2,
        pooling="attention",
        parallel_branch=parallel_branch,
    )
    pretrained = build_next_step_network(config, build_spec(), seed=3)
    classifier = build_network(config, build_spec(), seed=4)
    own_head = classifier.head.state_dict()

    load_pretrained_weights(classifier, select_pretrained_weights(pretrained))

    for part in ("front", "encoder"):
        expected = getattr(pretrained, part).state_dict()
        for name, weight in getattr(classifier, part).state_dict().items():
            assert torch.equal(weight, expected[name])
    for name, weight in classifier.head.state_dict().items():
        assert torch.equal(weight, own_head[name])
    with pytest.raises(ValueError, match="weights of another network"):
        load_pretrained_weights(
            build_network(replace(config, num_layers=1), build_spec(), seed=4),
            select_pretrained_weights(pretrained),
        )


def build_classifier() -> Network:
    return build_network(
        ModelConfig(hidden_size=8, embedding_dim=12, num_layers=2), build_spec(), seed=3
    )


def take_gradient_step(network: Network, *, share_done: float) -> dict[str, float]:
    """Return how far the weights of each part move, on average, in one step."""
    optimizer = Optimizer(network, TrainingConfig(pretrain="next_step", weight_decay=0.0))
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.share_done = share_done
    optimizer.step(0.01)
    moved = {
        name: float((weight.detach() - before[name]).abs().mean())
        for name, weight in network.named_parameters()
    }
    parts = {
        "front": "front.",
        "first": "encoder.layers.0",
        "second": "encoder.layers.1",
        "head": "head.",
    }
    return {
        part: float(np.mean([moved[name] for name in moved if name.startswith(prefix)]))
        for part, prefix in parts.items()
    }


def test_lower_parts_of_a_pretrained_network_learn_more_slowly() -> None:
    moved = take_gradient_step(build_classifier(), share_done=1.0)

    rates = [moved[part] / moved["head"] for part in ("second", "first", "front")]
    assert rates == pytest.approx([RATE_DIVISOR**-depth for depth in (1, 2, 3)], rel=1e-3)


@pytest.mark.parametrize("unfrozen", [1, 2, 3, 4])
def test_parts_of_a_pretrained_network_begin_to_learn_from_the_head_down(unfrozen: int) -> None:
    moved = take_gradient_step(
        build_classifier(), share_done=UNFREEZING_SHARE * (unfrozen - 1) + 1e-6
    )

    from_the_top = [moved[part] > 0 for part in ("head", "second", "first", "front")]
    assert from_the_top == [depth < unfrozen for depth in range(4)]


def test_perplexity_of_a_learned_language_is_that_of_its_choices() -> None:
    """In a language where each token is followed by one of two, the perplexity nears two."""
    draw = np.random.default_rng(1)
    texts = [[0]]
    for text in texts[:1]:
        while len(text) < 1_600:
            text.append((2 * text[-1] + int(draw.integers(2))) % 16)
    values_NC = torch.tensor(texts[0])[:, None]
    network = build_token_network(16, embedding_dim=16, hidden_size=16)
    offsets = Offsets.from_equal_lengths(100, 16, torch.device("cpu"))
    network.head.fit_frequencies(torch.bincount(values_NC[:, 0], minlength=16))
    optimizer = Optimizer(network, TrainingConfig())

    torch.manual_seed(1)
    for _ in range(120):
        optimizer.zero_grad()
        network.train()
        network.loss(network.encode(values_NC, offsets), NO_TARGETS).backward()
        optimizer.step(0.02)
    with torch.no_grad():
        errors, count = network.eval().encode(values_NC, offsets).pooled_BP.sum(dim=0).tolist()

    assert count == 1_500
    assert 1.9 < math.exp(errors / count) < 3.0
