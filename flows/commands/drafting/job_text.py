"""Write a draft as a job file, as a person would write it."""

import json
import textwrap

import yaml

from flows.commands.drafting.draft import JobDraft

_WIDTH = 100


def format_job(draft: JobDraft, *, name: str, uri: str, contract: str) -> str:
    """Format the job file, with a comment above each section that says why."""
    sections = {
        "name": [f"name: {quote(name)}"],
        "source": [f"source: {{{', '.join(_list_source_settings(draft, uri))}}}"],
        "inputs": ["inputs:", *_format_input(draft)],
        "target": _format_target(draft),
        "split": _format_split(draft),
        "window": [f"window: {{lookback: {draft.lookback}, horizon: {draft.horizon}}}"]
        if draft.lookback
        else [],
        "gate": [f"gate: {{season_length: {draft.season}}}"] if draft.season > 1 else [],
        "model": [f"model: {{downsample: {draft.downsample}}}"] if draft.downsample > 1 else [],
        "contract": [f"contract: {quote(contract)}"],
    }
    lines = [line for note in draft.notes for line in _format_comment(f"Note: {note}")]
    for key, text in sections.items():
        if text:
            lines += [*_format_comment(draft.comments.get(key, "")), *text]
    lines.append('# schedule: {cron: "0 3 * * *", timezone: UTC}')
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """Quote a text where YAML would read it as something else."""
    is_special = any(character in text for character in ",[]{}:#&*!|>'\"%@`\\\n")
    try:
        is_plain = not is_special and yaml.safe_load(text) == text
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _list_source_settings(draft: JobDraft, uri: str) -> list[str]:
    """List the settings of the source."""
    settings = [f"uri: {quote(uri)}"]
    settings += [f"time: {quote(draft.time)}"] if draft.time else []
    settings += [f"entity: {quote(draft.entity)}"] if draft.entity else []
    formats = ", ".join(f"{quote(name)}: {quote(each)}" for name, each in draft.parse.items())
    return [*settings, f"parse: {{{formats}}}"] if formats else settings


def _format_input(draft: JobDraft) -> list[str]:
    """Format the input, in one line where it fits."""
    columns = [quote(column) for column in draft.columns]
    column = columns[0] if len(columns) == 1 else f"[{', '.join(columns)}]"
    settings = {"kind": draft.kind, **draft.input_options}
    options = "".join(f", {key}: {value}" for key, value in settings.items())
    line = f"  - {{column: {column}{options}}}"
    if len(line) <= _WIDTH:
        return [line]
    others = [f"    {key}: {value}" for key, value in settings.items()]
    return ["  - column:", *_wrap_names(column), *others]


def _format_target(draft: JobDraft) -> list[str]:
    """Format the target, in one line where it fits."""
    names = [quote(name) for name in draft.target_columns]
    column = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
    line = f"target: {{column: {column}, kind: {draft.target_kind}}}"
    if len(line) <= _WIDTH:
        return [line]
    return ["target:", "  column:", *_wrap_names(column), f"  kind: {draft.target_kind}"]


def _wrap_names(names: str) -> list[str]:
    """Wrap a list of columns."""
    return textwrap.wrap(
        names,
        _WIDTH,
        initial_indent=" " * 6,
        subsequent_indent=" " * 7,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _format_split(draft: JobDraft) -> list[str]:
    """Format the split; nothing where the default is right."""
    settings = [f"by: column, column: {quote(draft.split)}"] if draft.split else []
    settings += ["by: time"] if draft.by_time else []
    settings += [f"by: hash, group: {quote(draft.group)}"] if draft.group else []
    settings += [f"{name}: {share}" for name, share in draft.shares.items()]
    return [f"split: {{{', '.join(settings)}}}"] if settings else []


def _format_comment(text: str) -> list[str]:
    """Wrap a comment; nothing for an empty one."""
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
