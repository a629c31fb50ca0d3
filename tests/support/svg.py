"""Charts as XML: what a test can read out of an SVG."""

from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

SVG = "{http://www.w3.org/2000/svg}"


def parse_chart(chart: str) -> Element:
    """Parse a chart; raises where it is not well-formed XML."""
    root = fromstring(chart)
    assert root.tag == f"{SVG}svg"
    return root


def parse_chart_file(path: Path) -> Element:
    """Parse a file that has to be complete without a page: with its style, and nothing to load."""
    text = path.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    addresses = text.replace('url("data:', "")
    assert not [word for word in ("<script", "href", "url(", "@import") if word in addresses]
    return parse_chart(text)


def list_texts(root: Element) -> list[str]:
    """List all texts of a chart, in their order."""
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def count_shapes(root: Element, tag: str, style: str = "") -> int:
    """Count the shapes of a kind, or those whose class has this word."""
    classes = [shape.get("class", "").split() for shape in root.iter(SVG + tag)]
    return sum(not style or style in words for words in classes)
