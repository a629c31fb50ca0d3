"""Selection among networks and branches: never worse than the simplest ways, and careful on few."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from models.networks.heads.config import HeadConfig
from models.selection import join_outputs, select_parts

CLASSES = 4


def draw_logits(target_R: Tensor, skill: float, seed: int) -> Tensor:
    """Return logits that are right as often as the skill says, with noise of their own."""
    generator = torch.Generator().manual_seed(seed)
    noise_RK = torch.randn(len(target_R), CLASSES, generator=generator)
    return noise_RK + skill * functional.one_hot(target_R, CLASSES)


def draw_targets(rows: int, seed: int = 0) -> Tensor:
    return torch.randint(CLASSES, (rows,), generator=torch.Generator().manual_seed(seed))


def compute_log_loss(outputs_RO: Tensor, target_R: Tensor) -> float:
    return float(functional.cross_entropy(outputs_RO.double(), target_R))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 999),
    rows=st.sampled_from([30, 200, 900]),
    skills=st.lists(st.floats(0, 3), min_size=1, max_size=4),
    branch=st.floats(0, 3),
)
def test_it_is_never_worse_than_the_best_part_or_the_first_with_its_branch(
    seed: int, rows: int, skills: list[float], branch: float
) -> None:
    target_R = draw_targets(rows, seed)
    networks = [draw_logits(target_R, skill, seed + 1 + i) for i, skill in enumerate(skills)]
    branches = [draw_logits(target_R, branch, seed + 77)]

    selection = select_parts(
        networks, branches, target_R[:, None], kind="category", head=HeadConfig()
    )

    joined_RO = join_outputs(networks, branches, selection, "category")
    loss = compute_log_loss(joined_RO, target_R)
    assert loss == pytest.approx(selection.losses[selection.method], abs=1e-5)
    assert loss <= min(selection.part_losses) + 1e-5
    assert loss <= selection.losses["default"] + 1e-5
    assert sum(selection.part_weights) == pytest.approx(1)
    assert sum(selection.network_weights) == pytest.approx(1)


def test_greedy_weights_leave_out_what_adds_nothing_and_prefer_what_is_better() -> None:
    target_R = draw_targets(3_000)
    good, fair = draw_logits(target_R, 2.5, 1), draw_logits(target_R, 1.2, 2)
    noise = draw_logits(target_R, 0.0, 3)

    selection = select_parts(
        [good, noise, fair], [], target_R[:, None], kind="category", head=HeadConfig()
    )

    assert selection.method == "greedy"
    first, none, last = selection.network_weights
    assert none == 0
    assert first > last > 0


def test_few_rows_weigh_the_best_networks_equally() -> None:
    target_R = draw_targets(80)
    networks = [draw_logits(target_R, skill, seed) for seed, skill in enumerate((1.8, 1.8, 1.8, 0))]

    selection = select_parts(networks, [], target_R[:, None], kind="category", head=HeadConfig())

    assert selection.method == "equal"
    assert "greedy" not in selection.losses
    weights = np.array(selection.network_weights)
    assert weights[3] == 0
    assert len(set(weights[weights > 0])) == 1


@pytest.mark.parametrize("loss", ["mse", "mae", "quantile", "gaussian_nll"])
def test_numbers_are_selected_by_the_loss_of_the_head(loss: str) -> None:
    generator, rows, steps = torch.Generator().manual_seed(0), 600, 3
    head = HeadConfig(loss=loss)  # type: ignore[arg-type]
    numbers = {"quantile": 3, "gaussian_nll": 2}.get(loss, 1)
    target_RT = torch.randn(rows, steps, generator=generator)

    def predict(error: float) -> Tensor:
        noise_RT = error * torch.randn(rows, steps, generator=generator)
        spread_P = torch.tensor({3: [-1.0, 0.0, 1.0], 2: [0.0, 1.0], 1: [0.0]}[numbers]) * error
        return ((target_RT + noise_RT)[:, :, None] + spread_P).flatten(1)

    networks = [predict(0.5), predict(0.5), predict(5.0)]
    branch_RT = target_RT + 0.5 * torch.randn(rows, steps, generator=generator)

    selection = select_parts(networks, [branch_RT], target_RT, kind="forecast", head=head)

    assert selection.network_weights[2] == 0
    assert selection.losses[selection.method] <= min(selection.part_losses)
    joined_RO = join_outputs(networks, [branch_RT], selection, "forecast")
    assert joined_RO.shape == (rows, steps * numbers)


def test_labels_are_selected_by_their_log_loss() -> None:
    target_RK = (torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    good = 3 * target_RK - 1.5 + torch.randn(500, 3, generator=torch.Generator().manual_seed(2))
    bad = torch.randn(500, 3, generator=torch.Generator().manual_seed(3))

    selection = select_parts([bad, good], [], target_RK, kind="tags", head=HeadConfig())

    assert selection.network_weights[1] > 0.9
