"""The files with pretrained embeddings: part of the key of the features that are made with them."""

from pathlib import Path

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.kinds import KINDS
from tasks.errors import JobError
from tasks.storage.artifacts import hash_file, hash_files, list_entries


def hash_embeddings(layout: Layout) -> str | None:
    """Return the hash of the files of the input's pretrained embeddings; None where it has none.

    Of a single file it is the SHA-256 of its content.

    Raises:
        JobError: a file is missing or cannot be read.
    """
    try:
        files = KINDS[layout.input.kind].list_files(layout.input)
        if len(files) < 2:
            return hash_file(files[0]) if files else None
        return hash_files(list_entries(files, _find_common_folder(files)))
    except UnlearnableError as error:
        raise JobError.of(f"inputs.{error}") from error
    except OSError as error:
        raise JobError.of(
            f"inputs.pretrained_embeddings: {error.filename} cannot be read: {error.strerror}",
            hint="let the user of this process read it",
        ) from error


def _find_common_folder(files: tuple[Path, ...]) -> Path:
    """Return the folder that all files are in."""
    return min((path.parent for path in files), key=lambda folder: len(folder.parts))
