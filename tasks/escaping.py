"""Text of data in Markdown: escaped here, and nowhere else; HTML is escaped by its templates.

Class labels, column names, reasons and names are of whoever wrote the data, and the pages that show
them are rendered by Prefect and MLflow, in the browser of somebody who may move an alias there.
"""

import re

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""Not every renderer knows a backslash before them."""

_MARKS = str.maketrans(_ENTITIES | {mark: f"\\{mark}" for mark in "\\`*_[]|~"})

_LINK = re.compile(r"(?i)\b(https?|ftp|mailto|www)([:.])")
"""Addresses that renderers turn into links (GitHub Flavored Markdown, 6.9)."""

_BLOCK_START = re.compile(r"^([-+=#]|\d+[.)])")
"""What begins a list or a heading at the start of a line."""


def escape_markdown(value: object) -> str:
    """Return a value as plain text of one line, whatever it holds: no mark, link, image or HTML."""
    text = " ".join(str(value).split()).translate(_MARKS)
    text = _LINK.sub(r"\1\\\2", text)
    return _BLOCK_START.sub(lambda match: f"{match[1][:-1]}\\{match[1][-1]}", text)


def fence_markdown(text: str) -> str:
    """Return a text of several lines as a block of code that nothing in it can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
