"""Tree-LSTMs: level by level they come to what the paper's equations say node by node."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.networks.tree import TreeLayer

FORMS = ("child-sum", "binary")


def random_tree(draw: torch.Generator, size: int) -> list[int]:
    """Parents of nodes in post-order: each node hangs on some later one, without crossing."""
    parents = [-1] * size
    roots: list[int] = []
    for node in range(size):
        taken = int(torch.randint(0, len(roots) + 1, (1,), generator=draw))
        if node == size - 1:
            taken = len(roots)
        for child in roots[len(roots) - taken :]:
            parents[child] = node
        roots = [*roots[: len(roots) - taken], node]
    return parents


def nodes_of(trees: list[list[int]], padding: int = 0) -> tuple[Tensor, Tensor]:
    """Lay trees out as the features do, [B, T, 3], with rubbish behind their ends."""
    longest = max(map(len, trees)) + padding
    nodes = torch.full((len(trees), longest, 3), 7, dtype=torch.int32)
    for row, parents in enumerate(trees):
        heights = [0] * len(parents)
        for node, parent in enumerate(parents):
            if parent >= 0:
                heights[parent] = max(heights[parent], heights[node] + 1)
        for node, parent in enumerate(parents):
            distance = parent - node if parent >= 0 else 0
            nodes[row, node] = torch.tensor([0, distance, heights[node]])
    return nodes, torch.tensor([len(parents) for parents in trees])


def node_by_node(layer: TreeLayer, inputs_TI: Tensor, parents: list[int]) -> Tensor:
    """Follow the equations (Tai, Socher and Manning 2015, sections 3.1 and 3.2)."""
    hidden, cells, states = layer.hidden, [], []
    for node in range(len(parents)):
        enter, leave, update, forget = layer.input(inputs_TI[node]).split(hidden)
        below = [child for child, parent in enumerate(parents) if parent == node]
        zero = torch.zeros(hidden, dtype=inputs_TI.dtype)
        sides = [below] if layer.sides == 1 else [below[:1], below[1:]]
        sums = [sum((states[c] for c in side), zero) for side in sides]
        for gates, total in zip(layer.gates, sums, strict=True):
            more = gates(total).split(hidden)
            enter, leave, update = enter + more[0], leave + more[1], update + more[2]
        cell = torch.sigmoid(enter) * torch.tanh(update)
        for place, child in enumerate(below):
            if layer.sides == 1:
                own = layer.forgets[0](states[child])
            else:
                first = 0 if place == 0 else 2
                own = sum(layer.forgets[first + side](sums[side]) for side in (0, 1))
            cell = cell + torch.sigmoid(forget + own) * cells[child]
        cells.append(cell)
        states.append(torch.sigmoid(leave) * torch.tanh(cell))
    return torch.stack(states)


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 10_000))
def test_levels_come_to_what_the_equations_say(form: str, sizes: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    trees = [random_tree(draw, size) for size in sizes]
    nodes, lengths = nodes_of(trees)
    torch.manual_seed(seed)
    layer = TreeLayer(inputs=3, hidden=4, form=form).double()
    inputs = torch.randn(*nodes.shape[:2], 3, dtype=torch.float64, requires_grad=True)

    found = layer(inputs, nodes, lengths)
    (found[:, :, 0] * torch.arange(1, found.shape[1] + 1)).sum().backward()
    # What only children reach has no slope where there are none.
    slopes = {n: v.grad.clone() for n, v in layer.named_parameters() if v.grad is not None}
    layer.zero_grad()
    plain = inputs.detach().clone().requires_grad_()
    expected = [node_by_node(layer, plain[row], tree) for row, tree in enumerate(trees)]
    sum((states[:, 0] * torch.arange(1, len(states) + 1)).sum() for states in expected).backward()

    for row, states in enumerate(expected):
        torch.testing.assert_close(found[row, : len(states)], states, rtol=1e-10, atol=1e-12)
        assert (found[row, len(states) :] == 0).all()
    torch.testing.assert_close(inputs.grad, plain.grad, rtol=1e-9, atol=1e-11)
    for name, slope in slopes.items():
        other = layer.get_parameter(name).grad
        other = torch.zeros_like(slope) if other is None else other
        torch.testing.assert_close(slope, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_neither_padding_nor_company_changes_a_tree(form: str) -> None:
    draw = torch.Generator().manual_seed(1)
    trees = [random_tree(draw, size) for size in (5, 9, 1)]
    layer = TreeLayer(inputs=3, hidden=6, form=form).eval()
    inputs = torch.randn(3, 9, 3)
    nodes, lengths = nodes_of(trees)

    together = layer(inputs, nodes, lengths)

    for row, tree in enumerate(trees):
        alone, length = nodes_of([tree], padding=4)
        room = torch.randn(1, len(tree) + 4, 3)
        room[0, : len(tree)] = inputs[row, : len(tree)]
        states = layer(room, alone, length)[0, : len(tree)]
        torch.testing.assert_close(states, together[row, : len(tree)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_deep_chain_teaches_its_leaf(form: str) -> None:
    chain = [*range(1, 500), -1]
    nodes, lengths = nodes_of([chain])
    layer = TreeLayer(inputs=2, hidden=3, form=form).double()
    inputs = torch.randn(1, 500, 2, dtype=torch.float64, requires_grad=True)

    layer(inputs, nodes, lengths)[0, -1].sum().backward()

    assert torch.isfinite(inputs.grad).all()
    assert (inputs.grad[0, 450:].abs().sum(dim=1) > 0).all()
