"""Fitted state on disk: JSON for plain values, safetensors for arrays, never pickle."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

ARRAY = "__array__"
"""Key that stands in JSON where an array was."""


def write_state(state: object, path: Path) -> None:
    """Write `path`.json and, where the state holds arrays, `path`.safetensors."""
    from safetensors.numpy import save_file

    arrays: dict[str, NDArray[Any]] = {}
    plain = flatten(state, "state", arrays)
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    if arrays:
        save_file(arrays, path.with_suffix(".safetensors"))


def flatten(value: object, name: str, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - JSON
    """Turn records into dictionaries, and put arrays aside under their names."""
    if isinstance(value, np.ndarray):
        arrays[name] = np.ascontiguousarray(value)
        return {ARRAY: name}
    if is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
        return {key: flatten(held, f"{name}.{key}", arrays) for key, held in inner.items()}
    if isinstance(value, Mapping):
        return {str(key): flatten(held, f"{name}.{key}", arrays) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [flatten(held, f"{name}.{place}", arrays) for place, held in enumerate(value)]
    return value


def read_state(path: Path) -> Any:  # noqa: ANN401 - JSON with arrays in it
    """Read what `write_state` wrote, records as dictionaries."""
    from safetensors.numpy import load_file

    plain = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    held = path.with_suffix(".safetensors")
    arrays = load_file(held) if held.exists() else {}
    return fill(plain, arrays)


def fill(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - JSON
    """Put the arrays back in their places."""
    if isinstance(value, dict):
        if ARRAY in value:
            return arrays[value[ARRAY]]
        return {key: fill(held, arrays) for key, held in value.items()}
    return [fill(held, arrays) for held in value] if isinstance(value, list) else value


def as_record(kind: Any, value: Any) -> Any:  # noqa: ANN401 - a type, maybe of several; JSON
    """Make a record of a dictionary, its parts checked."""
    return adapter(kind).validate_python(value)


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - a type, maybe of several
    """Work out once how records of this kind are checked, which takes longer than to check one."""
    return TypeAdapter(kind)
