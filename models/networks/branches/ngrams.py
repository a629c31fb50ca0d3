"""N-grams of words and characters and a linear model, for texts and the words of trees.

Counts of words, word pairs, and two to five characters within words are weighted by TF-IDF
(sublinear), each block to unit length; classes and labels are predicted by logistic regression,
numbers by ridge regression. Such a model is hard to beat where texts are few (Wang and Manning
2012). It reads what the ids stand for, so it needs no columns of its own.

Shapes: N steps, B sequences, F n-grams, O outputs.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.branches.base import (
    Branch,
    BranchSpec,
    Features,
    SequenceBatch,
    encode_statics,
)

Detokenizer = Callable[[NDArray[np.int64]], str]
"""Returns the text that a sequence of ids stands for."""

MIN_TEXTS = 2
"""Texts that an n-gram has to occur in."""

MAX_NGRAMS = 150_000
"""N-grams of each block, the most frequent ones."""

_INVERSE_PENALTIES = (1.0, 4.0, 16.0, 64.0)
"""C of the logistic regression."""

_SEPARATOR = "\n"
"""Between n-grams in the saved vocabulary: none of them contains a line break."""

_BLOCKS: tuple[dict[str, Any], ...] = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    {"analyzer": "char_wb", "ngram_range": (2, 5)},
)


class NgramBranch(Branch):
    """TF-IDF and a linear model."""

    packages = ("scikit-learn", "scipy")

    weight_FO: Tensor
    bias_O: Tensor

    def __init__(
        self, spec: BranchSpec, detokenize: Detokenizer, *, inverse_penalty: float
    ) -> None:
        """Take the settings.

        Args:
            spec: what is predicted.
            detokenize: turns ids into text.
            inverse_penalty: C of the logistic regression.
        """
        super().__init__(spec, inverse_penalty=inverse_penalty)
        self.detokenize = detokenize
        self._counters: list[Any] = []
        self.inverse_penalties = () if spec.kind == "number" else _INVERSE_PENALTIES
        for index in range(len(_BLOCKS)):
            self.register_buffer(f"vocabulary_{index}", torch.zeros(0, dtype=torch.uint8))
            self.register_buffer(f"idf_{index}", torch.zeros(0))
        self.register_buffer("weight_FO", torch.zeros(0, spec.num_outputs))
        self.register_buffer("bias_O", torch.zeros(spec.num_outputs))

    def fit_features(self, batches: Iterable[SequenceBatch]) -> None:
        """Choose the n-grams and their weights."""
        from sklearn.feature_extraction.text import CountVectorizer

        texts = [text for batch in batches for text in self._read_texts(batch)]
        self._counters = []
        for index, block in enumerate(_BLOCKS):
            counter = CountVectorizer(**block, min_df=MIN_TEXTS, max_features=MAX_NGRAMS)
            try:
                counts = counter.fit_transform(texts)
                terms = list(counter.get_feature_names_out())
            except ValueError:
                # Nothing occurs often enough: this block is empty.
                counts, terms = np.zeros((len(texts), 0)), []
            seen_F = np.asarray((counts > 0).sum(axis=0), np.float64).ravel()
            idf_F = np.log((1 + len(texts)) / (1 + seen_F)) + 1
            encoded = _SEPARATOR.join(terms).encode()
            self.set_buffer(
                f"vocabulary_{index}",
                torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
                if encoded
                else torch.zeros(0, dtype=torch.uint8),
            )
            self.set_buffer(f"idf_{index}", torch.from_numpy(idf_F.astype(np.float32)))

    def compute_features(self, batch: SequenceBatch) -> Features:
        """Return weighted counts and static covariates, sparse, [B, F]."""
        from scipy.sparse import csr_matrix, diags, hstack

        texts, parts = self._read_texts(batch), []
        for index, counter in enumerate(self._build_counters()):
            idf_F = getattr(self, f"idf_{index}").cpu().numpy()
            if counter is None:
                continue
            counts = counter.transform(texts).astype(np.float32)
            counts.data = 1 + np.log(counts.data)
            weighted = counts @ diags(idf_F)
            norms_B = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1))).ravel()
            parts.append(diags(1 / np.maximum(norms_B, 1e-12)) @ weighted)
        statics = encode_statics(batch.statics, self.spec.static_sizes).numpy()
        return hstack([*parts, csr_matrix(statics)], format="csr", dtype=np.float32)

    def join_features(self, parts: list[Features]) -> Features:
        """Stack the rows."""
        from scipy.sparse import vstack

        return vstack(parts, format="csr")

    def select_rows(self, features: Features, rows: NDArray[np.int64]) -> Features:
        """Return some rows."""
        return features[rows]

    def fit(self, features: Features, target_RO: NDArray[np.float64]) -> None:
        """Fit a logistic regression (of each label its own), or a ridge regression of numbers."""
        fitters = {"category": self._fit_classes, "tags": self._fit_labels, "number": _fit_numbers}
        weight_OF, bias_O = fitters[self.spec.kind](features, target_RO)
        self.set_buffer("weight_FO", torch.from_numpy(np.float32(weight_OF.T)))
        self.set_buffer("bias_O", torch.from_numpy(np.float32(bias_O)))

    def predict(self, features: Features) -> Tensor:
        """Return the outputs, [B, O]."""
        product = np.asarray(features @ self.weight_FO.cpu().numpy(), np.float32)
        return torch.from_numpy(product) + self.bias_O.cpu()

    def _fit_classes(
        self, features: Features, target_RO: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Fit the logits of the classes; one that is missing here gets a low constant."""
        codes_R = target_RO[:, 0].astype(np.int64)
        present = np.unique(codes_R)
        weight_OF = np.zeros((self.spec.num_outputs, features.shape[1]))
        bias_O = np.full(self.spec.num_outputs, -20.0)
        if len(present) == 1:
            bias_O[present] = 0.0
            return weight_OF, bias_O
        model = _build_logistic(self.inverse_penalty).fit(features, codes_R)
        if len(present) == 2:
            # One difference of logits, shared by both.
            weight_OF[present[1]], weight_OF[present[0]] = model.coef_[0] / 2, -model.coef_[0] / 2
            bias_O[present[1]], bias_O[present[0]] = (
                model.intercept_[0] / 2,
                -model.intercept_[0] / 2,
            )
        else:
            weight_OF[present], bias_O[present] = model.coef_, model.intercept_
        return weight_OF, bias_O

    def _fit_labels(
        self, features: Features, target_RO: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Fit the logit of each label; of one that is always the same, its smoothed share."""
        weight_OF = np.zeros((self.spec.num_outputs, features.shape[1]))
        share_O = (target_RO.sum(axis=0) + 0.5) / (len(target_RO) + 1)
        bias_O = np.log(share_O / (1 - share_O))
        for index, target_R in enumerate(target_RO.T > 0.5):
            if target_R.any() and not target_R.all():
                model = _build_logistic(self.inverse_penalty).fit(features, target_R)
                weight_OF[index], bias_O[index] = model.coef_[0], model.intercept_[0]
        return weight_OF, bias_O

    def _read_texts(self, batch: SequenceBatch) -> list[str]:
        """Turn the ids of each sequence into a text."""
        ids_N = batch.values_NC[:, 0].cpu().numpy().astype(np.int64)
        bounds = batch.offsets.bounds
        return [self.detokenize(ids_N[start:stop]) for start, stop in itertools.pairwise(bounds)]

    def _build_counters(self) -> list[Any]:
        """Build the counters of the saved vocabulary, once; None for an empty one."""
        from sklearn.feature_extraction.text import CountVectorizer

        if not self._counters:
            for index, block in enumerate(_BLOCKS):
                encoded = bytes(getattr(self, f"vocabulary_{index}").cpu().numpy())
                terms = encoded.decode().split(_SEPARATOR) if encoded else []
                self._counters.append(CountVectorizer(**block, vocabulary=terms) if terms else None)
        return self._counters


def _build_logistic(inverse_penalty: float) -> Any:  # noqa: ANN401 - scikit-learn's
    """Build a logistic regression; a looser tolerance stops at its start on such features."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=inverse_penalty, max_iter=300, tol=1e-4)


def _fit_numbers(
    features: Features, target_RO: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Fit a ridge regression."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1.0, solver="sparse_cg", tol=1e-6).fit(features, target_RO)
    return np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
