"""Error messages of a job file: one line for each error, with the key, the value and the fix."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.redaction import redact

SECTION, KEYWORD = "(a section)", "(a word)"
"""Tags of pydantic for a setting that is either a section or a single word."""

_INTERNAL_PARTS = {"str", "tuple[str, ...]", SECTION, KEYWORD}
"""Parts of pydantic's error location that are not keys of the job file."""

_OTHER_NAMES = {
    "accumulate": ("gradient_accumulation",),
    "allow_behind_baseline": ("require_baseline",),
    "anchor": ("normalization",),
    "average": ("weight_averaging",),
    "batch": ("batch_size",),
    "beam": ("beam_size",),
    "beside": ("parallel_branch",),
    "calibration_rise": ("max_ece_increase",),
    "canaries": ("leakage_checks",),
    "changes": ("on_change",),
    "clip_norm": ("max_grad_norm",),
    "colour": ("color",),
    "confidence": ("interval_coverage",),
    "cool_down": ("cooldown",),
    "data": ("data_loading",),
    "deltas": ("time_delta",),
    "distil": ("distill",),
    "drift_from": ("drift_severity",),
    "embedding": ("embedding_dim",),
    "error": ("loss",),
    "every": ("frequency",),
    "files": ("file_columns",),
    "focal": ("focal_gamma",),
    "frozen_vectors": ("freeze_embeddings",),
    "heads": ("num_heads",),
    "hidden": ("hidden_size",),
    "high_hz": ("f_max",),
    "hop": ("hop_length",),
    "keep": ("truncate", "passthrough_columns"),
    "known": ("known_future",),
    "labels": ("label_tokens",),
    "latency_ms": ("max_latency_ms",),
    "layers": ("num_layers",),
    "learned_start": ("learn_initial_state",),
    "length": ("lookback",),
    "locked_dropout": ("variational_dropout",),
    "log_loss_rise": ("max_log_loss_increase",),
    "low_hz": ("f_min",),
    "mask": ("missing_indicator",),
    "mel_bands": ("n_mels",),
    "minimum_count": ("min_frequency",),
    "minimum_gain": ("min_improvement",),
    "minimum_rows": ("min_rows",),
    "missing": ("impute",),
    "missing_reach": ("impute_limit",),
    "near_duplicates": ("near_duplicate_threshold",),
    "normalise": ("normalize",),
    "order": ("scan_order",),
    "per_day": ("max_runs_per_day",),
    "quality": ("performance",),
    "quality_fall": ("min_performance_drop",),
    "read": ("sequence",),
    "resamples": ("bootstrap_samples",),
    "sampling": ("sampler",),
    "scale": ("scaler",),
    "scale_by": ("scale_per",),
    "season": ("season_length",),
    "segment": ("patch_length",),
    "shorten": ("downsample",),
    "shorten_by": ("downsample_by",),
    "shrink_max": ("max_row_loss",),
    "shrunken": ("row_loss",),
    "size_mb": ("max_size_mb",),
    "slice_drop": ("max_slice_drop",),
    "slice_rows": ("min_slice_rows",),
    "space": ("search_space",),
    "stop_on": ("early_stopping_metric",),
    "stride": ("feature_stride",),
    "teach_nodes": ("supervise_nodes",),
    "trials": ("n_trials",),
    "unit": ("tokenizer",),
    "vectors": ("pretrained_embeddings",),
    "vocabulary": ("vocab_size",),
    "weights": ("pretrained_weights",),
    "when": ("events",),
    "width": ("kernel_size",),
    "window": ("window_length",),
    "window_uses": ("max_holdout_reuse",),
}
"""Other words for keys, whose spelling is too different to be found as a near match."""


_UNION_MEMBERS = re.compile(r"(int|float|str|bool|literal\[.*\])")
"""Last part of an error's location where a value may be of several types."""


