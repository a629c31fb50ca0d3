"""Bracketed trees to arrays, all rows at once: no loop over nodes.

Texts are cut into brackets and words. A bracket's depth is the count of those open before it, so
one sort by depth brings each opening bracket beside its closing one, and a search among the
openings one level up finds its parent. Nodes are numbered by where they end, which is post-order.
Shapes: P brackets and words of all texts, N nodes, R rows.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.steps import Integers

PIECES = r"[()]|[^\s()]+"

BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LCB-": "{", "-RCB-": "}", "-LSB-": "[", "-RSB-": "]"}
"""How treebanks write brackets that are words."""


class Nodes(NamedTuple):
    """The nodes of all trees, tree by tree, each in post-order."""

    word_N: pl.Series
    """Null for a node without a word."""
    label_N: pl.Series
    """Null for a word that stands beside others."""
    parent_N: Integers
    """Distance to the parent, 0 at the root."""
    height_N: Integers
    """0 for a leaf, else one more than the highest child's."""
    lengths_R: Integers
    """Nodes of each row; 0 where it could not be read."""
    errors_R: list[str | None]


class Pieces(NamedTuple):
    """Brackets and words, in order."""

    text_P: pl.Series
    row_P: Integers
    step_P: Integers
    """1 for an opening bracket, -1 for a closing one, 0 for a word."""


def read_trees(texts: pl.Series, *, max_nodes: int) -> Nodes:
    """Read every text; one that is no tree is its row's error."""
    texts = texts.cast(pl.String)
    errors_R: list[str | None] = [None] * len(texts)
    for row in np.flatnonzero(texts.is_null().to_numpy()):
        errors_R[row] = "the tree is missing"
    pieces = cut(texts.fill_null(""))
    bad_R = np.flatnonzero(~well_formed(pieces, len(texts)) & texts.is_not_null().to_numpy())
    for row in bad_R:
        errors_R[row] = fault_of(texts[int(row)])
    large_R = np.bincount(pieces.row_P[pieces.step_P == 1], minlength=len(texts)) > max_nodes
    for row in np.flatnonzero(large_R):
        errors_R[row] = errors_R[row] or f"the tree has more than {max_nodes} nodes"
    good_R = np.array([error is None for error in errors_R], bool)
    kept = good_R[pieces.row_P]
    good = Pieces(pieces.text_P.filter(pl.Series(kept)), pieces.row_P[kept], pieces.step_P[kept])
    return nodes_of(good, len(texts), errors_R)


def cut(texts: pl.Series) -> Pieces:
    """Cut texts into brackets and words."""
    lists = texts.str.extract_all(PIECES)
    counts = lists.list.len().to_numpy().astype(np.int64)
    flat = lists.explode(empty_as_null=False, keep_nulls=False)
    opens, closes = (flat == "(").to_numpy(), (flat == ")").to_numpy()
    steps = opens.astype(np.int64) - closes
    return Pieces(flat, np.repeat(np.arange(len(texts)), counts), steps)


def well_formed(pieces: Pieces, rows: int) -> NDArray[np.bool_]:
    """Return which rows are one tree: balanced, closed at their end only, no node empty."""
    step_P, row_P = pieces.step_P, pieces.row_P
    if not len(step_P):
        return np.zeros(rows, bool)
    starts = np.flatnonzero(np.diff(row_P, prepend=-1))
    running = np.cumsum(step_P)
    before = np.repeat(running[starts] - step_P[starts], np.diff(np.append(starts, len(row_P))))
    depth_P = running - before
    last_P = np.append(np.diff(row_P) != 0, True)
    bad_P = (depth_P < 0) | ((depth_P == 0) != last_P) | ((step_P == 0) & (depth_P < 1))
    # An opening bracket that is closed at once names nothing.
    bad_P[:-1] |= (step_P[:-1] == 1) & (step_P[1:] == -1)
    good = np.zeros(rows, bool)
    good[row_P[starts]] = True
    good[row_P[bad_P]] = False
    return good


def fault_of(text: str) -> str:
    """Return where a text stops being a tree."""
    depth, closed, empty = 0, False, False
    for place, letter in enumerate(text):
        if letter.isspace():
            continue
        if closed:
            return f"the tree ends before character {place + 1}, and something follows"
        if depth == 0 and letter != "(":
            return f"the tree begins with '{letter}' at character {place + 1}, expected '('"
        if letter == ")" and empty:
            return f"the tree has an empty node at character {place + 1}"
        depth += (letter == "(") - (letter == ")")
        empty, closed = letter == "(", depth == 0
    if depth:
        return f"the tree ends with {depth} brackets still open"
    return "the tree is empty"


