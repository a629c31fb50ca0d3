"""A grammar of malformed files: productions over bytes, over lines of text, and over tables.

A file is derived from a valid table in one of the formats. Productions over the table come first
(types, columns, values at the edge of a type), then those over its lines where it is text, and over
its bytes.
"""

import io
import json
import random
import struct
import wave
import zlib
from collections.abc import Callable

import numpy as np
import polars as pl
from PIL import Image

_INTEGERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)

Mutate = Callable[[random.Random, bytes], bytes]


# ---- bytes


def flip_bits(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 3, 30])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data))]


def cut_head(draw: random.Random, data: bytes) -> bytes:
    return data[draw.randrange(1, len(data)) :]


def remove_range(draw: random.Random, data: bytes) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice([1, 4, 64, 1_000]) :]


def clear_range(draw: random.Random, data: bytes) -> bytes:
    start = draw.randrange(len(data))
    length = min(draw.choice([4, 64, 1_000]), len(data) - start)
    return data[:start] + bytes([draw.choice([0, 255])]) * length + data[start + length :]


def insert_noise(draw: random.Random, data: bytes) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + draw.randbytes(draw.choice([1, 4, 1_000])) + data[start:]


def append_noise(draw: random.Random, data: bytes) -> bytes:
    return data + draw.randbytes(draw.choice([1, 8, 4_000]))


def double(_: random.Random, data: bytes) -> bytes:
    return data + data


def set_integer(draw: random.Random, data: bytes) -> bytes:
    """Overwrite an integer near the beginning or the end, where formats keep their lengths."""
    size = draw.choice([1, 2, 4, 8])
    value = draw.choice(_INTEGERS) & (256**size - 1)
    reach = min(len(data) - size, draw.choice([16, 64, 400]))
    place = draw.randrange(max(1, reach))
    if draw.random() < 0.5:
        place = max(0, len(data) - size - place)
    written = value.to_bytes(size, draw.choice(["little", "big"]))
    return data[:place] + written + data[place + size :]


def replace_all(draw: random.Random, data: bytes) -> bytes:
    return draw.choice([b"", b"\x00", b"PAR1", b"PAR1PAR1", b"ARROW1", b"{", data[:1], b"\n" * 99])


BYTE_PRODUCTIONS: tuple[Mutate, ...] = (
    flip_bits, flip_bits, cut, cut_head, remove_range, clear_range, insert_noise, append_noise,
    double, set_integer, set_integer, set_integer, replace_all,
)  # fmt: skip


# ---- lines of CSV and JSON Lines


def make_token(draw: random.Random) -> bytes:
    """Return text to stand where a value does."""
    digits = "".join(draw.choices("0123456789", k=draw.choice([25, 400, 5_000])))
    tokens = [
        digits, f"-{digits}", f"{digits}.{digits}", "1e999", "-1e999", "NaN", "inf", "Infinity",
        "null", "true", "", " ", '"', "'", '"""', "\x00", "\u202e", "\ufeff", "\\", "\r",
        f"{draw.randint(0, 9999):04}-{draw.randint(0, 99):02}-{draw.randint(0, 99):02}",
        "0000-00-00", "9999-12-31T23:59:60Z", "-290308-12-21", "=cmd()", "![x](http://x)",
        "<script>", "[" * draw.choice([3, 10_000]), '{"a":' * draw.choice([3, 10_000]), "[]", "{}",
        "x" * draw.choice([1, 1_000_000]), "\ud800", "\u0661\u0662", "1_000", "0x1F", "+1", "1,5",
    ]  # fmt: skip
    return draw.choice(tokens).encode("utf-8", "surrogatepass")


def replace_value(draw: random.Random, data: bytes) -> bytes:
    """Replace what stands between two separators."""
    separators = [i for i, byte in enumerate(data) if byte in b",:\n[]"]
    if len(separators) < 2:
        return data + make_token(draw)
    index = draw.randrange(len(separators) - 1)
    start, stop = separators[index] + 1, separators[index + 1]
    return data[:start] + make_token(draw) + data[stop:]


def replace_many_values(draw: random.Random, data: bytes) -> bytes:
    for _ in range(draw.randint(5, 40)):
        data = replace_value(draw, data)
    return data


