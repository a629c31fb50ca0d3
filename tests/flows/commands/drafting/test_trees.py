"""Trees whose nodes have classes of the target teach by their nodes."""

import polars as pl
import pytest

from flows.commands.drafting.trees import labels_are_classes


@pytest.mark.parametrize(
    ("trees", "target", "expected"),
    [
        (["(3 (2 a) (4 fine))", "(1 (1 a) (2 film))"], [3, 1, 2, 4], True),
        (["(3 (2 a) (4 fine))", "(1 (1 a) (2 film))"], ["1", "2", "3", "4"], True),
        (["(3 (2 a) (5 fine))", "(1 (1 a) (2 film))"], [3, 1, 2, 4], False),
        (["(S (NP a) (VP fine))"], ["question", "statement"], False),
        (["(yes (NP a) (VP fine))", "(no (NP a) (VP film))"], ["yes", "no"], False),
        (["(1 a film)", "(2 a play)"], [1, 2], False),
    ],
)
def test_nodes_teach_where_all_their_labels_are_classes(
    trees: list[str], target: list[object], expected: bool
) -> None:
    assert labels_are_classes(pl.Series(trees), pl.Series(target)) is expected