def nodes_of(pieces: Pieces, rows: int, errors_R: list[str | None]) -> Nodes:
    """Make the nodes of trees that are well-formed, with their parents and heights."""
    step_P = pieces.step_P
    places = np.arange(len(step_P))
    depth_P = np.cumsum(step_P) + (step_P == -1)
    label_P = np.zeros(len(step_P), bool)
    label_P[1:] = (step_P[1:] == 0) & (step_P[:-1] == 1)
    ends_P = closing(step_P, depth_P)
    word_P = (step_P == 0) & ~label_P
    # A word alone in its node is that node's; one beside others is a node of its own.
    only_P = word_P & np.append(step_P[1:] == -1, False)
    only_P[2:] &= label_P[1:-1] & (step_P[:-2] == 1)
    only_P[:2] = False
    opens_P = step_P == 1
    lone_P = word_P & ~only_P
    node_P = opens_P | lone_P
    end_P = np.where(opens_P, ends_P, places)
    level_P = depth_P + lone_P
    starts = places[node_P]
    order = np.argsort(end_P[node_P], kind="stable")
    starts = starts[order]
    number_P = np.full(len(step_P), -1, np.int64)
    number_P[starts] = np.arange(len(starts))
    parents_N = parents_of(starts, level_P, opens_P, number_P)
    numbers = np.arange(len(starts))
    text_P = pieces.text_P.replace(BRACKETS)
    word_at = np.where(lone_P[starts], starts, starts + 2)
    has_word = lone_P[starts] | only_P[np.minimum(starts + 2, len(step_P) - 1)]
    has_label = opens_P[starts] & label_P[np.minimum(starts + 1, len(step_P) - 1)]
    return Nodes(
        taken(text_P, word_at, has_word),
        taken(text_P, starts + 1, has_label),
        np.where(parents_N >= 0, parents_N - numbers, 0),
        heights_of(parents_N, level_P[starts]),
        np.bincount(pieces.row_P[starts], minlength=rows).astype(np.int64),
        errors_R,
    )


def taken(text_P: pl.Series, places: Integers, present: NDArray[np.bool_]) -> pl.Series:
    """Take the texts at these places, null where there is none."""
    index = pl.Series(np.where(present, places, 0)).set(pl.Series(~present), None)
    return text_P.gather(index) if len(text_P) else text_P


def closing(step_P: Integers, depth_P: Integers) -> Integers:
    """Find where each opening bracket is closed."""
    brackets = np.flatnonzero(step_P)
    by_depth = brackets[np.argsort(depth_P[brackets], kind="stable")]
    ends = np.zeros(len(step_P), np.int64)
    # At one depth, openings and closings take turns.
    ends[by_depth[0::2]] = by_depth[1::2]
    return ends


def parents_of(
    starts: Integers, level_P: Integers, opens_P: NDArray[np.bool_], number_P: Integers
) -> Integers:
    """Find each node's parent by number: the last bracket opened before it one level up; or -1."""
    size = len(level_P) + 1
    opens = np.flatnonzero(opens_P)
    keys = level_P[opens] * size + opens
    order = np.argsort(keys, kind="stable")
    wanted = (level_P[starts] - 1) * size + starts
    found = np.searchsorted(keys[order], wanted) - 1
    parents = number_P[opens[order][np.maximum(found, 0)]]
    return np.where(level_P[starts] > 1, parents, -1)


def heights_of(parents_N: Integers, level_N: Integers) -> Integers:
    """Find how far each node is above its lowest leaf, level by level from the deepest."""
    heights = np.zeros(len(parents_N), np.int64)
    by_level = np.argsort(-level_N, kind="stable")
    cuts = np.flatnonzero(np.diff(-level_N[by_level])) + 1
    for nodes in np.split(by_level, cuts) if len(by_level) else ():
        below = nodes[parents_N[nodes] >= 0]
        np.maximum.at(heights, parents_N[below], heights[below] + 1)
    return heights


def child_index(distances_N: Integers) -> tuple[Integers, Integers]:
    """List the children of each node: those of node n are children[offsets[n] : offsets[n + 1]].

    Args:
        distances_N: from each node to its parent, 0 at a root.
    """
    nodes = np.flatnonzero(distances_N)
    parents = nodes + distances_N[nodes]
    counts = np.bincount(parents, minlength=len(distances_N))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return offsets, nodes[np.argsort(parents, kind="stable")].astype(np.int64)
