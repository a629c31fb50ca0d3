"""SQL as text: a table's name or one SELECT becomes something that can stand after FROM."""

import re

from tasks.errors import SourceError

# Strings, quoted names, comments and PostgreSQL's dollar quotes: nothing in them is SQL.
OPAQUE = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$""",
    re.VERBOSE | re.DOTALL,
)

PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
NAME = re.compile(rf"{PART}(?:\.{PART})?")

MEND = 'give a table\'s name ("quoted" if it holds signs), or one SELECT'


def quote(name: str) -> str:
    """Write a name so that it can be nothing but a name."""
    return '"' + name.replace('"', '""') + '"'


def name_parts(query: str) -> list[str] | None:
    """Split a table's name at its dot; None where it is not a name."""
    if not NAME.fullmatch(query.strip()):
        return None
    parts = re.findall(PART, query)
    return [part[1:-1].replace('""', '"') if part[0] == '"' else part for part in parts]


def relation(query: str | None, *, forbidden: str | None = None) -> str:
    """Write a table's name or a SELECT as it stands after FROM.

    Args:
        query: what the job file says.
        forbidden: pattern of what must not stand outside of strings, such as parameters.

    Raises:
        SourceError: it is neither a name nor a single SELECT.
    """
    if not query or not query.strip():
        raise SourceError.of("source.query: a database needs to be told what to read", mend=MEND)
    if parts := name_parts(query):
        return ".".join(quote(part) for part in parts)
    bare = OPAQUE.sub(lambda found: " " * len(found[0]), query)
    if not re.match(r"\s*(SELECT|WITH)\b", bare, re.IGNORECASE):
        raise refusal(query, "is neither a table's name nor a SELECT")
    end = bare.find(";")
    if end >= 0 and bare[end:].strip(" \t\r\n;"):
        raise refusal(query, "holds several statements")
    body = bare[:end] if end >= 0 else bare
    if not balanced(body) or re.search(r"""['"]""", body):
        raise refusal(query, "has a parenthesis or a quote that is not closed")
    if forbidden and (found := re.search(forbidden, body)):
        raise refusal(query, f"holds a parameter, {found[0]}")
    return f"(\n{query[: len(body)]}\n)"


def balanced(text: str) -> bool:
    """Tell whether every parenthesis is closed, and none before it was opened."""
    depth = 0
    for sign in re.findall(r"[()]", text):
        depth += 1 if sign == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def refusal(query: str, why: str) -> SourceError:
    """Say what is wrong with a query."""
    return SourceError.of(f"source.query {why}: {shortened(query)}", mend=MEND)


def shortened(query: str | None) -> str:
    """Write a query as it fits into a message."""
    words = " ".join((query or "").split())
    return words if len(words) <= 100 else words[:97] + "..."
