"""Glyphs of Chinese, Japanese and Korean for pictures: the few that one needs, inside of it.

A picture is drawn wherever it is opened, and many machines have no font with these scripts and show
a box for each character. Noto Sans CJK (SIL Open Font License) holds all three; its glyphs for the
characters of a picture are some hundred bytes each (fontTools' subsetter).
"""

import base64
import io
import re
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec

FAMILY = "Ostinato CJK"
"""Name of the font in style sheets, behind the fonts of the reader's machine."""

_PACKAGE, _FILE = "noto_cjk_sans_jp_regular", "NotoSansCJKjp-Regular.otf"

_CJK = re.compile(
    "[\\u1100-\\u11ff\\u2e80-\\u303f\\u3040-\\u33ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\ua960-\\ua97f"
    "\\uac00-\\ud7ff\\uf900-\\ufaff\\ufe30-\\ufe4f\\uff00-\\uffef\\U00020000-\\U0003134f]"
)
"""Radicals, punctuation, kana, ideographs, Hangul and full-width forms (Unicode's blocks)."""

_MAX_CHARACTERS = 2_000
"""Most characters whose glyphs are embedded: about 300 KB; the first ones in code point order."""


def build_font_face(text: str) -> str:
    """Return a rule of CSS with the glyphs of a text's characters; empty where it needs none.

    The rule is also empty where the package of the font is not installed.
    """
    characters = "".join(sorted(set(_CJK.findall(text)))[:_MAX_CHARACTERS])
    if not characters or find_spec(_PACKAGE) is None:
        return ""
    data = base64.b64encode(subset_font(characters)).decode()
    return (
        f'@font-face {{ font-family: "{FAMILY}"; '
        f'src: url("data:font/woff;base64,{data}") format("woff"); }}\n'
    )


@lru_cache(maxsize=16)
def subset_font(characters: str) -> bytes:
    """Return a WOFF file with the glyphs of these characters; equal characters give equal bytes."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    options = Options(
        layout_features=[], hinting=False, desubroutinize=True, name_IDs=[], recalc_timestamp=False
    )
    options.drop_tables += ["BASE", "DSIG", "GPOS", "GSUB", "VORG", "vhea", "vmtx"]
    with (files(_PACKAGE) / _FILE).open("rb") as file:
        font = TTFont(file, lazy=True, recalcTimestamp=False)
        subsetter = Subsetter(options)
        subsetter.populate(text=characters)
        subsetter.subset(font)
        font.flavor = "woff"
        buffer = io.BytesIO()
        font.save(buffer)
    return buffer.getvalue()
