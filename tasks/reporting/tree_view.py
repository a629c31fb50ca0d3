"""An explained tree as a drawing: leaves below, their parents above, coloured by their shares."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.report_record import Explanation, ExplanationStep
from tasks.reporting.formatting import format_number

_LEAF_DISTANCE, _LEVEL_DISTANCE = 62, 46
"""Pixels from a leaf to the next, and from a level to the next."""

_MAX_HEIGHT = 300
"""Height that the levels of a tree share at most."""


class Node(NamedTuple):
    """Position of a node, in pixels."""

    x: float
    y: float
    parent: int
    """Index among the nodes; -1 for a root."""
    is_leaf: bool


def draw_tree(row: Explanation) -> Markup:
    """Draw a tree whose nodes come in post-order."""
    steps = row.steps
    nodes = position_nodes(steps)
    largest = max((abs(step.share or 0.0) for step in steps), default=0.0) or 1.0
    links = "".join(
        f'<line class="link" x1="{node.x:.1f}" y1="{node.y:.1f}" x2="{nodes[node.parent].x:.1f}" '
        f'y2="{nodes[node.parent].y:.1f}"/>'
        for node in nodes
        if node.parent >= 0
    )
    circles = Markup("").join(
        _draw_node(node, step, largest) for node, step in zip(nodes, steps, strict=True)
    )
    width = max(node.x for node in nodes) + _LEAF_DISTANCE / 2
    height = max(node.y for node in nodes) + 26
    return Markup(
        '<div class="wide"><svg class="tree" width="{0:.0f}" height="{1:.0f}" '
        'viewBox="0 0 {0:.0f} {1:.0f}" role="img" aria-label="tree">{2}{3}</svg></div>'
    ).format(width, height, Markup(links), circles)  # noqa: S704 - numbers only


def position_nodes(steps: Sequence[ExplanationStep]) -> list[Node]:
    """Position the nodes: leaves side by side, a parent above the middle of its children."""
    parents = [index + step.parent if step.parent else -1 for index, step in enumerate(steps)]
    children: list[list[int]] = [[] for _ in steps]
    for index, parent in enumerate(parents):
        if 0 <= parent < len(steps):
            children[parent].append(index)
    xs, heights, leaves = [0.0] * len(steps), [0] * len(steps), 0
    for index, own in enumerate(children):
        if own:
            xs[index] = sum(xs[child] for child in own) / len(own)
            heights[index] = 1 + max(heights[child] for child in own)
        else:
            xs[index] = (leaves + 0.5) * _LEAF_DISTANCE
            leaves += 1
    top = max(heights)
    level_distance = min(_LEVEL_DISTANCE, _MAX_HEIGHT / max(1, top))
    return [
        Node(
            xs[index],
            (top - heights[index]) * level_distance + 16,
            parents[index],
            not children[index],
        )
        for index in range(len(steps))
    ]


def _draw_node(node: Node, step: ExplanationStep, largest: float) -> Markup:
    """Draw a node and its word: below a leaf, above a node that has children."""
    direction = "for" if (step.share or 0.0) >= 0 else "against"
    alpha = round(0.9 * min(1.0, abs(step.share or 0.0) / largest), 2)
    circle = Markup(
        '<circle class="node {}" style="--a:{}" cx="{:.1f}" cy="{:.1f}" r="7"><title>{}</title>'
        "</circle>"
    ).format(direction, alpha, node.x, node.y, f"{step.token} {format_number(step.share, 3)}")
    if not step.token:
        return circle
    y = node.y + 21 if node.is_leaf else node.y - 11
    return circle + Markup('<text class="mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
        node.x, y, (step.token or "")[:11]
    )
