"""Heads whose predictions are lists: tags, texts, forecasts and reconstructions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.features.feature_spec import Numbers, Tokens
from models.networks.config import ModelConfig
from models.networks.heads.attention import AttentionHead, DecoderSizes, collect_steps
from models.networks.heads.base import Encoded, Targets
from models.networks.heads.build import HeadSpec
from models.networks.heads.config import HeadConfig
from models.networks.heads.ctc import CtcHead, count_min_steps
from models.networks.heads.tags import TagsHead
from models.networks.jagged import Offsets
from models.networks.network import Network, NetworkSpec, build_network

UNITS = 6

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def read(lengths: list[int], seed: int = 0) -> Encoded:
    draw = torch.Generator().manual_seed(seed)
    offsets = Offsets.from_lengths(lengths)
    steps = torch.randn(offsets.num_steps, UNITS, generator=draw)
    return Encoded(steps, steps[offsets.last_B], offsets)


def build_targets(lists: list[list[float]]) -> Targets:
    flat = [value for values in lists for value in values]
    return Targets(torch.tensor(flat), np.array([len(values) for values in lists], np.int64))


def alone(encoded: Encoded, row: int) -> Encoded:
    first, stop = encoded.offsets.bounds[row : row + 2]
    return Encoded(
        encoded.steps_NH[first:stop],
        encoded.pooled_BP[row : row + 1],
        Offsets.from_lengths([stop - first]),
    )


def build_head(head, *args, seed: int = 1, **more):
    torch.manual_seed(seed)
    return head(*args, **more).eval()


def writer(beam: int = 1, longest: int = 5) -> AttentionHead:
    size = DecoderSizes(units=UNITS, pooled=UNITS, hidden=7, num_symbols=4, max_length=longest)
    return build_head(AttentionHead, size, dropout=0.0, config=HeadConfig(beam_size=beam))


# --- tags


@given(st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=6))
def test_the_loss_of_a_tag_is_the_binary_cross_entropy(labels: list[set[int]]) -> None:
    head, encoded = build_head(TagsHead, UNITS, 4, HeadConfig()), read([1] * len(labels))
    target = torch.tensor([[float(code in row) for code in range(4)] for row in labels])

    loss = head.loss(encoded, build_targets([[*map(float, row)] for row in labels]))

    expected = functional.binary_cross_entropy_with_logits(head(encoded), target)
    torch.testing.assert_close(loss, expected)


def test_a_tag_that_is_not_in_the_training_rows_has_no_output() -> None:
    head, encoded = build_head(TagsHead, UNITS, 4, HeadConfig()), read([1, 1])

    with_it = head.loss(encoded, build_targets([[1.0, -1.0], []]))

    torch.testing.assert_close(with_it, head.loss(encoded, build_targets([[1.0], []])))


def test_the_presence_and_absence_of_balanced_tags_have_equal_weights() -> None:
    head = build_head(TagsHead, UNITS, 2, HeadConfig(class_weights="balanced"))

    head.set_class_weights(torch.tensor([5, 40]), 50)

    assert head.weight_O.tolist() == [9.0, 0.25]


# --- CTC


@given(sizes, st.integers(0, 99))
def test_ctc_decodes_the_best_path_without_repeats(lengths: list[int], seed: int) -> None:
    head, encoded = build_head(CtcHead, UNITS, 3), read(lengths, seed)
    best = head.scores(encoded.steps_NH).argmax(dim=1).tolist()

    result = head(encoded)

    for row, (first, stop) in enumerate(
        zip(encoded.offsets.bounds[:-1], encoded.offsets.bounds[1:], strict=True)
    ):
        path = best[first:stop]
        valid = [s for at, s in enumerate(path) if s != 3 and (at == 0 or s != path[at - 1])]
        written = [value for value in result[row, 1:].tolist() if value >= 0]
        assert written == valid


@given(sizes, st.integers(0, 99))
def test_the_ctc_loss_is_that_of_torch_for_each_sequence_alone(
    lengths: list[int], seed: int
) -> None:
    head, encoded = build_head(CtcHead, UNITS, 3), read(lengths, seed)
    right = [[1.0 + (index % 2) for index in range(length // 2)] for length in lengths]

    loss = head.loss(encoded, build_targets(right))

    losses = []
    for row, symbols in enumerate(right):
        own = alone(encoded, row)
        log_probs = functional.log_softmax(head.scores(own.steps_NH), dim=1)
        one = functional.ctc_loss(
            log_probs[:, None],
            torch.tensor([symbols]).long(),
            torch.tensor([len(log_probs)]),
            torch.tensor([len(symbols)]),
            blank=3,
            reduction="sum",
        )
        losses.append(one.item() / max(len(symbols), 1))
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_steps_that_a_text_needs_count_equal_neighbors_twice() -> None:
    assert count_min_steps(build_targets([[1.0, 1.0, 2.0], [], [2.0, 2.0, 2.0]])).tolist() == [
        4,
        0,
        5,
    ]


# --- attention


@given(sizes, st.integers(0, 99))
def test_the_decoder_is_trained_on_the_probabilities_that_it_decodes_with(
    lengths: list[int], seed: int
) -> None:
    head, encoded = writer(), read(lengths, seed)
    draw = np.random.default_rng(seed)
    right = [draw.integers(1, 4, draw.integers(0, 5)).astype(float).tolist() for _ in lengths]

    loss = head.loss(encoded, build_targets(right))

    costs = []
    for row, symbols in enumerate(right):
        own = alone(encoded, row)
        memory, state = collect_steps(own), torch.tanh(head.start(own.pooled_BP))
        last = head.begin
        for symbol in [*map(int, symbols), head.end]:
            _, (state,) = head.cell.step(head.embedding(torch.tensor([last])), (state,))
            context = head.attend(state[:, None], memory)[:, 0]
            log_probs = functional.log_softmax(head.compute_logits(state, context), dim=1)
            costs.append(-log_probs[0, symbol].item())
            last = symbol
    assert loss.item() == pytest.approx(np.mean(costs), rel=1e-4)


@given(sizes, st.integers(0, 99))
def test_a_wider_beam_never_finds_a_less_probable_text(lengths: list[int], seed: int) -> None:
    narrow, wide, encoded = writer(beam=1), writer(beam=64), read(lengths, seed)

    one, many = narrow(encoded), wide(encoded)

    assert (many[:, 0] >= one[:, 0] - 1e-5).all()


def test_a_beam_of_all_texts_finds_the_most_probable_one() -> None:
    head, encoded = writer(beam=25, longest=-1), read([3])
    memory = collect_steps(encoded)

    def compute_log_probs(text: list[int]) -> float:
        state, last, total = torch.tanh(head.start(encoded.pooled_BP)), head.begin, 0.0
        for symbol in text:
            _, (state,) = head.cell.step(head.embedding(torch.tensor([last])), (state,))
            context = head.attend(state[:, None], memory)[:, 0]
            total += functional.log_softmax(head.compute_logits(state, context), dim=1)[
                0, symbol
            ].item()
            last = symbol
        return total / len(text)

    # One symbol at most and the end, or two symbols without one.
    whole = [[head.end], *([a, head.end] for a in range(4))]
    cut = [[a, b] for a in range(4) for b in range(4)]
    best = max(map(compute_log_probs, [*whole, *cut]))

    assert head(encoded)[0, 0].item() == pytest.approx(best, rel=1e-4)


@settings(deadline=None)
@pytest.mark.parametrize("make", [lambda: build_head(CtcHead, UNITS, 3), lambda: writer(beam=3)])
@given(lengths=sizes, seed=st.integers(0, 99))
def test_a_text_does_not_depend_on_its_batch(make, lengths: list[int], seed: int) -> None:
    head, encoded = make(), read(lengths, seed)

    together = head(encoded)

    for row in range(len(lengths)):
        one = head(alone(encoded, row))[0].tolist()
        other = together[row].tolist()
        assert other[0] == pytest.approx(one[0], rel=1e-4)
        assert [x for x in other[1:] if x >= 0] == [x for x in one[1:] if x >= 0]


# --- forecasts and self-supervised heads, through the network


def network(
    kind: str, *, tokens: bool = False, normalization: str = "none", **head: object
) -> Network:
    config = ModelConfig(cell="gru", hidden_size=5, embedding_dim=4)
    settings_of = HeadConfig(normalization=normalization, **head)
    spec = HeadSpec(kind=kind, horizon=4, config=settings_of)
    features = Tokens(size=9) if tokens else Numbers(channels=3)
    channel = 1 if kind == "forecast" else -1
    network_spec = NetworkSpec(
        features=features,
        head=spec,
        target_channels=() if channel < 0 else (channel,),
        num_observed=2,
    )
    return build_network(config, network_spec, seed=2).eval()


def steps(lengths: list[int], *, tokens: bool = False, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    if tokens:
        return torch.randint(9, (total, 1), generator=draw, dtype=torch.int32)
    return torch.randn(total, 3, generator=draw)


@settings(deadline=None)
@pytest.mark.parametrize("normalization", ["none", "nlinear", "revin"])
@pytest.mark.parametrize("decoder", ["direct", "patches", "recursive"])
@given(lengths=sizes)
def test_a_forecast_does_not_depend_on_its_batch(
    normalization, decoder, lengths: list[int]
) -> None:
    patch_length = 2 if decoder == "patches" else 1
    model = network(
        "forecast", normalization=normalization, decoder=decoder, patch_length=patch_length
    )
    values, offsets = steps(lengths), Offsets.from_lengths(lengths)

    together = model(values, offsets)

    assert together.shape == (len(lengths), 4)
    for row, (first, stop) in enumerate(zip(offsets.bounds[:-1], offsets.bounds[1:], strict=True)):
        one = model(values[first:stop], Offsets.from_lengths([stop - first]))
        torch.testing.assert_close(together[row], one[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decoder", ["direct", "patches", "recursive"])
@pytest.mark.parametrize(("normalization", "scale"), [("nlinear", 1.0), ("revin", 3.0)])
def test_a_normalized_forecast_is_shifted_with_its_series(decoder, normalization, scale) -> None:
    model = network("forecast", normalization=normalization, decoder=decoder)
    values, offsets = steps([8, 5]), Offsets.from_lengths([8, 5])
    shifted = values.clone()
    shifted[:, :2] = shifted[:, :2] * scale + 100.0

    here, there = model(values, offsets), model(shifted, offsets)

    torch.testing.assert_close(there, here * scale + 100.0, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("decoder", ["direct", "patches", "recursive"])
@pytest.mark.parametrize(("normalization", "scale"), [("nlinear", 1.0), ("revin", 3.0)])
def test_each_column_of_a_forecast_is_shifted_with_its_own_series(
    decoder, normalization, scale
) -> None:
    head = HeadConfig(
        normalization=normalization, decoder=decoder, patch_length=2 if decoder == "patches" else 1
    )
    spec = NetworkSpec(
        features=Numbers(channels=3),
        head=HeadSpec(kind="forecast", horizon=4, num_columns=2, config=head),
        target_channels=(1, 0),
        num_observed=2,
    )
    config = ModelConfig(cell="gru", hidden_size=5)
    model = build_network(config, spec, seed=2).eval()
    values, offsets = steps([8, 5]), Offsets.from_lengths([8, 5])
    shifted = values.clone()
    shifted[:, 0] = shifted[:, 0] * scale + 100.0
    shifted[:, 1] = shifted[:, 1] * scale - 7.0

    here, there = (model(each, offsets).view(2, 4, 2) for each in (values, shifted))

    expected = here * scale + torch.tensor([-7.0, 100.0])
    torch.testing.assert_close(there, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(here[:, :, 0], here[:, :, 1])


def test_missing_targets_of_a_forecast_give_no_gradient() -> None:
    model = network("forecast")
    values, offsets = steps([4]), Offsets.from_lengths([4])
    encoded = model.encode(values, offsets)
    whole = model.head(encoded)[0].detach()

    right = Targets(torch.cat([whole[:2], torch.full((2,), torch.nan)]), np.array([4]))

    assert model.loss(encoded, right).item() == pytest.approx(0.0, abs=1e-10)


def test_a_recursive_forecast_gets_its_targets_only_in_training() -> None:
    model = network("forecast", decoder="recursive")
    encoded = model.encode(steps([4]), Offsets.from_lengths([4]))
    one = Targets(torch.tensor([1.0, 2.0, 3.0, 4.0]), np.array([4]))
    two = Targets(torch.tensor([1.0, 2.0, -3.0, 4.0]), np.array([4]))

    def last_error(true_targets: Targets) -> float:
        parts = model.head.compute_parts(
            encoded, true_targets.values_M.view(1, -1) if model.training else None
        )
        return parts[0, 3, 0].item()

    assert last_error(one) == last_error(two)
    model.train()
    assert last_error(one) != last_error(two)


@settings(deadline=None)
@pytest.mark.parametrize("kind", ["next_step", "reconstruction"])
@pytest.mark.parametrize("tokens", [False, True])
@given(lengths=sizes)
def test_an_error_does_not_depend_on_its_batch(kind, tokens: bool, lengths: list[int]) -> None:
    model = network(kind, tokens=tokens)
    values, offsets = steps(lengths, tokens=tokens), Offsets.from_lengths(lengths)

    together = model(values, offsets)

    assert together.shape == (len(lengths), 3 + 5)
    for row, (first, stop) in enumerate(zip(offsets.bounds[:-1], offsets.bounds[1:], strict=True)):
        one = model(values[first:stop], Offsets.from_lengths([stop - first]))
        torch.testing.assert_close(together[row], one[0], rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("tokens", [False, True])
def test_the_next_step_is_predicted_from_earlier_steps_only(tokens: bool) -> None:
    model = network("next_step", tokens=tokens)
    values = steps([6], tokens=tokens)
    changed = values.clone()
    changed[3:] = (changed[3:] + 4) % 9 if tokens else changed[3:] + 4.0

    def predict(of: torch.Tensor) -> torch.Tensor:
        return model.head.compute_step_inputs(model.encode(of, Offsets.from_lengths([6])))

    torch.testing.assert_close(predict(values)[:4], predict(changed)[:4])
    assert not torch.allclose(predict(values)[4:], predict(changed)[4:])


def test_the_baseline_is_the_mean_of_the_training_steps() -> None:
    numbers, ids = network("reconstruction"), network("reconstruction", tokens=True)
    values, tokens = steps([50]), steps([50], tokens=True)

    numbers.fit_fixed_parts(values, Offsets.from_lengths([50]))
    ids.fit_fixed_parts(tokens, Offsets.from_lengths([50]))

    torch.testing.assert_close(numbers.head.telling.usual_C, values.mean(dim=0))
    shares = (tokens[:, 0].long().bincount(minlength=9) + 1) / 59
    torch.testing.assert_close(ids.head.telling.usual_C, shares.log())
