"""Subnormal numbers are flushed to 0 during training."""

import pytest
import torch

from models.learning.flush_denormals import flush_subnormals, is_flushing

SMALL = 2.0**-100
MANY = 1 << 20
"""Enough numbers that all threads compute a part."""


def products() -> int:
    """Count the subnormal products that are not flushed."""
    return int((torch.full((MANY,), SMALL) * 2.0**-40).count_nonzero())


def test_every_thread_flushes_subnormal_numbers_only_within_the_context() -> None:
    before = products()

    with flush_subnormals():
        within = products()

    assert (before, within, products()) == (MANY, 0, MANY)


def test_an_error_within_the_context_restores_the_threads() -> None:
    with pytest.raises(ValueError, match="gone"), flush_subnormals():
        raise ValueError("gone")

    assert products() == MANY


def test_a_process_that_flushes_already_continues_to_flush() -> None:
    with flush_subnormals():
        with flush_subnormals():
            pass

        assert is_flushing()
        assert products() == 0


def test_gradients_over_many_steps_differ_only_in_subnormal_numbers() -> None:
    torch.manual_seed(0)
    lstm, steps_TBI = torch.nn.LSTM(1, 16), torch.randn(400, 4, 1)

    def compute_gradients() -> list[torch.Tensor]:
        lstm.zero_grad()
        lstm(steps_TBI)[0][-1].square().sum().backward()
        return [weight.grad.clone() for weight in lstm.parameters()]

    exact = compute_gradients()
    with flush_subnormals():
        flushed = compute_gradients()

    torch.testing.assert_close(flushed, exact, rtol=0, atol=1e-30)
