"""Small pretrained tables in every format that is read."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing

Vectors = Mapping[str, NDArray[np.float32]]


def draw_vectors(words: list[str], dim: int = 4, seed: int = 1) -> dict[str, NDArray[np.float32]]:
    """Draw a vector for each word."""
    drawn = np.random.default_rng(seed).normal(size=(len(words), dim)).astype(np.float32)
    return dict(zip(words, drawn.round(3), strict=True))


def write_text(path: Path, vectors: Vectors, *, header: bool = False) -> Path:
    """Write a table as text: GloVe's, or with a header word2vec's and fastText's."""
    dim = len(next(iter(vectors.values())))
    lines = [f"{len(vectors)} {dim}"] if header else []
    # fastText ends each line with a space.
    end = " " if header else ""
    lines += [" ".join([word, *(f"{x:.3f}" for x in row)]) + end for word, row in vectors.items()]
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_binary(path: Path, vectors: Vectors, *, line_ends: bool = False) -> Path:
    """Write a table in the binary format of word2vec."""
    dim = len(next(iter(vectors.values())))
    end = b"\n" if line_ends else b""
    rows = [
        word.encode() + b" " + row.astype("<f4").tobytes() + end for word, row in vectors.items()
    ]
    path.write_bytes(f"{len(vectors)} {dim}\n".encode() + b"".join(rows))
    return path


def write_token_table(
    folder: Path,
    tokens: list[str],
    *,
    dim: int = 4,
    key: str = "embeddings.word_embeddings.weight",
    padding: int = 0,
    **tensors: torch.Tensor,
) -> NDArray[np.float32]:
    """Write a folder as of a BERT: a tokenizer of word pieces, and a model with other tensors too.

    Args:
        folder: is created.
        tokens: word pieces, besides the special tokens, which come first.
        dim: numbers of a vector.
        key: of the matrix.
        padding: rows beyond the tokens.
        tensors: further tensors.

    Returns:
        The matrix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *tokens]
    tokenizer = Tokenizer(
        WordPiece({token: id_ for id_, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As models ship it: these must not change what a job reads.
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))
    generator = torch.Generator().manual_seed(2)
    matrix = torch.randn(len(vocabulary) + padding, dim, generator=generator)
    other = {
        "embeddings.position_embeddings.weight": torch.zeros(16, dim),
        "encoder.layer.0.dense.weight": torch.zeros(dim, dim),
    }
    save_file({key: matrix, **other, **tensors}, folder / "model.safetensors")
    return matrix.numpy()
