"""Whether the nodes of trees can be targets too."""

import polars as pl

from models.features.tree import TreeInput, read_trees

_TREES = 200


def labels_are_classes(trees: pl.Series, target: pl.Series) -> bool:
    """Check whether the nodes below the roots are labelled with classes of the target.

    So it is in the Stanford Sentiment Treebank, where each phrase has a sentiment of its own; in a
    tree of grammar no label is a class.

    Args:
        trees: in brackets.
        target: of the same rows.
    """
    nodes = read_trees(trees.head(_TREES), max_nodes=TreeInput(column="tree").max_nodes)
    is_inner_N = pl.Series(nodes.parent_N != 0)
    labels = nodes.label_N.filter(is_inner_N).drop_nulls().unique()
    classes = target.drop_nulls().cast(pl.String).unique()
    return len(labels) > 1 and bool(labels.is_in(classes.implode()).all())
