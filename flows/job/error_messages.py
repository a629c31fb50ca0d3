"""Faults of a job file in one sentence each: the key, the value and the mend."""

import difflib
import re
from typing import Any

from tasks.redaction import discreet

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
    location = spoken(place, schema)
    word = next((part for part in reversed(location) if isinstance(part, str)), "")
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    found, context = fault["input"], fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            return f"  {key} is missing; give it a value"
        case "unexpected_keyword_argument" | "extra_forbidden":
            known = known_keys(place[:-1], schema)
            return f"  {key} is not a key{suggestion(word, known)}"
        case "literal_error" if WORD in fault["loc"]:
            return f"  {key}: {found!r} is no section; write {key}: {{cell: {found}}}, or auto"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            return f"  {key}: {found!r} is not a {word}{suggestion(str(found), choices)}"
        case "union_tag_not_found":
            return f"  {key}.kind is missing; give it a value"
        case "union_tag_invalid":
            choices = re.findall(r"'([^']*)'", context["expected_tags"])
            near = suggestion(context["tag"], choices)
            return f"  {key}.kind: {context['tag']!r} is not a kind{near}"
        case "value_error":
            return f"  {join_key(key, str(context['error']))}"
        case "tuple_type":
            return f"  {key}: {found!r} is not a list; put [ and ] around it"
        case _:
            return f"  {key}: {discreet(repr(found))} is not valid: {fault['msg'].lower()}"


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
    node = schema
    for part in location:
        node = below(node, part, schema)
    return list(resolve(node, schema).get("properties", {}))


def spoken(place: list[Any], schema: dict[str, Any]) -> list[Any]:
    """Leave out of a place the kinds by which pydantic chose a section: no job file has them."""
    node, said = schema, []
    for part in place:
        if part not in kinds_of(node):
            said.append(part)
        node = below(node, part, schema)
    return said


def below(node: dict[str, Any], part: str | int, schema: dict[str, Any]) -> dict[str, Any]:
    """Take one step down: to an item of a list, a key, or a kind of section."""
    kinds = kinds_of(node)
    if part in kinds:
        return {"$ref": kinds[str(part)]}
    node = resolve(node, schema)
    if isinstance(part, int):
        return dict(node.get("items", {}))
    return dict(node.get("properties", {}).get(part, {}))


def kinds_of(node: dict[str, Any]) -> dict[str, str]:
    """Give the kinds that a section may be of, where its `kind` tells."""
    return dict(node.get("discriminator", {}).get("mapping", {}))


def resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow references and optional sections of a JSON schema."""
    for option in node.get("anyOf", node.get("oneOf", [])):
        if option.get("type") != "null":
            node = option
            break
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
