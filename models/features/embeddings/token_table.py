"""The table of a tokenizer's tokens: a matrix in safetensors, with one row a token.

A static table (Model2Vec, StaticEmbedding of sentence-transformers), or the input embeddings of any
model of Hugging Face. Its matrix is recognized by its name and its number of rows.

Shapes: T ids of the tokenizer, V ids of the job, D numbers of a vector.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.embeddings.projection import Block, compress_vectors
from models.features.embeddings.sources import TOKENIZER_FILE, find_source
from models.features.steps import Integers

MAX_FURTHER_TOKENS = 50_000
"""Tokens of the table that are kept although training did not learn them."""

_NAMES = (
    "embeddings",
    "embedding",
    "embedding.weight",
    "embeddings.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "token_embedding.weight",
    "embed_tokens.weight",
    "embed_in.weight",
    "wte.weight",
    "shared.weight",
)
"""Last parts of the names of input embeddings."""

_FLOAT_TYPES = {"F64", "F32", "F16", "BF16", "I8"}

_MAX_PADDED_ROWS = 1_024
"""Rows by which a matrix may be longer than the vocabulary, as the sizes of many are rounded up."""

_BLOCK_ROWS = 4_096

_MAPPING, _WEIGHTS = "mapping", "weights"
"""Tensors of a quantized vocabulary of Model2Vec: the row of each token, and its factor."""


class TokenMatrix(NamedTuple):
    """The matrix of a token table."""

    path: Path
    key: str
    """Its name in the file."""
    rows: int
    dim: int


def find_tokenizer_file(name: str) -> Path:
    """Return the file with the tokenizer of a table.

    Raises:
        UnlearnableError: there is no such table.
    """
    return find_source(name).files[0]


def find_matrix(name: str, key: str | None, size: int) -> TokenMatrix:
    """Find the matrix of a table.

    Args:
        name: of the table, as in the job file.
        key: of the matrix, where the job file has it.
        size: number of the tokenizer's ids, T.

    Raises:
        UnlearnableError: there is none, or which one it is is not clear.
    """
    tables = _list_matrices(find_source(name).files[1:])
    if key is not None:
        for table in tables:
            if table.key == key:
                return _check_rows(table, name, size)
        raise UnlearnableError(
            f"embedding_key: '{name}' has no matrix '{key}'; it has {_list_keys(tables)}"
        )
    fitting = [each for each in tables if size <= each.rows <= size + _MAX_PADDED_ROWS]
    named = [each for each in tables if _has_usual_name(each.key)]
    for found in ([each for each in fitting if _has_usual_name(each.key)], fitting, named):
        if len(found) == 1:
            return _check_rows(found[0], name, size)
    raise UnlearnableError(
        f"pretrained_embeddings: which tensor of '{name}' has the vectors of the {size} tokens is "
        f"not clear; name it in embedding_key, one of {_list_keys(fitting or tables)}"
    )


def read_token_vectors(matrix: TokenMatrix, ids_F: Integers, max_dim: int) -> NDArray[np.float16]:
    """Return the vectors of some of the tokenizer's ids in at most `max_dim` dimensions, [F, K].

    Raises:
        UnlearnableError: a number is not finite.
    """
    from safetensors import safe_open

    with safe_open(matrix.path, "pt") as file:
        rows_F, weights_F = _map_rows(file, ids_F)
        order_F = np.argsort(rows_F, kind="stable")
        tensor = file.get_slice(matrix.key)

        def read_blocks() -> Iterator[Block]:
            for start in range(0, matrix.rows, _BLOCK_ROWS):
                stop = start + _BLOCK_ROWS
                first, last = np.searchsorted(rows_F[order_F], [start, stop])
                if first < last:
                    chosen = order_F[first:last]
                    part = tensor[start:stop].float().numpy()[rows_F[chosen] - start]
                    _check_finite(part, matrix, rows_F[chosen])
                    yield Block(chosen, part * weights_F[chosen, None])

        return compress_vectors(read_blocks, len(ids_F), max_dim)


def _map_rows(file: Any, ids_F: Integers) -> tuple[Integers, NDArray[np.float32]]:  # noqa: ANN401
    """Return the row and the factor of each id."""
    keys = set(file.keys())
    rows_F, weights_F = ids_F, np.ones(len(ids_F), np.float32)
    if _MAPPING in keys:
        rows_F = file.get_tensor(_MAPPING).long().numpy()[ids_F]
    if _WEIGHTS in keys:
        weights_F = file.get_tensor(_WEIGHTS).float().numpy()[ids_F]
    return rows_F, weights_F


def _check_rows(matrix: TokenMatrix, name: str, size: int) -> TokenMatrix:
    """Check that a matrix has a row for each token, or a mapping from tokens to rows.

    Raises:
        UnlearnableError: it has fewer.
    """
    from safetensors import safe_open

    with safe_open(matrix.path, "pt") as file:
        mapped = _MAPPING in file.keys() and file.get_slice(_MAPPING).get_shape()[0] >= size  # noqa: SIM118 - no mapping
    if matrix.rows < size and not mapped:
        raise UnlearnableError(
            f"pretrained_embeddings: '{matrix.key}' of '{name}' has {matrix.rows} rows, and its "
            f"{TOKENIZER_FILE} {size} tokens; they do not belong together"
        )
    return matrix


def _check_finite(vectors_BD: NDArray[np.float32], matrix: TokenMatrix, rows_B: Integers) -> None:
    """Check that all numbers are finite.

    Raises:
        UnlearnableError: names the row.
    """
    bad = np.flatnonzero(~np.isfinite(vectors_BD).all(axis=1))
    if len(bad):
        raise UnlearnableError(
            f"pretrained_embeddings: {matrix.path}, '{matrix.key}', row {rows_B[bad[0]]}: a number "
            "is not finite; download the file again"
        )


def _list_matrices(paths: Sequence[Path]) -> list[TokenMatrix]:
    """List the matrices of numbers in some files.

    Raises:
        UnlearnableError: a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    found = []
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - no mapping
                found += [
                    TokenMatrix(path, key, *part.get_shape())
                    for key, part in slices.items()
                    if len(part.get_shape()) == 2 and part.get_dtype() in _FLOAT_TYPES
                ]
        except (OSError, SafetensorError) as error:
            raise UnlearnableError(
                f"pretrained_embeddings: {path} is damaged: {error}; download it again"
            ) from error
    return found


def _has_usual_name(key: str) -> bool:
    """Return whether a tensor has a name that input embeddings usually have."""
    return any(key == name or key.endswith(f".{name}") for name in _NAMES)


def _list_keys(matrices: Sequence[TokenMatrix]) -> str:
    """List matrices by name and size, for errors."""
    names = [f"'{each.key}' [{each.rows}, {each.dim}]" for each in matrices[:10]]
    return ", ".join(names) or "none"
