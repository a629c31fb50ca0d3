"""Text of data on Markdown pages: rendered, it is the text itself and nothing else."""

from html.parser import HTMLParser

import mistune
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.escaping import escape_markdown, fence_markdown

RENDERER = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table")

HOSTILE = [
    "![x](http://evil.example/a.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "a | b",
    "**bold** _it_ ~~gone~~ `code`",
    "# heading",
    "- item",
    "1. item",
    "1) item",
    "=====",
    "+ item",
    "> quote",
    "&lt;b&gt; &#33;",
    "back\\slash \\",
    "<http://evil.example>",
    "[ref]: http://evil.example",
]


class Reader(HTMLParser):
    """Tags and text of a rendered page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, _attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def assert_plain(text: str) -> None:
    shown = " ".join(text.split())
    line = Reader(RENDERER.render(escape_markdown(text)))
    cell = Reader(RENDERER.render(f"| a | b |\n|---|---|\n| {escape_markdown(text)} | end |"))

    assert line.tags == (["p"] if shown else [])
    assert line.text.strip() == shown
    assert cell.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert shown in cell.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_rendered_as_it_is(text: str) -> None:
    assert_plain(text)


@given(st.text("ab1 \\`*_{}[]()<>|#!~&+-=.:\"'/", max_size=20))
def test_any_text_of_marks_is_rendered_as_it_is(text: str) -> None:
    assert_plain(text)


@pytest.mark.parametrize("text", ["http://evil.example", "see HTTPS://x.y and http://z.w/a"])
def test_an_address_becomes_no_link(text: str) -> None:
    render = mistune.create_markdown(escape=False, plugins=["url"])

    page = Reader(render(escape_markdown(text)))

    assert "a" in Reader(render(text)).tags
    assert page.tags == ["p"]
    assert page.text.strip() == text


@pytest.mark.parametrize("text", ["a\n```\n![x](http://evil)\n```", "plain", "`````\n<b>"])
def test_nothing_ends_a_fence_from_within(text: str) -> None:
    page = Reader(RENDERER.render(fence_markdown(text)))

    assert page.tags == ["pre", "code"]
    assert page.text.strip() == text
