"""Defaults of a job that depend on its kind of input and target.

They are what wins most often on such data, measured on sets that are not the user's; a value in the
job file replaces each of them. Defaults that depend on the size of the data are resolved when a
model is trained (`training.batch_size`, `epochs`, `folds`, `model.parallel_branch`).
"""

from collections.abc import Mapping
from typing import Any

from models.networks.families import FAMILIES

_POOLED_KINDS = ("series", "audio", "text", "image")

_TRANSCRIBED_KINDS = ("image", "audio")
"""Whose texts stand in the order of the input."""

_SHORT_OF_ROWS = ("series", "audio")

_SMALL_HIDDEN_SIZE = 64
"""For series in lists and sounds, which are mostly short of rows: half the time of 128 units."""

_SEQUENCE_TARGETS = ("category", "number", "tags")

_DROPOUT = 0.3

_LABEL_SMOOTHING = 0.1
"""For texts, of which a network learns the training rows by heart."""


_TEXT_LINE = {"sequence": "convolutions", "feature_stride": 4, "augment": {"shift": 0.05}}
"""For an image of a line of text: a CRNN (Shi, Bai and Yao 2015), whose steps are narrow."""

_ALIGNMENT = {"batch_size": 16, "epochs": 100}
"""CTC finds where the tokens stand before it learns them: many small steps, until none helps."""

_LEARNED_DIM = 32
"""Of the learned embedding that stands beside frozen pretrained vectors."""


def fill_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a job file with the defaults of its kind; what is not valid stays."""
    filled = dict(raw)
    inputs, target = raw.get("inputs"), raw.get("target")
    kinds = [each.get("kind") for each in _list_mappings(inputs)]
    if not kinds or not isinstance(target, Mapping):
        return filled
    model = {
        **_choose_model(kinds[0], target.get("kind"), raw),
        **_choose_embedding(_list_mappings(inputs)[0]),
    }
    if model and isinstance(raw.get("model", {}), Mapping):
        filled["model"] = {**model, **raw.get("model", {})}
    if isinstance(inputs, list) and kinds[0] == "image" and target.get("kind") == "text":
        filled["inputs"] = [_read_text_line(each) for each in inputs]
    head = _choose_head(kinds[0], target, raw)
    if head and isinstance(raw.get("head", {}), Mapping):
        filled["head"] = {**head, **raw.get("head", {})}
    training, head = raw.get("training", {}), filled.get("head", {})
    aligns = isinstance(head, Mapping) and head.get("decoder") == "ctc"
    if aligns and isinstance(training, Mapping):
        filled["training"] = {**_ALIGNMENT, **training}
    return filled


def _list_mappings(section: object) -> list[Mapping[str, Any]]:
    """Return the entries of a section that are mappings."""
    return (
        [each for each in section if isinstance(each, Mapping)] if isinstance(section, list) else []
    )


def _choose_model(kind: object, target: object, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the network."""
    section = raw.get("model", {})
    if not isinstance(section, Mapping):
        return {}
    family = FAMILIES.get(section.get("cell", "gru"))
    if target == "text" and kind in _TRANSCRIBED_KINDS and family is not None and family.causal:
        return {"bidirectional": True, "dropout": _DROPOUT}
    if target not in _SEQUENCE_TARGETS:
        return {}
    if kind == "tree":
        return {"cell": "tree-lstm", "dropout": _DROPOUT}
    if kind not in _POOLED_KINDS or "window" in raw:
        return {}
    model: dict[str, Any] = {"pooling": ["mean", "max"], "dropout": _DROPOUT}
    training = raw.get("training")
    pretrains = isinstance(training, Mapping) and training.get("pretrain", "none") != "none"
    if kind == "series" and not pretrains:
        # The next step is predicted of every step, so none is left out there.
        model["downsample"] = "auto"
    if kind in _SHORT_OF_ROWS:
        model["hidden_size"] = _SMALL_HIDDEN_SIZE
    if family is not None and family.causal:
        model["bidirectional"] = True
    return model


def _read_text_line(entry: object) -> object:
    """Return an input whose images are read by convolutions unless it says how."""
    if not isinstance(entry, Mapping) or "sequence" in entry:
        return entry
    return {**_TEXT_LINE, **entry}


def _choose_embedding(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the size of the learned embedding where the input has frozen pretrained ones."""
    frozen = entry.get("pretrained_embeddings") and entry.get("freeze_embeddings", True)
    return {"embedding_dim": _LEARNED_DIM} if frozen else {}


def _choose_head(kind: object, target: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the head."""
    head = raw.get("head", {})
    if not isinstance(head, Mapping):
        return {}
    if kind in _TRANSCRIBED_KINDS and target.get("kind") == "text":
        return {"decoder": "ctc"}
    if (
        kind == "text"
        and target.get("kind") in {"category", "tags"}
        and not head.get("focal_gamma")
    ):
        return {"label_smoothing": _LABEL_SMOOTHING}
    if target.get("kind") == "forecast" and head.get("loss") != "negative_binomial":
        own = [
            each
            for each in _list_mappings(raw.get("inputs"))
            if all(_reads(each, name) for name in _list_names(target.get("column")))
            and each.get("scaler") not in {"arcsinh", "none"}
        ]
        return {"normalization": "nlinear"} if own else {}
    return {}


def _list_names(column: object) -> list[object]:
    """Return one column or several as a list."""
    return column if isinstance(column, list) else [column]


def _reads(entry: Mapping[str, Any], column: object) -> bool:
    """Return whether an input reads a column as it is observed."""
    columns = entry.get("column")
    known = entry.get("known_future") or ()
    names = columns if isinstance(columns, list) else [columns]
    return column in names and column not in known
