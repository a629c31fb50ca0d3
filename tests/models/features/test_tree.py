"""Trees in brackets: parsed as by a plain parser, without labels, every bad one reported."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.serialization import parse_record, read_state, write_state
from models.features.tree import TreeInput, TreeState, fit, index_children, read_trees, transform

WORDS = st.sampled_from(["film", "good", "n't", "-LRB-", "...", "\u00e9t\u00e9", "1.5"])

# A node is its label and its content: words, or nodes.
TREES = st.recursive(
    st.tuples(st.sampled_from("0234"), st.lists(WORDS, min_size=1, max_size=1)),
    lambda below: st.tuples(
        st.sampled_from(["3", "NP", "S"]), st.lists(WORDS | below, min_size=1, max_size=4)
    ),
    max_leaves=12,
)

SPACES = st.sampled_from([" ", "  ", "\n", "\t "])


def format_tree(tree: tuple[str, list], space: str = " ") -> str:
    label, items = tree
    inner = [item if isinstance(item, str) else format_tree(item, space) for item in items]
    return f"({label}{space}{space.join(inner)})"


def plain_nodes(tree: tuple[str, list]) -> list[tuple[str | None, str | None, int, int]]:
    """Return word, label, parent's index and height of each node, in post-order."""
    nodes: list[list] = []

    def visit(item, parent_of: list[int]) -> int:
        if isinstance(item, str):
            nodes.append([item, None, -1, 0])
            return len(nodes) - 1
        label, items = item
        if len(items) == 1 and isinstance(items[0], str):
            nodes.append([items[0], label, -1, 0])
            return len(nodes) - 1
        below = [visit(inner, parent_of) for inner in items]
        nodes.append([None, label, -1, 1 + max(nodes[child][3] for child in below)])
        for child in below:
            nodes[child][2] = len(nodes) - 1
        return len(nodes) - 1

    visit(tree, [])
    return [tuple(node) for node in nodes]


@given(st.lists(st.tuples(TREES, SPACES), min_size=1, max_size=5))
def test_every_tree_is_parsed_as_by_a_plain_parser(trees) -> None:
    texts = pl.Series([format_tree(tree, space) for tree, space in trees])

    nodes = read_trees(texts, max_nodes=1000)

    expected = [plain_nodes(tree) for tree, _ in trees]
    assert nodes.lengths_R.tolist() == [len(tree) for tree in expected]
    flat = [node for tree in expected for node in tree]
    unescaped = [{"-LRB-": "("}.get(word, word) for word, *_ in flat]
    assert nodes.word_N.to_list() == unescaped
    assert nodes.label_N.to_list() == [label for _, label, *_ in flat]
    assert nodes.height_N.tolist() == [height for *_, height in flat]
    parents = [(index, node[2]) for tree in expected for index, node in enumerate(tree)]
    assert nodes.parent_N.tolist() == [max(0, parent - index) for index, parent in parents]


@given(TREES)
def test_children_are_those_whose_parent_one_is(tree) -> None:
    nodes = read_trees(pl.Series([format_tree(tree)]), max_nodes=1000)

    offsets, children = index_children(nodes.parent_N)

    for index in range(len(nodes.parent_N)):
        own = children[offsets[index] : offsets[index + 1]].tolist()
        expected = [
            child
            for child, distance in enumerate(nodes.parent_N.tolist())
            if distance and child + distance == index
        ]
        assert own == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "the tree is missing"),
        ("", "the tree is empty"),
        ("film", "begins with 'f' at character 1, expected '('"),
        ("(3 (2 good)", "ends with 1 brackets still open"),
        ("(3 good))", "ends before character 9, and something follows"),
        ("(3 good) (2 film)", "ends before character 10, and something follows"),
        ("(3 () good)", "has an empty node at character 5"),
        (")(", "begins with ')' at character 1"),
        ("(3 " * 30 + "x" + ")" * 30, "has more than 20 nodes"),
        ("(3 " + "x " * 30 + ")", "has more than 20 nodes"),
    ],
)
def test_an_invalid_tree_is_an_error_of_its_own_row(text: str | None, reason: str) -> None:
    texts = pl.Series(["(3 (2 a) (2 b))", text, "(1 c)"], dtype=pl.String)

    nodes = read_trees(texts, max_nodes=20)

    assert reason in nodes.errors_R[1]
    assert nodes.lengths_R.tolist() == [3, 0, 1]
    assert nodes.word_N.to_list() == ["a", "b", None, "c"]


