"""Check a query and write it as SQL that can follow FROM: a table's name or one SELECT."""

import re

from tasks.errors import SourceError

# Strings, quoted names, comments and PostgreSQL's dollar quotes; their content is not parsed.
_OPAQUE = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$""",
    re.VERBOSE | re.DOTALL,
)

_NAME_PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_TABLE_NAME = re.compile(rf"{_NAME_PART}(?:\.{_NAME_PART})?")

_HINT = 'give a table\'s name ("quoted" if it has special characters), or one SELECT'


def quote_name(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def split_name(query: str) -> list[str] | None:
    """Split a table's name into schema and table; None where the query is no name."""
    if not _TABLE_NAME.fullmatch(query.strip()):
        return None
    parts = re.findall(_NAME_PART, query)
    return [part[1:-1].replace('""', '"') if part[0] == '"' else part for part in parts]


def parse_relation(query: str | None, *, forbidden: str | None = None) -> str:
    """Write a table's name or a SELECT so that it can follow FROM.

    Args:
        query: `source.query` of the job file.
        forbidden: pattern of what must not occur outside of strings, such as parameters.

    Raises:
        SourceError: it is neither a name nor one complete SELECT.
    """
    if not query or not query.strip():
        raise SourceError.of(
            "source.query is empty: it has to select what to read from the database", hint=_HINT
        )
    if parts := split_name(query):
        return ".".join(quote_name(part) for part in parts)
    bare = _OPAQUE.sub(lambda match: " " * len(match[0]), query)
    if not re.match(r"\s*(SELECT|WITH)\b", bare, re.IGNORECASE):
        raise _describe_fault(query, "is neither a table's name nor a SELECT")
    end = bare.find(";")
    if end >= 0 and bare[end:].strip(" \t\r\n;"):
        raise _describe_fault(query, "holds several statements")
    body = bare[:end] if end >= 0 else bare
    if not _is_balanced(body) or re.search(r"""['"]""", body):
        raise _describe_fault(query, "has a parenthesis or a quote that is not closed")
    if forbidden and (found := re.search(forbidden, body)):
        raise _describe_fault(query, f"holds a parameter, {found[0]}")
    return f"(\n{query[: len(body)]}\n)"


def shorten_query(query: str | None) -> str:
    """Shorten a query to 100 characters for a message."""
    text = " ".join((query or "").split())
    return text if len(text) <= 100 else text[:97] + "..."


def _is_balanced(text: str) -> bool:
    """Check that the parentheses are balanced."""
    depth = 0
    for parenthesis in re.findall(r"[()]", text):
        depth += 1 if parenthesis == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def _describe_fault(query: str, fault: str) -> SourceError:
    """Build the error for a query that is refused."""
    return SourceError.of(f"source.query {fault}: {shorten_query(query)}", hint=_HINT)
