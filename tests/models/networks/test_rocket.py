"""Random convolutions: as the paper's kernels, read at each sequence's own steps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.feature_spec import Tokens
from models.networks.config import ModelConfig
from models.networks.jagged import Offsets
from models.networks.network import NetworkSpec, build_network
from models.networks.rocket import KERNELS, TAPS, Rocket
from tests.support.model_parts import face

sizes = st.lists(st.integers(1, 30), min_size=2, max_size=4)


def fitted(inputs: int, lengths: list[int], seed: int = 0) -> tuple[Rocket, torch.Tensor]:
    torch.manual_seed(seed)
    rocket = Rocket(inputs, features_per_kernel=5).double()
    values = torch.randn(sum(lengths), inputs, dtype=torch.float64)
    rocket.fit(values, Offsets.from_lengths(lengths))
    return rocket, values


def test_there_are_84_kernels_of_nine_taps_that_add_up_to_nothing() -> None:
    weights = Rocket(1).weight_JK

    assert weights.shape == (TAPS, 84) == (TAPS, len(KERNELS))
    assert (weights.sum(dim=0) == 0).all()
    assert len({tuple(kernel) for kernel in weights.t().tolist()}) == 84


@settings(max_examples=15)
@given(lengths=sizes, inputs=st.integers(1, 3))
def test_a_feature_is_the_share_of_steps_above_its_bias(lengths: list[int], inputs: int) -> None:
    rocket, values = fitted(inputs, lengths)

    found = rocket(values, Offsets.from_lengths(lengths)).view(len(lengths), 84, 5)

    weights = rocket.weight_JK.view(TAPS, inputs, 84).numpy()
    for row, own in enumerate(values.split(lengths)):
        for feature, dilation in enumerate(rocket.dilation_F.tolist()):
            reach = 4 * dilation
            room = np.pad(own.numpy(), ((reach, reach), (0, 0)))
            seen = np.stack([room[t * dilation : t * dilation + len(own)] for t in range(TAPS)])
            loud = np.einsum("tnc,tck->nk", seen, weights)
            share = (loud > rocket.bias_KF[:, feature].numpy()).mean(axis=0)
            mean, spread = rocket.mean_KF[:, feature], rocket.spread_KF[:, feature]
            expected = (share - mean.numpy()) / spread.numpy()
            np.testing.assert_allclose(found[row, :, feature], expected, atol=0.3)
            assert np.isclose(found[row, :, feature], expected).mean() > 0.97


def test_dilations_reach_over_sequences_of_the_usual_length() -> None:
    rocket, _ = fitted(1, [129, 129, 129, 20])

    assert rocket.dilation_F.tolist() == [1, 2, 4, 8, 16]


def test_what_was_fitted_is_in_the_state() -> None:
    rocket, values = fitted(2, [12, 9])
    other = Rocket(2, features_per_kernel=5).double()

    other.load_state_dict(rocket.state_dict())

    offsets = Offsets.from_lengths([12, 9])
    assert torch.equal(other(values, offsets), rocket(values, offsets))


def test_a_network_learns_what_the_shares_tell() -> None:
    config = ModelConfig(cell="gru", hidden_size=4, parallel_branch="rocket")
    network = build_network(config, face(1, 2), seed=0)
    draw = torch.Generator().manual_seed(0)
    slow = torch.arange(60) % 2
    phases = torch.rand(60, 1, generator=draw) * 6
    speed = 0.3 + 0.9 * slow[:, None]
    values = torch.sin(phases + speed * torch.arange(40)).reshape(-1, 1)
    offsets = Offsets.from_lengths([40] * 60)
    network.fit_fixed_parts(values, offsets)
    optimizer = torch.optim.Adam(network.head.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(values, offsets), slow).backward()
        optimizer.step()

    assert (network(values, offsets).argmax(dim=1) == slow).float().mean() > 0.95


def test_steps_that_are_learned_are_refused() -> None:
    config = ModelConfig(cell="gru", hidden_size=4, parallel_branch="rocket")

    with pytest.raises(UnlearnableError, match="parallel_branch: rocket reads numbers as they are"):
        build_network(config, NetworkSpec(features=Tokens(size=9)), seed=0)
