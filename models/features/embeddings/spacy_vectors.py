"""The word vectors of a spaCy pipeline."""

from collections.abc import Collection

import numpy as np

from models.errors import SetupError
from models.extras import describe_install
from models.features.embeddings.word_files import WordVectors


def read_spacy_vectors(name: str, wanted: Collection[str]) -> WordVectors:
    """Read the vectors of those words that a pipeline has one for, in the order of code points.

    Args:
        name: a pipeline's name, or its folder.
        wanted: the words.

    Raises:
        SetupError: spaCy is missing, or cannot load the pipeline.
    """
    try:
        import spacy
    except ImportError as error:
        raise SetupError(
            f"pretrained_embeddings: '{name}' needs spaCy, which is missing; "
            f"{describe_install('spacy')}"
        ) from error
    try:
        vocabulary = spacy.load(name).vocab
    except (OSError, ValueError) as error:
        raise SetupError(
            f"pretrained_embeddings: spaCy cannot load '{name}': {error}; install it again"
        ) from error
    words = [word for word in sorted(wanted) if vocabulary.has_vector(word)]
    vectors = [vocabulary.get_vector(word) for word in words]
    return WordVectors(words, np.array(vectors, np.float32) if words else np.empty((0, 1), "f4"))
