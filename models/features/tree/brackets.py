"""Trees in brackets to arrays, all rows at once, without a loop over nodes.

Texts are split into brackets and words. The depth of a bracket is the number of open ones before
it, so a sort by depth puts each opening bracket next to its closing one, and a search among the
opening ones one level up finds its parent. Nodes are in the order of their ends: post-order.
Shapes: P brackets and words of all texts, N nodes, R rows.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.steps import Integers

_TREE_PATTERN = r"[()]|[^\s()]+"

_MAX_DEPTH = 10_000
"""Most levels of a tree: they are computed one after the other."""

_BRACKET_WORDS = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LCB-": "{",
    "-RCB-": "}",
    "-LSB-": "[",
    "-RSB-": "]",
}
"""How treebanks escape brackets that are words."""


class TreeNodes(NamedTuple):
    """The nodes of all trees, tree by tree, each in post-order."""

    word_N: pl.Series
    """Null for a node without a word."""
    label_N: pl.Series
    """Null for a word among others, which is a node without a label."""
    parent_N: Integers
    """Distance to the parent, 0 at the root."""
    height_N: Integers
    """0 for a leaf, else one more than that of the highest child."""
    lengths_R: Integers
    """Nodes of each row; 0 where it could not be read."""
    errors_R: list[str | None]


def read_trees(texts: pl.Series, *, max_nodes: int) -> TreeNodes:
    """Return the nodes of all trees; a text that is no tree is the error of its row."""
    texts = texts.cast(pl.String)
    errors_R: list[str | None] = [None] * len(texts)
    for row in np.flatnonzero(texts.is_null().to_numpy()):
        errors_R[row] = "the tree is missing"
    # Words that are nodes have no bracket, and are counted after they are split.
    brackets_R = texts.str.count_matches("(", literal=True).fill_null(0).to_numpy()
    for row in np.flatnonzero(brackets_R > max_nodes):
        errors_R[row] = _describe_large_tree(max_nodes)
    texts = texts.set(pl.Series(brackets_R > max_nodes), None)
    tokens = _tokenize(texts.fill_null(""))
    malformed_rows = np.flatnonzero(
        ~_mark_well_formed(tokens, len(texts)) & texts.is_not_null().to_numpy()
    )
    for row in malformed_rows:
        errors_R[row] = _describe_error(texts[int(row)])
    _add_size_errors(errors_R, tokens, max_nodes)
    is_valid_R = np.array([error is None for error in errors_R], bool)
    is_valid_P = is_valid_R[tokens.row_P]
    valid_tokens = _TreeTokens(
        tokens.text_P.filter(pl.Series(is_valid_P)),
        tokens.row_P[is_valid_P],
        tokens.step_P[is_valid_P],
    )
    return _build_nodes(valid_tokens, len(texts), errors_R)


def index_children(distances_N: Integers) -> tuple[Integers, Integers]:
    """Return offsets and children: those of node n are children[offsets[n] : offsets[n + 1]].

    Args:
        distances_N: from each node to its parent, 0 at a root.
    """
    nodes = np.flatnonzero(distances_N)
    parents = nodes + distances_N[nodes]
    counts = np.bincount(parents, minlength=len(distances_N))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return offsets, nodes[np.argsort(parents, kind="stable")].astype(np.int64)


class _TreeTokens(NamedTuple):
    """Brackets and words, in order."""

    text_P: pl.Series
    row_P: Integers
    step_P: Integers
    """1 for an opening bracket, -1 for a closing one, 0 for a word."""


def _tokenize(texts: pl.Series) -> _TreeTokens:
    """Return texts split into brackets and words."""
    lists = texts.str.extract_all(_TREE_PATTERN)
    counts = lists.list.len().to_numpy().astype(np.int64)
    flat = lists.explode(empty_as_null=False, keep_nulls=False)
    opens, closes = (flat == "(").to_numpy(), (flat == ")").to_numpy()
    steps = opens.astype(np.int64) - closes
    return _TreeTokens(flat, np.repeat(np.arange(len(texts)), counts), steps)


def _mark_well_formed(tokens: _TreeTokens, rows: int) -> NDArray[np.bool_]:
    """Return which rows are one tree: balanced, closed at their end only, no node empty."""
    step_P, row_P = tokens.step_P, tokens.row_P
    if not len(step_P):
        return np.zeros(rows, bool)
    starts = np.flatnonzero(np.diff(row_P, prepend=-1))
    running = np.cumsum(step_P)
    offset = np.repeat(running[starts] - step_P[starts], np.diff(np.append(starts, len(row_P))))
    depth_P = running - offset
    is_last_P = np.append(np.diff(row_P) != 0, True)
    is_bad_P = (depth_P < 0) | ((depth_P == 0) != is_last_P) | ((step_P == 0) & (depth_P < 1))
    # An opening bracket that is closed at once is an empty node.
    is_bad_P[:-1] |= (step_P[:-1] == 1) & (step_P[1:] == -1)
    is_good_R = np.zeros(rows, bool)
    is_good_R[row_P[starts]] = True
    is_good_R[row_P[is_bad_P]] = False
    return is_good_R


def _add_size_errors(errors_R: list[str | None], tokens: _TreeTokens, max_nodes: int) -> None:
    """Add an error in place to each well-formed tree that has too many nodes or levels."""
    is_node_P = (tokens.step_P == 1) | _mark_node_words(tokens.step_P)[0]
    sizes_R = np.bincount(tokens.row_P[is_node_P], minlength=len(errors_R))
    depths_R = np.zeros(len(errors_R), np.int64)
    is_valid_P = np.array([error is None for error in errors_R], bool)[tokens.row_P]
    # A well-formed tree closes all of its brackets, so the running sum begins at 0 in each row.
    np.maximum.at(depths_R, tokens.row_P[is_valid_P], np.cumsum(tokens.step_P[is_valid_P]))
    for row in np.flatnonzero((sizes_R > max_nodes) | (depths_R > _MAX_DEPTH)):
        large, deep = _describe_large_tree(max_nodes), depths_R[row]
        errors_R[row] = errors_R[row] or (
            large
            if sizes_R[row] > max_nodes
            else f"the tree is {deep:,} levels deep, and at most {_MAX_DEPTH:,} are read"
        )


def _describe_large_tree(max_nodes: int) -> str:
    """Return the error of a tree with more nodes."""
    return f"the tree has more than {max_nodes} nodes"


def _mark_labels(step_P: Integers) -> NDArray[np.bool_]:
    """Return which words are labels: the first one after an open bracket."""
    is_label_P = np.zeros(len(step_P), bool)
    is_label_P[1:] = (step_P[1:] == 0) & (step_P[:-1] == 1)
    return is_label_P


def _mark_node_words(step_P: Integers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which words are nodes of their own, and which are the only one of their node."""
    is_label_P = _mark_labels(step_P)
    is_word_P = (step_P == 0) & ~is_label_P
    is_only_word_P = is_word_P & np.append(step_P[1:] == -1, False)
    is_only_word_P[2:] &= is_label_P[1:-1] & (step_P[:-2] == 1)
    is_only_word_P[:2] = False
    return is_word_P & ~is_only_word_P, is_only_word_P


