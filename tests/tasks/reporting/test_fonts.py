"""Chinese, Japanese and Korean in pictures: each character has a glyph of its own, not a box."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tasks.reporting.charts.fonts import FAMILY, build_font_face
from tasks.reporting.charts.rows import draw_bars
from tasks.reporting.charts.svg import estimate_width, write_svg
from tests.support.svg import list_texts, parse_chart_file

package = pytest.importorskip("noto_cjk_sans_jp_regular")

LABELS = {
    "traditional": "\u8a9e\u8a00\u5206\u985e",
    "simplified": "\u8bed\u8a00\u5206\u7c7b",
    "japanese": "\u3072\u3089\u30ab\u30ca\u6f22\u5b57",
    "korean": "\ud55c\uad6d\uc5b4",
}


def read_font(style: str) -> ImageFont.FreeTypeFont:
    [data] = re.findall(r'url\("data:font/woff;base64,([^"]+)"\) format\("woff"\)', style)
    return ImageFont.truetype(io.BytesIO(base64.b64decode(data)), 40)


def draw_glyph(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    image = Image.new("L", (60, 70))
    ImageDraw.Draw(image).text((5, 5), character, fill=255, font=font)
    return np.asarray(image)


@pytest.mark.parametrize("script", LABELS)
def test_every_character_of_a_picture_is_drawn_and_is_no_box(script: str, tmp_path: Path) -> None:
    label = LABELS[script]
    write_svg(draw_bars({label: 0.5, "sun": 0.7}, title="F1", x_name="F1"), tmp_path / "a.svg")

    assert label in list_texts(parse_chart_file(tmp_path / "a.svg"))
    style = (tmp_path / "a.svg").read_text(encoding="utf-8")
    font = read_font(style)
    box = draw_glyph(ImageFont.truetype(str(package.FONT_PATH), 40), "\uffff")
    glyphs = [draw_glyph(font, character) for character in label]
    assert box.any()
    assert f'"{FAMILY}", sans-serif' in style
    for glyph in glyphs:
        assert (glyph > 128).sum() > 100
        assert (glyph != box).any()
    assert len({glyph.tobytes() for glyph in glyphs}) == len(set(label))


def test_a_font_holds_what_a_picture_needs_only_and_is_the_same_each_time() -> None:
    face = build_font_face(f"<text>{LABELS['korean']} kW {LABELS['korean']}</text>")

    assert len(face) < 8_000
    assert face == build_font_face("".join(reversed(LABELS["korean"])))
    assert build_font_face("<text>kW \u00e9 \u0416 \u2192</text>") == ""


def test_full_width_characters_take_twice_the_room() -> None:
    assert estimate_width(LABELS["korean"]) == estimate_width("abcdef")