def merge_union_errors(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Merge the errors of one value that may be a number or a word into one.

    Args:
        errors: of `ValidationError.errors()`.
    """
    merged: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for error in errors:
        *outer, last = error["loc"] or ("",)
        is_member = isinstance(last, str) and _UNION_MEMBERS.fullmatch(last)
        merged.setdefault(tuple(outer if is_member and outer else error["loc"]), []).append(
            dict(error)
        )
    found = []
    for loc, (first, *others) in merged.items():
        words = [
            word
            for each in (first, *others)
            if each["type"] == "literal_error"
            for word in re.findall(r"'([^']*)'", each.get("ctx", {}).get("expected", ""))
        ]
        if others and words and first["type"] != "literal_error":
            choices = " or ".join(words)
            message = f"{first['msg'].partition(',')[0]}, or {choices}"
            found.append({**first, "msg": message, "loc": loc})
        else:
            found.append({**first, "loc": loc} if others else first)
    return found


def format_error(  # noqa: PLR0911 - a message for each type of error
    error: dict[str, Any], schema: dict[str, Any]
) -> str:
    """Format one error of pydantic as a line with the key, the value and the fix.

    Args:
        error: an item of `ValidationError.errors()`.
        schema: the JSON schema of what was parsed, for the known keys.
    """
    path = [part for part in error["loc"] if part not in _INTERNAL_PARTS]
    user_path = _list_user_keys(path, schema)
    word = next((part for part in reversed(user_path) if isinstance(part, str)), "")
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in user_path).lstrip(".")
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"  {key} is missing; give it a value"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"  {key} is not a key{_suggest(word, _list_keys(path[:-1], schema))}"
        case "literal_error" if KEYWORD in error["loc"]:
            return f"  {key}: {value!r} is no section; write {key}: {{cell: {value}}}, or auto"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            return f"  {key}: {value!r} is not a {word}{_suggest(str(value), choices)}"
        case "union_tag_not_found":
            return f"  {key}.kind is missing; give it a value"
        case "union_tag_invalid":
            choices = re.findall(r"'([^']*)'", context["expected_tags"])
            hint = _suggest(context["tag"], choices)
            return f"  {key}.kind: {context['tag']!r} is not a kind{hint}"
        case "value_error":
            return f"  {_join_key(key, str(context['error']))}"
        case "tuple_type":
            return f"  {key}: {value!r} is not a list; put [ and ] around it"
        case _:
            return f"  {key}: {redact(repr(value))} is not valid: {error['msg'].lower()}"


def _join_key(key: str, message: str) -> str:
    """Prefix a message with the section's key; the message may begin with a key of its own."""
    if not key:
        return message
    has_own_key = re.match(r"[a-z_.]+( and [a-z_]+)?: ", message)
    return f"{key}.{message}" if has_own_key else f"{key}: {message}"


def _suggest(word: str, choices: list[str]) -> str:
    """Return a hint for an unknown word: the likely choice if there is one, else all choices."""
    names = {
        other: name for other, names in _OTHER_NAMES.items() for name in names if name in choices
    }
    names |= {choice: choice for choice in choices}
    if likely := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
        return f"; did you mean '{names[likely[0]]}'?"
    return f"; choose one of {', '.join(choices)}" if choices else ""


def _list_keys(path: list[Any], schema: dict[str, Any]) -> list[str]:
    """List the keys of the section at a path."""
    node = schema
    for part in path:
        node = _descend(node, part, schema)
    return list(_resolve(node, schema).get("properties", {}))


def _list_user_keys(path: list[Any], schema: dict[str, Any]) -> list[Any]:
    """Drop the discriminator values from pydantic's path: they are not keys of a job file."""
    node, user_path = schema, []
    for part in path:
        if part not in _read_kinds(node):
            user_path.append(part)
        node = _descend(node, part, schema)
    return user_path


def _descend(node: dict[str, Any], part: str | int, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema one step below: of a list's item, a key, or a kind of section."""
    kinds = _read_kinds(node)
    if part in kinds:
        return {"$ref": kinds[str(part)]}
    node = _resolve(node, schema)
    if isinstance(part, int):
        return dict(node.get("items", {}))
    return dict(node.get("properties", {}).get(part, {}))


def _read_kinds(node: dict[str, Any]) -> dict[str, str]:
    """Return the references of a section's kinds, where its `kind` discriminates."""
    return dict(node.get("discriminator", {}).get("mapping", {}))


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow references and optional sections of a JSON schema."""
    for option in node.get("anyOf", node.get("oneOf", [])):
        if option.get("type") != "null":
            node = option
            break
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