def _describe_error(text: str) -> str:
    """Return why a text is no tree, with the position of the error."""
    depth, closed, just_opened = 0, False, False
    for position, character in enumerate(text):
        if character.isspace():
            continue
        if closed:
            return f"the tree ends before character {position + 1}, and something follows"
        if depth == 0 and character != "(":
            return f"the tree begins with '{character}' at character {position + 1}, expected '('"
        if character == ")" and just_opened:
            return f"the tree has an empty node at character {position + 1}"
        depth += (character == "(") - (character == ")")
        just_opened, closed = character == "(", depth == 0
    if depth:
        return f"the tree ends with {depth} brackets still open"
    return "the tree is empty"


def _build_nodes(tokens: _TreeTokens, rows: int, errors_R: list[str | None]) -> TreeNodes:
    """Return the nodes of well-formed trees, with their parents and heights."""
    step_P = tokens.step_P
    positions = np.arange(len(step_P))
    depth_P = np.cumsum(step_P) + (step_P == -1)
    bracket_end_P = _match_brackets(step_P, depth_P)
    # A word alone in its node is that node's word; one among others is a node of its own.
    is_node_word_P, is_only_word_P = _mark_node_words(step_P)
    is_label_P = _mark_labels(step_P)
    is_open_P = step_P == 1
    is_node_P = is_open_P | is_node_word_P
    end_P = np.where(is_open_P, bracket_end_P, positions)
    level_P = depth_P + is_node_word_P
    starts = positions[is_node_P]
    order = np.argsort(end_P[is_node_P], kind="stable")
    starts = starts[order]
    number_P = np.full(len(step_P), -1, np.int64)
    number_P[starts] = np.arange(len(starts))
    parents_N = _find_parents(starts, level_P, is_open_P, number_P)
    numbers = np.arange(len(starts))
    text_P = tokens.text_P.replace(_BRACKET_WORDS)
    word_positions = np.where(is_node_word_P[starts], starts, starts + 2)
    has_word = is_node_word_P[starts] | is_only_word_P[np.minimum(starts + 2, len(step_P) - 1)]
    has_label = is_open_P[starts] & is_label_P[np.minimum(starts + 1, len(step_P) - 1)]
    return TreeNodes(
        _gather_texts(text_P, word_positions, has_word),
        _gather_texts(text_P, starts + 1, has_label),
        np.where(parents_N >= 0, parents_N - numbers, 0),
        _compute_heights(parents_N, level_P[starts]),
        np.bincount(tokens.row_P[starts], minlength=rows).astype(np.int64),
        errors_R,
    )


