"""Tests of taking the smallest numbers for 0 while a network learns."""

import pytest
import torch

from models.learning.flush_denormals import flush_subnormals, is_flushing

SMALL = 2.0**-100
MANY = 1 << 20
"""Numbers that all threads share in."""


def products() -> int:
    """Count the subnormal numbers that are left of many."""
    return int((torch.full((MANY,), SMALL) * 2.0**-40).count_nonzero())


def test_every_thread_takes_subnormal_numbers_for_nothing_and_then_no_longer() -> None:
    before = products()

    with flush_subnormals():
        within = products()

    assert (before, within, products()) == (MANY, 0, MANY)


def test_a_failure_within_sets_the_threads_back() -> None:
    with pytest.raises(ValueError, match="gone"), flush_subnormals():
        raise ValueError("gone")

    assert products() == MANY


def test_who_flushes_already_goes_on_flushing() -> None:
    with flush_subnormals():
        with flush_subnormals():
            pass

        assert is_flushing()
        assert products() == 0


def test_gradients_over_many_steps_are_the_same_but_for_subnormal_numbers() -> None:
    torch.manual_seed(0)
    lstm, steps_TBI = torch.nn.LSTM(1, 16), torch.randn(400, 4, 1)

    def slopes() -> list[torch.Tensor]:
        lstm.zero_grad()
        lstm(steps_TBI)[0][-1].square().sum().backward()
        return [weight.grad.clone() for weight in lstm.parameters()]

    exact = slopes()
    with flush_subnormals():
        flushed = slopes()

    torch.testing.assert_close(flushed, exact, rtol=0, atol=1e-30)
