"""The job file that a search writes: the user's own, with the best settings.

Its first line is a hash of the rest. A file that still matches its hash may be overwritten; one
that a person has changed since may not.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.job.job import load_job, read_job_file, set_value
from tasks.errors import JobError
from tasks.facts import StudyFacts
from tasks.records import Study
from tasks.tuning.search_space import Settings

_HASH_PREFIX = "# ostinato tune: "

_Comments = dict[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneResult:
    """The result of a search; the last line of `ostinato tune --json`."""

    job: str
    file: str
    """The job file with the best settings."""
    metric: str
    best_trial: int
    best_value: float
    """The metric on the validation rows, with the best settings."""
    initial_value: float | None
    """The metric with the job's own settings; None where that trial did not finish."""
    best_params: Mapping[str, Any]
    trials: Mapping[str, int]
    """Number of trials by final state."""
    importance: Mapping[str, float]
    seconds: float


def build_tuned_path(path: Path) -> Path:
    """Return the path NAME.tuned.yaml next to a job file; a tuned job file keeps its own path."""
    name = path.name.removesuffix(path.suffix).removesuffix(".tuned")
    return path.with_name(f"{name}.tuned.yaml")


def check_overwrite(path: Path) -> None:
    """Check that a file does not exist, or is an unchanged result of a search.

    Raises:
        JobError: a person wrote or changed the file.
    """
    if not path.exists():
        return
    first, _, body = path.read_text(encoding="utf-8").partition("\n")
    if first != _HASH_PREFIX + _hash_body(body):
        raise JobError.of(
            f"{path} was written or changed by a person",
            hint="name another file with --output, or overwrite it with --force",
        )


def write_tuned_job(
    study: Study, path: Path, target: Path, overrides: Mapping[str, Any], *, seconds: float
) -> TuneResult:
    """Write the best settings as a job file.

    Args:
        study: the search.
        path: the job file that was searched for.
        target: the job file to write.
        overrides: settings that replaced the file's in the search, by dotted key.
        seconds: duration of the search.
    """
    job, facts = load_job(path, overrides), study.facts
    raw = read_job_file(path)
    for key, value in overrides.items():
        set_value(raw, key, value)
    comments = _apply_settings(raw, job.settings, facts.best_params)
    body = f"{_format_heading(facts, path)}\n{_format_yaml(raw, comments)}"
    target.write_text(f"{_HASH_PREFIX}{_hash_body(body)}\n{body}", encoding="utf-8")
    load_job(target)
    return TuneResult(
        job=job.name,
        file=str(target),
        metric=facts.metric,
        best_trial=facts.best_trial,
        best_value=facts.best_value,
        initial_value=facts.initial_value,
        best_params=facts.best_params,
        trials=facts.states,
        importance=facts.importance,
        seconds=round(seconds, 3),
    )


def format_summary(result: TuneResult) -> str:
    """Format the result as a few lines for a terminal."""
    own = "none" if result.initial_value is None else f"{result.initial_value:.4f}"
    states = ", ".join(f"{count} {state}" for state, count in result.trials.items())
    settings = ", ".join(f"{key} {value}" for key, value in result.best_params.items())
    importance = ", ".join(
        f"{key} {share:.0%}" for key, share in list(result.importance.items())[:4]
    )
    return "\n".join(
        [
            f"{result.job}: trial {result.best_trial} is the best of {sum(result.trials.values())}",
            f"  {result.metric:<9} {result.best_value:.4f}; the job's own settings: {own}",
            f"  trials    {states} ({result.seconds:.1f} s)",
            f"  settings  {settings or 'unchanged'}",
            f"  important {importance or 'unknown: too few trials'}",
            f"  run it    ostinato run {result.file}",
        ]
    )


def _hash_body(body: str) -> str:
    """Hash the text below the first line."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _apply_settings(raw: dict[str, Any], own: Settings, chosen: Mapping[str, Any]) -> _Comments:
    """Set the best settings in the job, in place; return a comment for each changed setting.

    Settings that the new cell does not have are removed.
    """
    comments: _Comments = {}
    best = own.with_values(chosen)
    for section, config in best._asdict().items():
        for name in type(config).__dataclass_fields__:
            now, before = getattr(config, name), getattr(getattr(own, section), name)
            if now == before or _to_yaml_value(now) == _to_yaml_value(before):
                continue
            set_value(raw, f"{section}.{name}", _to_yaml_value(now))
            comments[section, name] = f"was {json.dumps(_to_yaml_value(before))}"
    return comments


def _to_yaml_value(value: object) -> Any:  # noqa: ANN401 - as YAML has it
    """Convert a setting to its type in YAML."""
    return list(value) if isinstance(value, tuple) else value


def _format_heading(facts: StudyFacts, path: Path) -> str:
    """Return the comment at the head of the file: its origin and the metric."""
    own = facts.initial_value
    before = f"; {own:.4g} with the settings of {path.name}" if own is not None else ""
    name = "validation loss" if facts.metric == "loss" else f"validation {facts.metric}"
    return (
        f"# {path.name} with the settings of trial {facts.best_trial} of {facts.trials}:\n"
        f"# {name} {facts.best_value:.4g}{before}."
    )


def _format_yaml(raw: Mapping[str, Any], comments: _Comments) -> str:
    """Format the job as YAML, with a comment after every changed setting."""
    parts = []
    for section, node in raw.items():
        lines = yaml.safe_dump({section: node}, sort_keys=False, allow_unicode=True).splitlines()
        for index, line in enumerate(lines):
            name = line.strip().partition(":")[0]
            nested = line.startswith("  ") and not line.startswith("   ")
            if nested and (section, name) in comments:
                lines[index] += f"  # {comments[section, name]}"
        parts += lines
    return "\n".join(parts) + "\n"
