"""Trees in brackets to nodes in post-order: a word, the distance to the parent, the height.

The label of a node is read only if it is a word or a target, as the root's is often the target.
Shapes: N nodes, K = 3 numbers a node, or 4 with its label.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.feature_spec import Trees
from models.features.steps import Steps
from models.features.tree.brackets import TreeNodes, index_children, read_trees
from models.features.tree.config import UNKNOWN_ID, WORDLESS_ID, TreeInput, TreeState

__all__ = [
    "TreeInput",
    "TreeState",
    "build_spec",
    "compute_max_rows",
    "fit",
    "index_children",
    "list_packages",
    "read_trees",
    "transform",
]

_MAX_COUNTED_WORDS = 2**20
"""Most distinct words that are counted; with more, those that occurred once are dropped."""

_MAX_LABELS = 10_000

_BATCH_ROWS = 4_096

_NO_LABEL = -1


def read_node_words(nodes: TreeNodes, config: TreeInput) -> pl.Series:
    """Return the word of each node, null where it has none."""
    words = (
        nodes.word_N.zip_with(nodes.word_N.is_not_null(), nodes.label_N)
        if config.label_tokens
        else nodes.word_N
    )
    return words.str.to_lowercase() if config.lowercase else words


def fit(frames: Iterable[pl.DataFrame], config: TreeInput) -> TreeState:
    """Return the vocabulary of the training trees, the most frequent words first.

    Raises:
        UnlearnableError: no word is frequent enough, or there are too many labels.
    """
    counts = pl.DataFrame(schema={"word": pl.String, "count": pl.Int64})
    labels: set[str] = set()
    for frame in frames:
        for batch in frame.iter_slices(_BATCH_ROWS):
            nodes = read_trees(batch[config.column], max_nodes=config.max_nodes)
            if config.supervise_nodes:
                labels |= set(nodes.label_N.drop_nulls().unique().to_list())
                _check_labels(labels, config)
            batch_counts = read_node_words(nodes, config).drop_nulls().rename("word").value_counts()
            all_counts = pl.concat(
                [counts, batch_counts.with_columns(pl.col("count").cast(pl.Int64))]
            )
            counts = all_counts.group_by("word").agg(pl.col("count").sum())
            if len(counts) > _MAX_COUNTED_WORDS:
                counts = counts.filter(pl.col("count") > 1)
    frequent = counts.filter(pl.col("count") >= config.min_frequency)
    vocabulary = frequent.sort("count", "word", descending=[True, False]).head(config.vocab_size)
    if vocabulary.is_empty():
        raise UnlearnableError(
            f"column '{config.column}' has no word that occurs {config.min_frequency} times in "
            "the training trees; lower min_frequency, or give more data"
        )
    words = tuple(vocabulary["word"].to_list())
    return TreeState(
        words=words, vectors_VD=_load_vectors(words, config), labels=tuple(sorted(labels))
    )


def transform(frame: pl.DataFrame, config: TreeInput, state: TreeState) -> Steps:
    """Return the nodes of each tree as steps; a text that is no tree is the error of its row."""
    nodes = read_trees(frame[config.column], max_nodes=config.max_nodes)
    ids = read_node_words(nodes, config).replace_strict(
        state.words, range(2, len(state.words) + 2), default=UNKNOWN_ID, return_dtype=pl.Int32
    )
    is_wordless = read_node_words(nodes, config).is_null().to_numpy()
    values_NK = np.empty((len(ids), 4 if config.supervise_nodes else 3), np.int32)
    values_NK[:, 0] = np.where(is_wordless, WORDLESS_ID, ids.fill_null(UNKNOWN_ID).to_numpy())
    values_NK[:, 1] = nodes.parent_N
    values_NK[:, 2] = nodes.height_N
    if config.supervise_nodes:
        codes = nodes.label_N.replace_strict(
            state.labels, range(len(state.labels)), default=_NO_LABEL, return_dtype=pl.Int32
        )
        values_NK[:, 3] = codes.fill_null(_NO_LABEL).to_numpy()
    stops_R = np.cumsum(nodes.lengths_R)
    return Steps(values_NK, stops_R - nodes.lengths_R, stops_R, nodes.errors_R)


def compute_max_rows(_: TreeState) -> int:
    """Return how many rows may be transformed at once, so that they fit in memory."""
    return _BATCH_ROWS


def build_spec(config: TreeInput, state: TreeState) -> Trees:
    """Return the number of ids, their pretrained embeddings, and the labels."""
    return Trees(
        size=len(state.words) + 2,
        vectors_VD=state.vectors_VD,
        frozen=config.freeze_embeddings,
        labels=state.labels,
    )


def list_packages(_: TreeInput) -> tuple[str, ...]:
    """Return the packages that prediction needs: none, as the embeddings are in the weights."""
    return ()


def _check_labels(labels: set[str], config: TreeInput) -> None:
    """Check that the labels of nodes can be classes.

    Raises:
        UnlearnableError: there are too many of them.
    """
    if len(labels) > _MAX_LABELS:
        raise UnlearnableError(
            f"column '{config.column}' has more than {_MAX_LABELS} labels of nodes, which are no "
            "classes; remove supervise_nodes"
        )


def _load_vectors(
    words: tuple[str, ...], config: TreeInput
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]] | None":
    """Return the pretrained vector of each id, [V, D], zeros without a word; None if not set."""
    if config.pretrained_embeddings is None:
        return None
    from models.features.text.pretrained_embeddings import load_word_vectors

    vectors = load_word_vectors(config.pretrained_embeddings, words)
    zeros = np.zeros((1, vectors.shape[1]), np.float32)
    return np.concatenate([vectors[:1], zeros, vectors[1:]])
