"""Random convolutions: the paper's kernels, over each sequence's own steps."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.networks.jagged import Offsets
from models.networks.rocket import KERNELS, TAPS, Rocket

sizes = st.lists(st.integers(1, 30), min_size=2, max_size=4)


def fit_rocket(inputs: int, lengths: list[int], seed: int = 0) -> tuple[Rocket, torch.Tensor]:
    torch.manual_seed(seed)
    rocket = Rocket(inputs, features_per_kernel=5).double()
    values = torch.randn(sum(lengths), inputs, dtype=torch.float64)
    rocket.fit(values, Offsets.from_lengths(lengths))
    return rocket, values


def test_there_are_84_kernels_of_nine_taps_whose_sum_is_zero() -> None:
    weights = Rocket(1).weight_JK

    assert weights.shape == (TAPS, 84) == (TAPS, len(KERNELS))
    assert (weights.sum(dim=0) == 0).all()
    assert len({tuple(kernel) for kernel in weights.t().tolist()}) == 84


@settings(max_examples=15)
@given(lengths=sizes, inputs=st.integers(1, 3))
def test_a_feature_is_the_share_of_steps_above_its_bias(lengths: list[int], inputs: int) -> None:
    rocket, values = fit_rocket(inputs, lengths)

    result = rocket(values, Offsets.from_lengths(lengths)).view(len(lengths), 84, 5)

    weights = rocket.weight_JK.view(TAPS, inputs, 84).numpy()
    for row, own in enumerate(values.split(lengths)):
        for feature, dilation in enumerate(rocket.dilation_F.tolist()):
            half_width = 4 * dilation
            padded = np.pad(own.numpy(), ((half_width, half_width), (0, 0)))
            inputs_T = np.stack(
                [padded[t * dilation : t * dilation + len(own)] for t in range(TAPS)]
            )
            outputs_NK = np.einsum("tnc,tck->nk", inputs_T, weights)
            share = (outputs_NK > rocket.bias_KF[:, feature].numpy()).mean(axis=0)
            mean, std = rocket.mean_KF[:, feature], rocket.spread_KF[:, feature]
            expected = (share - mean.numpy()) / std.numpy()
            np.testing.assert_allclose(result[row, :, feature], expected, atol=0.3)
            assert np.isclose(result[row, :, feature], expected).mean() > 0.97


def test_dilations_cover_sequences_of_the_median_length() -> None:
    rocket, _ = fit_rocket(1, [129, 129, 129, 20])

    assert rocket.dilation_F.tolist() == [1, 2, 4, 8, 16]


def test_the_fitted_values_are_in_the_state() -> None:
    rocket, values = fit_rocket(2, [12, 9])
    other = Rocket(2, features_per_kernel=5).double()

    other.load_state_dict(rocket.state_dict())

    offsets = Offsets.from_lengths([12, 9])
    assert torch.equal(other(values, offsets), rocket(values, offsets))
