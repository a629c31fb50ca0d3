"""Trees in brackets to nodes in post-order: a word, the distance to the parent, the height.

The label of a node is read only if it is a word or a target, as the root's is often the target.
Shapes: N nodes, K = 3 numbers a node, or 4 with its label.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.embeddings.sources import find_source
from models.features.embeddings.word_table import MAX_FURTHER_WORDS, WordTable, load_word_table
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
    "list_files",
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
    ranked = counts.sort("count", "word", descending=[True, False])
    vocabulary = ranked.filter(pl.col("count") >= config.min_frequency).head(config.vocab_size)
    if vocabulary.is_empty():
        raise UnlearnableError(
            f"column '{config.column}' has no word that occurs {config.min_frequency} times in "
            "the training trees; lower min_frequency, or give more data"
        )
    if config.pretrained_embeddings is None:
        return TreeState(words=tuple(vocabulary["word"].to_list()), labels=tuple(sorted(labels)))
    table = load_word_table(
        config.pretrained_embeddings,
        ranked.head(len(vocabulary) + MAX_FURTHER_WORDS).rows(),
        learned=len(vocabulary),
        max_dim=config.pretrained_dim,
        further=MAX_FURTHER_WORDS,
    )
    return TreeState(
        words=table.words,
        vectors_VD=_insert_wordless(table),
        num_learned=len(vocabulary) + 2,
        embeddings=table.summary,
        labels=tuple(sorted(labels)),
    )


def transform(frame: pl.DataFrame, config: TreeInput, state: TreeState) -> Steps:
    """Return the nodes of each tree as steps; a text that is no tree is the error of its row."""
    nodes = read_trees(frame[config.column], max_nodes=config.max_nodes)
    words = read_node_words(nodes, config)
    ids = _find_ids(words, state)
    if state.vectors_VD is not None:
        ids = ids.zip_with(ids != UNKNOWN_ID, _find_ids(words.str.to_lowercase(), state))
    is_wordless = words.is_null().to_numpy()
    values_NK = np.empty((len(ids), 4 if config.supervise_nodes else 3), np.int32)
    values_NK[:, 0] = np.where(is_wordless, WORDLESS_ID, ids.to_numpy())
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
        num_learned=state.num_learned,
        labels=state.labels,
    )


def list_files(config: TreeInput) -> tuple[Path, ...]:
    """Return the files that fitting reads: those of the pretrained vectors.

    Raises:
        UnlearnableError: there are none.
    """
    if config.pretrained_embeddings is None:
        return ()
    return find_source(config.pretrained_embeddings).files


def list_packages(_: TreeInput, __: TreeState | None) -> tuple[str, ...]:
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


def _find_ids(words: pl.Series, state: TreeState) -> pl.Series:
    """Return the ids of words; that of unknown ones where there is no word, too."""
    ids = words.replace_strict(
        state.words, range(2, len(state.words) + 2), default=UNKNOWN_ID, return_dtype=pl.Int32
    )
    return ids.fill_null(UNKNOWN_ID)


def _insert_wordless(table: WordTable) -> NDArray[np.float16]:
    """Return the vectors of a table with zeros for the id of nodes without a word, [V, D]."""
    return np.insert(table.vectors_VD, WORDLESS_ID, 0, axis=0)
