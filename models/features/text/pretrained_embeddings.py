"""Initial embeddings of words: the vectors of a spaCy pipeline.

Shapes: V ids, D numbers of a vector.
"""

import numpy as np
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.text.words import INSTALL_HINT


def load_word_vectors(name: str, tokens: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the vector of each token, [V, D]; zeros for id 0 and where the pipeline has none.

    Args:
        name: a pipeline's name, or its folder.
        tokens: those of ids 1 to V - 1.

    Raises:
        UnlearnableError: there is no such pipeline, or it knows none of the tokens.
    """
    try:
        import spacy
    except ImportError as error:
        raise UnlearnableError(
            f"pretrained_embeddings need spaCy, which is missing; {INSTALL_HINT}"
        ) from error
    try:
        vocabulary = spacy.load(name).vocab
    except OSError as error:
        raise UnlearnableError(
            f"pretrained_embeddings: '{name}' is neither a folder nor an installed pipeline "
            f"of spaCy ({error}); "
            "name one that is, such as en_core_web_md (python -m spacy download en_core_web_md)"
        ) from error
    known_ids = [id_ for id_, token in enumerate(tokens, 1) if vocabulary.has_vector(token)]
    if not known_ids:
        raise UnlearnableError(
            f"pretrained_embeddings: '{name}' has no vector for any of the {len(tokens)} "
            "words of training; "
            "name a pipeline of their language, or remove pretrained_embeddings"
        )
    vectors_VD = np.zeros((len(tokens) + 1, vocabulary.vectors_length), np.float32)
    vectors_VD[known_ids] = [vocabulary.get_vector(tokens[id_ - 1]) for id_ in known_ids]
    return vectors_VD
