"""Tree-LSTMs, level by level over all trees of a batch at once (Tai, Socher and Manning 2015).

A node is computed once all its children are: first all leaves, then all nodes of height 1, and so
on, so that a batch costs as many steps as its highest tree. Each state is read by one parent
alone, so only the states whose parent is still to come are stored. `sum` adds the children's states
up, whatever their number and order. `n-ary` has weights of its own for the first child and for
the rest, which share the second's (the paper's N = 2; where a node has more than two, the third
and its followers are added to the second).

Shapes: N nodes of all trees, I inputs, H units, L nodes of a level, E edges to their children,
W states that wait for their parent, S sides with weights of their own.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.jagged import Offsets

SIDES = {"n-ary": 2, "child-sum": 1}
"""Children with weights of their own, for each kind of tree-lstm."""


class _Level(NamedTuple):
    """The nodes of one height, and the indices of their children among the waiting states."""

    nodes_L: NDArray[np.int64]
    child_E: NDArray[np.int64]
    """Indices of the children among the waiting states, the children of a node together."""
    owner_E: NDArray[np.int64]
    """Which of the level's nodes each child belongs to."""
    side_E: NDArray[np.int64]
    """0 for a node's first child, 1 for the others."""
    stay_W: NDArray[np.int64]
    """Indices of the states that still wait, for a higher level."""
    wait_L: NDArray[np.int64]
    """Which of the level's nodes wait for a parent."""


class TreeLstm(nn.Module):
    """One layer: the state of every node, from its input and its children's states."""

    def __init__(
        self, inputs: int, hidden: int, *, children: Literal["n-ary", "child-sum"] = "n-ary"
    ) -> None:
        super().__init__()
        self.hidden, self.sides = hidden, SIDES[children]
        self.input = nn.Linear(inputs, 4 * hidden)
        # From the children's states to input, output and update, and to each child's forget gate.
        self.gates = nn.Linear(self.sides * hidden, 3 * hidden, bias=False)
        self.forgets = nn.Linear(self.sides * hidden, self.sides * hidden, bias=False)
        with torch.no_grad():
            # Forget gates that are open at first let gradients reach deep nodes.
            self.input.bias[3 * hidden :] = 1.0

    def outputs(self, inputs_NI: Tensor, nodes_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return the state of every node, [N, H]; a tree's root comes last.

        Args:
            inputs_NI: of each node.
            nodes_NC: of each node its token, the distance to its parent, and its height.
            offsets: of the trees; edges never leave one.
        """
        levels = _split_levels(nodes_NC[:, :3].cpu().numpy().astype(np.int64))
        projected_NG = self.input(inputs_NI)
        waiting_W2H = projected_NG.new_zeros(0, 2 * self.hidden)
        states = []
        for level in levels:
            projected_LG = projected_NG.index_select(0, offsets.to_device(level.nodes_L))
            state_L2H = self.run_level(projected_LG, level, waiting_W2H, offsets)
            states.append(state_L2H[:, : self.hidden])
            stay_W, wait_L = offsets.to_device(level.stay_W), offsets.to_device(level.wait_L)
            waiting_W2H = torch.cat(
                [waiting_W2H.index_select(0, stay_W), state_L2H.index_select(0, wait_L)]
            )
        back_N = np.argsort(np.concatenate([level.nodes_L for level in levels]))
        return torch.cat(states).index_select(0, offsets.to_device(back_N))

    def run_level(
        self, projected_LG: Tensor, level: _Level, waiting_W2H: Tensor, offsets: Offsets
    ) -> Tensor:
        """Compute the outputs and memories of one level, [L, 2 H]."""
        hidden = self.hidden
        gates_L3, forget_LH = projected_LG.split((3 * hidden, hidden), dim=1)
        carried_LH: Tensor | None = None
        if len(level.child_E):
            child_E2H = waiting_W2H.index_select(0, offsets.to_device(level.child_E))
            state_EH, memory_EH = child_E2H.split(hidden, dim=1)
            owner_E, side_E = offsets.to_device(level.owner_E), offsets.to_device(level.side_E)
            zeros_SH = state_EH.new_zeros(len(projected_LG) * self.sides, hidden)
            slot_E = owner_E * self.sides + (side_E if self.sides > 1 else 0)
            sums_LS = zeros_SH.index_add(0, slot_E, state_EH).view(len(projected_LG), -1)
            gates_L3 = gates_L3 + self.gates(sums_LS)
            if self.sides > 1:
                child_forget_EH = self.forgets(sums_LS).view(-1, hidden).index_select(0, slot_E)
            else:
                child_forget_EH = self.forgets(state_EH)
            forget_EH = torch.sigmoid(forget_LH.index_select(0, owner_E) + child_forget_EH)
            zeros_LH = torch.zeros_like(forget_LH)
            carried_LH = zeros_LH.index_add(0, owner_E, (forget_EH * memory_EH).to(zeros_LH))
        enter_LH, leave_LH, update_LH = gates_L3.chunk(3, dim=1)
        memory_LH = torch.sigmoid(enter_LH) * torch.tanh(update_LH)
        if carried_LH is not None:
            memory_LH = memory_LH + carried_LH
        return torch.cat([torch.sigmoid(leave_LH) * torch.tanh(memory_LH), memory_LH], dim=1)


def _split_levels(nodes_N3: NDArray[np.int64]) -> list[_Level]:
    """Sort nodes by height, lowest first.

    Args:
        nodes_N3: of each node its token, the distance to its parent (0 for a root), and its
            height; the children of a node come before it.
    """
    distance_N, height_N = nodes_N3[:, 1], nodes_N3[:, 2]
    parent_N = np.arange(len(nodes_N3)) + distance_N
    due_N = np.where(distance_N > 0, height_N[parent_N], -1)
    order_N = np.argsort(height_N, kind="stable")
    cuts = np.cumsum(np.bincount(height_N))[:-1]
    rank_N = np.empty(len(nodes_N3), np.int64)
    waiting_W = np.empty(0, np.int64)
    levels = []
    for height, nodes_L in enumerate(np.split(order_N, cuts)):
        rank_N[nodes_L] = np.arange(len(nodes_L))
        is_due_W = due_N[waiting_W] == height
        child_E, stay_W = np.flatnonzero(is_due_W), np.flatnonzero(~is_due_W)
        child_E = child_E[np.lexsort((waiting_W[child_E], parent_N[waiting_W[child_E]]))]
        parent_E = parent_N[waiting_W[child_E]]
        side_E = np.zeros(len(parent_E), np.int64)
        side_E[1:] = parent_E[1:] == parent_E[:-1]
        wait_L = np.flatnonzero(distance_N[nodes_L] > 0)
        levels.append(_Level(nodes_L, child_E, rank_N[parent_E], side_E, stay_W, wait_L))
        waiting_W = np.concatenate([waiting_W[stay_W], nodes_L[wait_L]])
    return levels
