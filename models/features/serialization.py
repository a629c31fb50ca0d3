"""Fitted state on disk: JSON for plain values, safetensors for arrays, no pickle."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

_ARRAY_KEY = "__array__"
"""Key of the JSON object that replaces an array and names it."""


def write_state(state: object, path: Path) -> None:
    """Write `path`.json and, if the state has arrays, `path`.safetensors."""
    from safetensors.numpy import save_file

    arrays: dict[str, NDArray[Any]] = {}
    record = _flatten(state, "state", arrays)
    text = json.dumps(record, indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    if arrays:
        save_file(arrays, path.with_suffix(".safetensors"))


def read_state(path: Path) -> Any:  # noqa: ANN401 - JSON with arrays in it
    """Return what `write_state` wrote, with records as dictionaries."""
    from safetensors.numpy import load_file

    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    arrays_path = path.with_suffix(".safetensors")
    arrays = load_file(arrays_path) if arrays_path.exists() else {}
    return _restore_arrays(record, arrays)


def parse_record(kind: Any, value: Any) -> Any:  # noqa: ANN401 - a type, maybe of several; JSON
    """Return a dictionary as a record of this class, with validated fields.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type (pydantic's ValidationError).
    """
    return _build_adapter(kind).validate_python(value)


def _flatten(value: object, name: str, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - JSON
    """Return records as dictionaries; arrays are added to `arrays` and replaced by their names."""
    if isinstance(value, np.ndarray):
        arrays[name] = np.ascontiguousarray(value)
        return {_ARRAY_KEY: name}
    if is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: getattr(value, field.name) for field in fields(value)}
        return {key: _flatten(item, f"{name}.{key}", arrays) for key, item in inner.items()}
    if isinstance(value, Mapping):
        return {str(key): _flatten(item, f"{name}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_flatten(item, f"{name}.{index}", arrays) for index, item in enumerate(value)]
    return value


def _restore_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - JSON
    """Return the value with each array in the place of its name."""
    if isinstance(value, dict):
        if _ARRAY_KEY in value:
            return arrays[value[_ARRAY_KEY]]
        return {key: _restore_arrays(item, arrays) for key, item in value.items()}
    return [_restore_arrays(item, arrays) for item in value] if isinstance(value, list) else value


@cache
def _build_adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - a type, maybe of several
    """Return the validator of a class; building it takes longer than using it, so it is cached."""
    return TypeAdapter(kind)
