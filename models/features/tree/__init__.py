"""Trees in brackets to nodes in post-order: a word, the distance to the parent, the height.

A node's label is read only where training learns from it, for the root's is what is mostly asked.
Shapes: N nodes, K = 3 numbers a node, or 4 with its label.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.feature_spec import Trees
from models.features.steps import Steps
from models.features.tree.brackets import Nodes, child_index, read_trees
from models.features.tree.config import UNKNOWN, WORDLESS, TreeInput, TreeState

__all__ = [
    "TreeInput",
    "TreeState",
    "child_index",
    "fit",
    "packages",
    "read_trees",
    "rows_at_once",
    "signal",
    "transform",
]

MOST_WORDS = 2**20
"""Distinct words that are counted at once; beyond, those seen once are forgotten."""

MOST_LABELS = 10_000

ROWS_AT_ONCE = 4_096

UNLABELLED = -1


def words_of(nodes: Nodes, config: TreeInput) -> pl.Series:
    """Read the word of each node, null where it has none."""
    words = (
        nodes.word_N.zip_with(nodes.word_N.is_not_null(), nodes.label_N)
        if config.label_tokens
        else (nodes.word_N)
    )
    return words.str.to_lowercase() if config.lowercase else words


def fit(frames: Iterable[pl.DataFrame], config: TreeInput) -> TreeState:
    """Choose the words of the training trees that have ids, the most frequent first.

    Raises:
        UnlearnableError: there is not one.
    """
    counts = pl.DataFrame(schema={"word": pl.String, "count": pl.Int64})
    labels: set[str] = set()
    for frame in frames:
        for part in frame.iter_slices(ROWS_AT_ONCE):
            nodes = read_trees(part[config.column], max_nodes=config.max_nodes)
            if config.supervise_nodes:
                labels |= set(nodes.label_N.drop_nulls().unique().to_list())
                refuse_names(labels, config)
            here = words_of(nodes, config).drop_nulls().rename("word").value_counts()
            both = pl.concat([counts, here.with_columns(pl.col("count").cast(pl.Int64))])
            counts = both.group_by("word").agg(pl.col("count").sum())
            if len(counts) > MOST_WORDS:
                counts = counts.filter(pl.col("count") > 1)
    kept = counts.filter(pl.col("count") >= config.min_frequency)
    chosen = kept.sort("count", "word", descending=[True, False]).head(config.vocab_size)
    if chosen.is_empty():
        raise UnlearnableError(
            f"column '{config.column}' has no word that stands {config.min_frequency} times in "
            "the training trees; lower min_frequency, or give more data"
        )
    words = tuple(chosen["word"].to_list())
    return TreeState(
        words=words, vectors_VD=vectors_of(words, config), labels=tuple(sorted(labels))
    )


def refuse_names(labels: set[str], config: TreeInput) -> None:
    """Refuse labels that are no classes.

    Raises:
        UnlearnableError: there are too many of them.
    """
    if len(labels) > MOST_LABELS:
        raise UnlearnableError(
            f"column '{config.column}' has more than {MOST_LABELS} labels of nodes, which are no "
            "classes; remove supervise_nodes"
        )


def vectors_of(
    words: tuple[str, ...], config: TreeInput
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]] | None":
    """Look up where the words' vectors begin; zeros for nodes without a word."""
    if config.pretrained_embeddings is None:
        return None
    from models.features.text.vectors import word_vectors

    known = word_vectors(config.pretrained_embeddings, words)
    blank = np.zeros((1, known.shape[1]), np.float32)
    return np.concatenate([known[:1], blank, known[1:]])


def transform(frame: pl.DataFrame, config: TreeInput, state: TreeState) -> Steps:
    """Turn every tree into its nodes."""
    nodes = read_trees(frame[config.column], max_nodes=config.max_nodes)
    ids = words_of(nodes, config).replace_strict(
        state.words, range(2, len(state.words) + 2), default=UNKNOWN, return_dtype=pl.Int32
    )
    blank = words_of(nodes, config).is_null().to_numpy()
    values_NK = np.empty((len(ids), 4 if config.supervise_nodes else 3), np.int32)
    values_NK[:, 0] = np.where(blank, WORDLESS, ids.fill_null(UNKNOWN).to_numpy())
    values_NK[:, 1] = nodes.parent_N
    values_NK[:, 2] = nodes.height_N
    if config.supervise_nodes:
        codes = nodes.label_N.replace_strict(
            state.labels, range(len(state.labels)), default=UNLABELLED, return_dtype=pl.Int32
        )
        values_NK[:, 3] = codes.fill_null(UNLABELLED).to_numpy()
    stops_R = np.cumsum(nodes.lengths_R)
    return Steps(values_NK, stops_R - nodes.lengths_R, stops_R, nodes.errors_R)


def rows_at_once(_: TreeState) -> int:
    """Return how many rows fit in memory, as nodes."""
    return ROWS_AT_ONCE


def signal(config: TreeInput, state: TreeState) -> Trees:
    """Tell the network how many ids there are, and with which vectors they begin."""
    return Trees(
        size=len(state.words) + 2,
        vectors_VD=state.vectors_VD,
        frozen=config.freeze_embeddings,
        labels=state.labels,
    )


def packages(_: TreeInput) -> tuple[str, ...]:
    """Name what a served model needs: the vectors are in its weights."""
    return ()
