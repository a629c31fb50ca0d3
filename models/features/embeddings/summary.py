"""What is known of a pretrained table after it was read: shown by `check`, logs and reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from models.features.embeddings.sources import EmbeddingFormat

_MAX_MISSING = 5
"""Tokens without a vector that are listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingSummary:
    """A pretrained table, and how much of the training texts it covers."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    name: str
    """Path or name, as in the job file."""
    format: EmbeddingFormat
    dim: int
    """Numbers of a vector in the file."""
    kept_dim: int
    """Numbers of a vector in the model."""
    rows: int
    """Vectors in the model."""
    tokens: int
    """Distinct tokens of the training texts, the rarest of a great many not counted."""
    found: int
    """Those that have a pretrained vector."""
    coverage: float
    """Share of the training texts' tokens, repeated ones counted, that have one; 0 to 1."""
    missing: tuple[str, ...] = ()
    """The most frequent tokens without one."""

    def __str__(self) -> str:
        """Describe the table in one line."""
        size = f"{self.dim}" if self.dim == self.kept_dim else f"{self.dim} to {self.kept_dim}"
        text = (
            f"{self.name} ({self.format}, {size} dimensions, {self.rows} rows kept): vectors for "
            f"{self.found} of {self.tokens} tokens, {self.coverage:.1%} of the texts"
        )
        if not self.missing:
            return text
        return f"{text}; none for {', '.join(self.missing)}"


def summarize_table(
    name: str,
    file_format: EmbeddingFormat,
    counts: Sequence[tuple[str, int]],
    found: Sequence[bool],
    *,
    shape: tuple[int, ...],
    dim: int,
) -> EmbeddingSummary:
    """Summarize a table, and what it covers.

    Args:
        name: of the table, as in the job file.
        file_format: of its files.
        counts: the tokens of training with their counts, the most frequent first.
        found: which of them have a vector.
        shape: rows and dimensions of the vectors in the model.
        dim: dimensions of the vectors in the file.
    """
    total = sum(count for _, count in counts)
    covered = sum(count for (_, count), has in zip(counts, found, strict=True) if has)
    missing = [token for (token, _), has in zip(counts, found, strict=True) if not has]
    return EmbeddingSummary(
        name=name,
        format=file_format,
        dim=dim,
        kept_dim=shape[1],
        rows=shape[0],
        tokens=len(counts),
        found=sum(found),
        coverage=round(covered / total, 6) if total else 0.0,
        missing=tuple(missing[:_MAX_MISSING]),
    )