def change_lines(draw: random.Random, data: bytes) -> bytes:
    """Drop, double, join, swap or cut lines."""
    lines = data.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    action = draw.choice(["drop", "double", "join", "cut", "head", "empty", "many"])
    if action == "drop":
        lines.pop(place)
    elif action == "double":
        lines.insert(place, lines[place])
    elif action == "join":
        lines[place] = lines[place].rstrip(b"\r\n")
    elif action == "cut":
        lines[place] = lines[place][: len(lines[place]) // 2] + b"\n"
    elif action == "head":
        lines.insert(0, draw.choice([b"# a comment\n", b"\n", b"\xef\xbb\xbf", b"sep=;\n"]))
    elif action == "empty":
        lines[place:place] = [b"\n"] * draw.randint(1, 50)
    else:
        lines[place] = lines[place].rstrip(b"\n") + b",1" * draw.choice([1, 3, 5_000]) + b"\n"
    return b"".join(lines)


def change_encoding(draw: random.Random, data: bytes) -> bytes:
    text = data.decode() + "\u00e9\u00fc"
    return text.encode(draw.choice(["utf-16", "utf-32", "latin-1", "utf-16-le", "utf-8-sig"]))


def change_separator(draw: random.Random, data: bytes) -> bytes:
    return data.replace(b",", draw.choice([b";", b"\t", b"|", b"\x00", b",,"]))


def change_line_ends(draw: random.Random, data: bytes) -> bytes:
    return data.replace(b"\n", draw.choice([b"\r", b"\r\n", b"\x0b", b"\xe2\x80\xa8"]))


LINE_PRODUCTIONS: tuple[Mutate, ...] = (
    replace_value, replace_value, replace_many_values, change_lines, change_lines, change_encoding,
    change_separator, change_line_ends,
)  # fmt: skip


# ---- tables


def drop_column(draw: random.Random, table: pl.DataFrame) -> pl.DataFrame:
    return table.drop(draw.choice(table.columns))


def rename_column(draw: random.Random, table: pl.DataFrame) -> pl.DataFrame:
    new = draw.choice(["", " ", "x" * 3_000, "a\nb", "<b>", "__index__", table.columns[-1] + "_"])
    return table.rename({draw.choice(table.columns): new})


def retype_column(draw: random.Random, table: pl.DataFrame) -> pl.DataFrame:
    name = draw.choice(table.columns)
    column = draw.choice(
        [
            pl.lit("text"), pl.lit(1), pl.lit(None), pl.lit(b"\x00\xff"), pl.lit(True),
            pl.struct(a=1, b=pl.lit("x")), pl.lit([[[1.0]]]), pl.lit(2**63).cast(pl.UInt64),
            pl.lit("9" * 30).cast(pl.Decimal(38, 0)), pl.lit(0).cast(pl.Duration("ns")),
            pl.lit("a").cast(pl.Categorical), pl.lit(1).cast(pl.Int128),
        ]
    )  # fmt: skip
    return table.with_columns(column.alias(name))


def set_rows(draw: random.Random, table: pl.DataFrame) -> pl.DataFrame:
    """Replace the values of some rows by one from the edge of the column's type."""
    name = draw.choice(table.columns)
    chosen = (pl.int_range(pl.len()) % draw.choice([1, 2, 17])) == 0
    odd = pl.lit(make_edge_value(draw, table.schema[name]), dtype=table.schema[name])
    return table.with_columns(pl.when(chosen).then(odd).otherwise(pl.col(name)).alias(name))


def make_edge_value(draw: random.Random, dtype: pl.DataType) -> object:
    """Return a value from the edge of a type."""
    if isinstance(dtype, pl.List):
        inner = make_edge_value(draw, dtype.inner)
        return draw.choice([None, [], [None], [inner], [inner] * 20, [0.5] * 200_000])
    if dtype.is_float():
        nan, infinity = float("nan"), float("inf")
        return draw.choice([nan, infinity, -infinity, 1e308, -1e308, 5e-324, None])
    if dtype.is_integer():
        return draw.choice([2**63 - 1, -(2**63), 0, None])
    if dtype.is_temporal():
        return None
    if dtype == pl.Binary:
        return draw.choice([b"", None, draw.randbytes(50)])
    return draw.choice(["", None, "\x00", "x" * 1_000_000, "![x](http://x)", "<script>x", "\u202e"])


def shift_time(draw: random.Random, table: pl.DataFrame) -> pl.DataFrame:
    """Replace times by ones near the ends of what the type holds."""
    names = [name for name, dtype in table.schema.items() if dtype.is_temporal()]
    if not names:
        return set_rows(draw, table)
    unit = draw.choice(["ms", "us", "ns"])
    edge = draw.choice([-(2**63) + 1, -(2**63) + 10**6, 2**63 - 1, 2**62, -1])
    times = pl.lit(edge, dtype=pl.Int64).cast(pl.Datetime(unit))
    chosen = pl.int_range(pl.len()) % draw.choice([1, 9]) == 0
    kept = pl.col(names[0]).cast(pl.Datetime(unit))
    return table.with_columns(pl.when(chosen).then(times).otherwise(kept).alias(names[0]))


def change_rows(draw: random.Random, table: pl.DataFrame) -> pl.DataFrame:
    """Leave no row, one or two rows, or each row many times."""
    part = table.head(draw.choice([0, 1, 2, 3]))
    return draw.choice([part, pl.concat([table] * 5), table.reverse()])


def add_columns(draw: random.Random, table: pl.DataFrame) -> pl.DataFrame:
    count = draw.choice([1, 600])
    return table.with_columns(pl.lit(draw.random()).alias(f"extra {i}") for i in range(count))


TABLE_PRODUCTIONS = (
    drop_column, rename_column, retype_column, retype_column, set_rows, set_rows, set_rows,
    shift_time, change_rows, add_columns,
)  # fmt: skip


# ---- sounds and pictures


def make_sound(draw: random.Random) -> bytes:
    """Return a short WAV of one of two pitches, and of a phase of its own."""
    steps = np.arange(2_000) / 8_000 + draw.random()
    sound = (np.sin(2 * np.pi * draw.choice([220, 880]) * steps) * 2**14).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(sound.tobytes())
    return buffer.getvalue()


def set_sound_field(draw: random.Random, data: bytes) -> bytes:
    """Overwrite a field of a WAV header: format, channels, rate, bytes a second, sizes."""
    place, size = draw.choice(
        [(4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (24, 4), (28, 4), (32, 2), (34, 2), (40, 4)]
    )
    value = draw.choice([*_INTEGERS[:8], 2**31 - 1, 192_000, 3]) & (256**size - 1)
    return data[:place] + value.to_bytes(size, "little") + data[place + size :]


def make_picture(draw: random.Random) -> bytes:
    """Return a small PNG, dark above or below."""
    pixels = np.frombuffer(draw.randbytes(144), np.uint8).reshape(12, 12) // 8 + 180
    pixels[:6] //= 4
    buffer = io.BytesIO()
    Image.fromarray(pixels if draw.random() < 0.5 else pixels[::-1]).save(buffer, "png")
    return buffer.getvalue()


def set_picture_field(draw: random.Random, data: bytes) -> bytes:
    """Overwrite a field of a PNG header, with the checksum that fits."""
    header = bytearray(data[16:29])
    place, size = draw.choice([(0, 4), (4, 4), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1)])
    value = draw.choice([*_INTEGERS[:8], 20_000, 2**31 - 1]) & (256**size - 1)
    header[place : place + size] = value.to_bytes(size, "big")
    return data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]


def inflate_picture(draw: random.Random, _: bytes) -> bytes:
    """Return a PNG of a few kilobytes that unpacks to very many pixels."""
    side = draw.choice([6_000, 12_000, 40_000])
    rows = zlib.compress(bytes(min(side * side, 10**8)), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


SOUND_PRODUCTIONS = (set_sound_field, set_sound_field, set_sound_field, *BYTE_PRODUCTIONS)
PICTURE_PRODUCTIONS = (
    set_picture_field, set_picture_field, set_picture_field, inflate_picture, *BYTE_PRODUCTIONS,
)  # fmt: skip


def write_json_lines(table: pl.DataFrame) -> bytes:
    """Write a table as JSON Lines, with dates as texts."""
    lines = [json.dumps(row, default=str) for row in table.to_dicts()]
    return ("\n".join(lines) + "\n").encode()