def _gather_texts(
    text_P: pl.Series, positions: Integers, is_present: NDArray[np.bool_]
) -> pl.Series:
    """Return the texts at these positions, null where `is_present` is False."""
    index = pl.Series(np.where(is_present, positions, 0)).set(pl.Series(~is_present), None)
    return text_P.gather(index) if len(text_P) else text_P


def _match_brackets(step_P: Integers, depth_P: Integers) -> Integers:
    """Return the position of the closing bracket of each opening one, [P]."""
    brackets = np.flatnonzero(step_P)
    by_depth = brackets[np.argsort(depth_P[brackets], kind="stable")]
    closing = np.zeros(len(step_P), np.int64)
    # At one depth, opening and closing brackets alternate.
    closing[by_depth[0::2]] = by_depth[1::2]
    return closing


def _find_parents(
    starts: Integers, level_P: Integers, is_open_P: NDArray[np.bool_], number_P: Integers
) -> Integers:
    """Return the number of each node's parent: the last one opened one level up; -1 for a root."""
    size = len(level_P) + 1
    open_positions = np.flatnonzero(is_open_P)
    keys = level_P[open_positions] * size + open_positions
    order = np.argsort(keys, kind="stable")
    wanted = (level_P[starts] - 1) * size + starts
    index = np.searchsorted(keys[order], wanted) - 1
    parents = number_P[open_positions[order][np.maximum(index, 0)]]
    return np.where(level_P[starts] > 1, parents, -1)


def _compute_heights(parents_N: Integers, level_N: Integers) -> Integers:
    """Return the height of each node above its lowest leaf, level by level from the deepest."""
    heights = np.zeros(len(parents_N), np.int64)
    by_level = np.argsort(-level_N, kind="stable")
    level_starts = np.flatnonzero(np.diff(-level_N[by_level])) + 1
    for nodes in np.split(by_level, level_starts) if len(by_level) else ():
        children = nodes[parents_N[nodes] >= 0]
        np.maximum.at(heights, parents_N[children], heights[children] + 1)
    return heights
