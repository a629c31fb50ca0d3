"""Tree-LSTMs: level by level they agree with the paper's equations node by node."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.networks.cells.tree_lstm import TreeLstm
from models.networks.jagged import Offsets

FORMS = ("child-sum", "n-ary")


def random_tree(draw: torch.Generator, size: int) -> list[int]:
    """Parents of nodes in post-order: each parent is a later node, without crossing."""
    parents = [-1] * size
    roots: list[int] = []
    for node in range(size):
        num_children = int(torch.randint(0, len(roots) + 1, (1,), generator=draw))
        if node == size - 1:
            num_children = len(roots)
        for child in roots[len(roots) - num_children :]:
            parents[child] = node
        roots = [*roots[: len(roots) - num_children], node]
    return parents


def nodes_of(trees: list[list[int]]) -> tuple[Tensor, Offsets]:
    """Concatenate trees as the features do, [N, 3]."""
    rows = []
    for parents in trees:
        heights = [0] * len(parents)
        for node, parent in enumerate(parents):
            if parent >= 0:
                heights[parent] = max(heights[parent], heights[node] + 1)
        for node, parent in enumerate(parents):
            rows.append([0, parent - node if parent >= 0 else 0, heights[node]])
    return torch.tensor(rows, dtype=torch.int32), Offsets.from_lengths(
        [len(parents) for parents in trees]
    )


def node_by_node(layer: TreeLstm, inputs_TI: Tensor, parents: list[int]) -> Tensor:
    """Follow the equations (Tai, Socher and Manning 2015, sections 3.1 and 3.2)."""
    hidden, cells, states = layer.hidden, [], []
    for node in range(len(parents)):
        enter, leave, update, forget = layer.input(inputs_TI[node]).split(hidden)
        children = [child for child, parent in enumerate(parents) if parent == node]
        zero = torch.zeros(hidden, dtype=inputs_TI.dtype)
        sides = [children] if layer.sides == 1 else [children[:1], children[1:]]
        sums = [sum((states[c] for c in side), zero) for side in sides]
        more = layer.gates(torch.cat(sums)).split(hidden)
        enter, leave, update = enter + more[0], leave + more[1], update + more[2]
        cell = torch.sigmoid(enter) * torch.tanh(update)
        for index, child in enumerate(children):
            if layer.sides == 1:
                own = layer.forgets(states[child])
            else:
                own = layer.forgets(torch.cat(sums)).split(hidden)[min(index, 1)]
            cell = cell + torch.sigmoid(forget + own) * cells[child]
        cells.append(cell)
        states.append(torch.sigmoid(leave) * torch.tanh(cell))
    return torch.stack(states)


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 10_000))
def test_level_by_level_agrees_with_the_equations(form: str, sizes: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    trees = [random_tree(draw, size) for size in sizes]
    nodes, offsets = nodes_of(trees)
    torch.manual_seed(seed)
    layer = TreeLstm(3, 4, children=form).double()
    inputs = torch.randn(len(nodes), 3, dtype=torch.float64, requires_grad=True)
    weights = torch.arange(1, len(nodes) + 1)

    result = layer.outputs(inputs, nodes, offsets)
    (result[:, 0] * weights).sum().backward()
    # Parameters that only children use have no gradient where there are none.
    gradients = {n: v.grad.clone() for n, v in layer.named_parameters() if v.grad is not None}
    layer.zero_grad()
    plain = inputs.detach().clone().requires_grad_()
    pieces = zip(plain.split(offsets.lengths.tolist()), trees, strict=True)
    expected = torch.cat([node_by_node(layer, piece, tree) for piece, tree in pieces])
    (expected[:, 0] * weights).sum().backward()

    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(inputs.grad, plain.grad, rtol=1e-9, atol=1e-11)
    for name, slope in gradients.items():
        other = layer.get_parameter(name).grad
        other = torch.zeros_like(slope) if other is None else other
        torch.testing.assert_close(slope, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_the_other_trees_of_a_batch_change_no_output(form: str) -> None:
    draw = torch.Generator().manual_seed(1)
    trees = [random_tree(draw, size) for size in (5, 9, 1)]
    layer = TreeLstm(3, 6, children=form).eval()
    inputs = torch.randn(15, 3)

    together = layer.outputs(inputs, *nodes_of(trees))

    for piece, states, tree in zip(
        inputs.split([5, 9, 1]), together.split([5, 9, 1]), trees, strict=True
    ):
        alone = layer.outputs(piece, *nodes_of([tree]))
        torch.testing.assert_close(alone, states, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_reaches_the_leaf_of_a_deep_chain(form: str) -> None:
    chain = [*range(1, 500), -1]
    layer = TreeLstm(2, 3, children=form).double()
    inputs = torch.randn(500, 2, dtype=torch.float64, requires_grad=True)

    layer.outputs(inputs, *nodes_of([chain]))[-1].sum().backward()

    assert torch.isfinite(inputs.grad).all()
    assert (inputs.grad[450:].abs().sum(dim=1) > 0).all()