def test_a_chain_of_thousands_of_nodes_is_read() -> None:
    text = "(3 " * 3000 + "x" + ")" * 3000

    nodes = read_trees(pl.Series([text]), max_nodes=5000)

    assert nodes.height_N.tolist() == list(range(3000))


def test_a_tree_of_more_levels_than_are_read_is_an_error_of_its_own_row() -> None:
    deep = "(3 " * 10_001 + "x" + ")" * 10_001
    texts = pl.Series(["(3 a)", deep, "(3 " * 10_000 + "x" + ")" * 10_000])

    nodes = read_trees(texts, max_nodes=10**6)

    assert nodes.errors_R == [
        None,
        "the tree is 10,001 levels deep, and at most 10,000 are read",
        None,
    ]
    assert nodes.lengths_R.tolist() == [1, 0, 10_000]


def test_labels_are_in_the_steps_only_where_configured() -> None:
    trees = pl.DataFrame({"t": ["(3 (2 good) (4 film))", "(0 (1 good) (1 bad))"] * 3})
    other = trees.with_columns(pl.col("t").str.replace_all(r"\(\d", "(9"))
    plain, labeled = (
        TreeInput(column="t", min_frequency=1, label_tokens=labels) for labels in (False, True)
    )

    one, two = (transform(frame, plain, fit([frame], plain)) for frame in (trees, other))
    state = fit([trees], labeled)

    np.testing.assert_array_equal(one.values_NC, two.values_NC)
    assert {"3", "0"} <= set(state.words)


def test_an_unknown_word_has_the_id_of_rare_ones() -> None:
    config = TreeInput(column="t", min_frequency=2)
    state = fit([pl.DataFrame({"t": ["(1 (1 a) (1 b))", "(1 (1 a) (1 rare))"]})], config)

    steps = transform(pl.DataFrame({"t": ["(1 (1 new) (1 (1 a) (1 rare)))"]}), config, state)

    assert state.words == ("a",)
    assert steps.values_NC[:, 0].tolist() == [0, 2, 0, 1, 1]


@given(st.lists(TREES, min_size=2, max_size=8), st.integers(1, 7))
def test_the_features_do_not_depend_on_the_chunks(trees, cut: int) -> None:
    frame = pl.DataFrame({"t": [format_tree(tree) for tree in trees]})
    config = TreeInput(column="t", min_frequency=1)

    whole, parts = fit([frame], config), fit(frame.iter_slices(cut), config)
    once = transform(frame, config, whole).values_NC
    pieces = [transform(part, config, whole).values_NC for part in frame.iter_slices(cut)]

    assert whole.words == parts.words
    np.testing.assert_array_equal(once, np.concatenate(pieces))


def test_the_state_survives_saving_and_an_empty_vocabulary_is_rejected(tmp_path) -> None:
    state = TreeState(words=("a", "b"), vectors_VD=np.ones((4, 3), np.float32))

    write_state(state, tmp_path / "state")
    result = parse_record(TreeState, read_state(tmp_path / "state"))

    assert result.words == state.words
    np.testing.assert_array_equal(result.vectors_VD, state.vectors_VD)
    with pytest.raises(UnlearnableError, match="lower min_frequency"):
        fit([pl.DataFrame({"t": ["(1 once)"]})], TreeInput(column="t"))
