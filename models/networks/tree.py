"""Tree-LSTMs over padded batches of trees, level by level (Tai, Socher and Manning 2015).

A node is computed once all its children are: first all leaves of all trees of the batch together,
then all nodes of height 1, and so on, so that a batch costs as many steps as its highest tree.
`ChildSum` adds the children's states up, whatever their number and order. `Binary` has weights
of its own for the first child and for the rest, which share the second's (the paper's N-ary form
at N = 2, where the third child and its followers are added to the second).
Shapes: B trees, T nodes of the largest, M = B * T places, I inputs, H units, E edges.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn


class Level(NamedTuple):
    """The nodes of one height, and the edges to their children."""

    nodes_L: Tensor
    """Places in the flattened batch."""
    children_E: Tensor
    """Places of their children."""
    owner_E: Tensor
    """Which of the level's nodes each child belongs to."""
    second_E: Tensor
    """Whether it is not its parent's first child."""


def levels_of(nodes_BT3: Tensor, lengths_B: Tensor) -> list[Level]:
    """Sort the nodes of a batch by height, lowest first; padding is in no level."""
    size = nodes_BT3.shape[1]
    valid_BT = torch.arange(size, device=lengths_B.device) < lengths_B[:, None]
    places_N = valid_BT.flatten().nonzero()[:, 0]
    distance_N = nodes_BT3[:, :, 1].flatten()[places_N].long()
    height_N = nodes_BT3[:, :, 2].flatten()[places_N].long()
    child_E = places_N[distance_N > 0]
    parent_E = child_E + distance_N[distance_N > 0]
    # Children of one parent, in their order.
    order_E = parent_E.argsort(stable=True)
    child_E, parent_E = child_E[order_E], parent_E[order_E]
    second_E = torch.zeros_like(parent_E, dtype=torch.bool)
    second_E[1:] = parent_E[1:] == parent_E[:-1]
    by_height = height_N.argsort(stable=True)
    counts = height_N.bincount().tolist()
    height_M = nodes_BT3[:, :, 2].flatten().long()
    by_parent = height_M[parent_E].argsort(stable=True)
    edges = height_M[parent_E].bincount(minlength=len(counts)).tolist()
    rank_M = torch.empty_like(height_M)
    levels = []
    for nodes_L, chosen_E in zip(
        places_N[by_height].split(counts), by_parent.split(edges), strict=True
    ):
        rank_M[nodes_L] = torch.arange(len(nodes_L), device=nodes_L.device)
        owner_E = rank_M[parent_E[chosen_E]]
        levels.append(Level(nodes_L, child_E[chosen_E], owner_E, second_E[chosen_E]))
    return levels


class TreeLayer(nn.Module):
    """One Tree-LSTM layer: the state of every node, from its input and its children's states."""

    def __init__(
        self, *, inputs: int, hidden: int, form: Literal["child-sum", "binary"] = "binary"
    ) -> None:
        super().__init__()
        self.hidden = hidden
        sides = 2 if form == "binary" else 1
        self.sides = sides
        self.input = nn.Linear(inputs, 4 * hidden)
        # From the children's states to input, output and update, and to each child's forget gate.
        self.gates = nn.ModuleList(nn.Linear(hidden, 3 * hidden, bias=False) for _ in range(sides))
        self.forgets = nn.ModuleList(
            nn.Linear(hidden, hidden, bias=False) for _ in range(sides * sides)
        )
        with torch.no_grad():
            # A forget gate that begins open lets deep trees learn.
            self.input.bias[3 * hidden :] = 1.0

    def forward(self, inputs_BTI: Tensor, nodes_BT3: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the hidden state of every node, [B, T, H]; zeros for padding."""
        trees, size = inputs_BTI.shape[:2]
        inputs_MG: Tensor = self.input(inputs_BTI).flatten(0, 1)
        state_MH = inputs_MG.new_zeros(trees * size, self.hidden)
        cell_MH = torch.zeros_like(state_MH)
        for level in levels_of(nodes_BT3, lengths_B):
            state_LH, cell_LH = self.level(inputs_MG[level.nodes_L], level, state_MH, cell_MH)
            state_MH = state_MH.index_copy(0, level.nodes_L, state_LH)
            cell_MH = cell_MH.index_copy(0, level.nodes_L, cell_LH)
        return state_MH.reshape(trees, size, self.hidden)

    def level(
        self, inputs_LG: Tensor, level: Level, state_MH: Tensor, cell_MH: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the nodes of one level."""
        gates_L3, forget_LH = inputs_LG.split((3 * self.hidden, self.hidden), dim=1)
        carried_LH = torch.zeros_like(forget_LH)
        if len(level.children_E):
            state_EH, cell_EH = state_MH[level.children_E], cell_MH[level.children_E]
            sums = self.sums(state_EH, level, len(level.nodes_L))
            gates_L3 = gates_L3 + sum(g(h) for g, h in zip(self.gates, sums, strict=True))
            forget_EH = torch.sigmoid(forget_LH[level.owner_E] + self.forget(state_EH, level, sums))
            carried_LH = carried_LH.index_add(0, level.owner_E, forget_EH * cell_EH)
        enter_LH, leave_LH, update_LH = gates_L3.chunk(3, dim=1)
        cell_LH = torch.sigmoid(enter_LH) * torch.tanh(update_LH) + carried_LH
        return torch.sigmoid(leave_LH) * torch.tanh(cell_LH), cell_LH

    def sums(self, state_EH: Tensor, level: Level, nodes: int) -> list[Tensor]:
        """Add up the children's states of each node: all, or the first apart from the rest."""
        if self.sides == 1:
            sides = [state_EH]
        else:
            later_E1 = level.second_E[:, None]
            sides = [state_EH.masked_fill(later_E1, 0.0), state_EH.masked_fill(~later_E1, 0.0)]
        zeros = state_EH.new_zeros(nodes, self.hidden)
        return [zeros.index_add(0, level.owner_E, side) for side in sides]

    def forget(self, state_EH: Tensor, level: Level, sums: list[Tensor]) -> Tensor:
        """Weigh how much of each child is let through."""
        if self.sides == 1:
            own: Tensor = self.forgets[0](state_EH)
            return own
        first_EH = sum(f(h) for f, h in zip(self.forgets[:2], sums, strict=True))[level.owner_E]
        later_EH = sum(f(h) for f, h in zip(self.forgets[2:], sums, strict=True))[level.owner_E]
        return torch.where(level.second_E[:, None], later_EH, first_EH)
