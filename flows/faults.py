"""Faults of a job file in one sentence each: the key, the value and the mend."""

import difflib
import re
from typing import Any

NETWORK, WORD = "(a section)", "(a word)"
"""Where a section may be a word, the names under which pydantic tells of the two."""

UNSAID = {"str", "tuple[str, ...]", NETWORK, WORD}
"""Parts of a place that no job file has."""


def explain(  # noqa: PLR0911 - a sentence for each fault
    fault: dict[str, Any], schema: dict[str, Any]
) -> str:
    """Turn one fault of pydantic's into key, value and mend.

    Args:
        fault: as pydantic lists it.
        schema: the JSON schema of what was read, for the keys that there are.
    """
    place = [part for part in fault["loc"] if part not in UNSAID]
    # What stands behind an index is the kind by which pydantic chose the section.
    location = [p for n, p in enumerate(place) if not (n and isinstance(place[n - 1], int))]
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    found, context = fault["input"], fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            return f"  {key} is missing; give it a value"
        case "unexpected_keyword_argument" | "extra_forbidden":
            known = known_keys(place[:-1], schema)
            return f"  {key} is not a key{suggestion(str(location[-1]), known)}"
        case "literal_error" if WORD in fault["loc"]:
            return f"  {key}: {found!r} is no section; write {key}: {{cell: {found}}}, or auto"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            word = str(location[-1])
            return f"  {key}: {found!r} is not a {word}{suggestion(str(found), choices)}"
        case "union_tag_not_found":
            return f"  {key}.kind is missing; give it a value"
        case "union_tag_invalid":
            choices = re.findall(r"'([^']*)'", context["expected_tags"])
            near = suggestion(context["tag"], choices)
            return f"  {key}.kind: {context['tag']!r} is not a kind{near}"
        case "value_error":
            return f"  {join_key(key, str(context['error']))}"
        case _:
            return f"  {key}: {found!r} is not valid: {fault['msg'].lower()}"


def join_key(key: str, text: str) -> str:
    """Put the section's key before a text that may begin with a key of its own."""
    if not key:
        return text
    own_key = re.match(r"[a-z_.]+( and [a-z_]+)?: ", text)
    return f"{key}.{text}" if own_key else f"{key}: {text}"


def suggestion(word: str, choices: list[str]) -> str:
    """Say which choices there are, the likeliest alone when one is near."""
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; choose one of {', '.join(choices)}" if choices else ""


def known_keys(location: list[Any], schema: dict[str, Any]) -> list[str]:
    """Name the keys of the section at this place."""
    node: dict[str, Any] = schema
    for part in location:
        node = resolve(node, schema)
        chosen = node.get("discriminator", {}).get("mapping", {})
        if isinstance(part, int):
            node = node["items"]
        elif part in chosen:
            node = {"$ref": chosen[part]}
        else:
            node = node.get("properties", {}).get(part, {})
    return list(resolve(node, schema).get("properties", {}))


def resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow references and optional sections of a JSON schema."""
    for option in node.get("anyOf", node.get("oneOf", [])):
        if option.get("type") != "null":
            node = option
            break
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
