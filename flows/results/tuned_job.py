"""The job file that a search leaves: the user's own, with the best settings and what they were.

It begins with a hash of itself. A file that still has its hash is ours and is written anew; one
that somebody has changed since is theirs.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.job.job import load_job, override
from tasks.errors import JobError
from tasks.records import Study
from tasks.tuning.search_space import Settings

MARK = "# ostinato tune: "

Lines = dict[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """What a search came to; the last line of `ostinato tune --json`."""

    job: str
    file: str
    """The job file with the best settings."""
    metric: str
    best_trial: int
    value: float
    """Of the metric, with the best settings, on the validation rows."""
    own_value: float | None
    """With the job's own settings."""
    chosen: Mapping[str, Any]
    trials: Mapping[str, int]
    """How many ended in which way."""
    importance: Mapping[str, float]
    seconds: float


def tuned_path(path: Path) -> Path:
    """Name the file beside a job's; that of a tuned job is itself."""
    name = path.name.removesuffix(path.suffix).removesuffix(".tuned")
    return path.with_name(f"{name}.tuned.yaml")


def refuse_own_file(path: Path) -> None:
    """Refuse to write over what a person has written or changed.

    Raises:
        JobError: names the file.
    """
    if not path.exists():
        return
    first, _, body = path.read_text(encoding="utf-8").partition("\n")
    if first != MARK + digest(body):
        raise JobError.of(
            f"{path} was written or changed by somebody",
            mend="name another file with --output, or write over it with --force",
        )


def digest(body: str) -> str:
    """Hash what stands below the first line."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def write_tuned(
    study: Study, path: Path, target: Path, overrides: Mapping[str, Any], *, seconds: float
) -> Tuned:
    """Write the best settings as a job file, and say what was found."""
    job, facts = load_job(path, overrides), study.facts
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in overrides.items():
        override(raw, key, value)
    comments = put(raw, job.settings, facts["chosen"])
    body = f"{heading(facts, path)}\n{commented(raw, comments)}"
    target.write_text(f"{MARK}{digest(body)}\n{body}", encoding="utf-8")
    load_job(target)
    return Tuned(
        job=job.name,
        file=str(target),
        metric=facts["metric"],
        best_trial=facts["best"],
        value=facts["value"],
        own_value=facts["own_value"],
        chosen=facts["chosen"],
        trials=facts["states"],
        importance=facts["importance"],
        seconds=round(seconds, 3),
    )


def put(raw: dict[str, Any], own: Settings, chosen: Mapping[str, Any]) -> Lines:
    """Put the best settings into the job, and tell of each that changed what it was.

    Settings that the new cell does not take go.
    """
    comments: Lines = {}
    best = own.changed(chosen)
    for section, config in best._asdict().items():
        for name in type(config).__dataclass_fields__:
            now, before = getattr(config, name), getattr(getattr(own, section), name)
            if now == before or plain(now) == plain(before):
                continue
            override(raw, f"{section}.{name}", plain(now))
            comments[section, name] = f"was {json.dumps(plain(before))}"
    return comments


def plain(value: object) -> Any:  # noqa: ANN401 - as YAML has it
    """Write a setting as YAML does."""
    return list(value) if isinstance(value, tuple) else value


def heading(facts: Mapping[str, Any], path: Path) -> str:
    """Say where the file comes from."""
    own = facts["own_value"]
    before = f"; {own:.4g} with the settings of {path.name}" if own is not None else ""
    name = "validation loss" if facts["metric"] == "loss" else f"validation {facts['metric']}"
    return (
        f"# {path.name} with the settings of trial {facts['best']} of {facts['trials']}:\n"
        f"# {name} {facts['value']:.4g}{before}."
    )


def commented(raw: Mapping[str, Any], comments: Lines) -> str:
    """Write the job as YAML, with a comment behind every line that changed."""
    parts = []
    for section, node in raw.items():
        lines = yaml.safe_dump({section: node}, sort_keys=False, allow_unicode=True).splitlines()
        for place, line in enumerate(lines):
            name = line.strip().partition(":")[0]
            nested = line.startswith("  ") and not line.startswith("   ")
            if nested and (section, name) in comments:
                lines[place] += f"  # {comments[section, name]}"
        parts += lines
    return "\n".join(parts) + "\n"


def summary(found: Tuned) -> str:
    """Say it on a terminal, in a few lines."""
    own = "none" if found.own_value is None else f"{found.own_value:.4f}"
    ends = ", ".join(f"{count} {state}" for state, count in found.trials.items())
    settings = ", ".join(f"{key} {value}" for key, value in found.chosen.items())
    matters = ", ".join(f"{key} {share:.0%}" for key, share in list(found.importance.items())[:4])
    return "\n".join(
        [
            f"{found.job}: trial {found.best_trial} is the best of {sum(found.trials.values())}",
            f"  {found.metric:<9} {found.value:.4f}; the job's own settings: {own}",
            f"  trials    {ends} ({found.seconds:.1f} s)",
            f"  settings  {settings or 'as they are'}",
            f"  matters   {matters or 'too few trials to tell'}",
            f"  run it    ostinato run {found.file}",
        ]
    )
