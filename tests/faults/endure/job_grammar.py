"""A grammar of malformed job files: productions over a job's tree, its values and its text.

A job file is derived from a valid one: some productions change the tree (a key that is misspelt,
missing, of another type, moved to another section), and one may change the text (cut, doubled,
indented, of another encoding). Keys and types are those of the job's own JSON schema, so that a key
that is added later is mutated too.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from flows.job.job import format_schema
from tests.support.sample_jobs import SALES, WAVES

Tree = dict[str, Any]


class MalformedJob(NamedTuple):
    """A job file, and what is known of it."""

    productions: str
    """The productions that it was derived by."""
    content: bytes
    key: str | None
    """Key that the message has to name; None where the file's name is enough."""
    is_refused: bool
    """Whether it can be nothing but wrong; others may be valid by chance."""


class Leaf(NamedTuple):
    """A key of the schema."""

    path: tuple[str, ...]
    types: frozenset[str]
    """JSON types of its values."""


VALID_JOBS: dict[str, Tree] = {
    "waves": WAVES | {"split": {"seed": 3}, "evaluation": {"slices": ["label"]}},
    "sales": SALES | {"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}},
    "texts": {
        "name": "texts",
        "source": {"uri": "texts.parquet"},
        "inputs": [{"column": "text", "kind": "text"}],
        "target": {"column": "label", "kind": "category"},
        "tuning": {"trials": 3},
    },
}


def list_leaves() -> list[Leaf]:
    """List the keys of all sections of the schema."""
    schema = json.loads(format_schema())
    return sorted(set(_walk(schema, schema, ())))


def _walk(node: Tree, schema: Tree, path: tuple[str, ...]) -> Iterator[Leaf]:
    """Walk through the sections below a node; a list is entered nowhere."""
    for name, child in node.get("properties", {}).items():
        branches = [_resolve(branch, schema) for branch in _list_branches(child)]
        types = {t for branch in branches for t in _list_types(branch)}
        yield Leaf((*path, name), frozenset(types))
        for branch in branches:
            yield from _walk(branch, schema, (*path, name))


def _list_branches(node: Tree) -> list[Tree]:
    return [
        each
        for word in ("anyOf", "oneOf")
        for branch in node.get(word, [])
        for each in _list_branches(branch)
    ] or [node]


def _resolve(node: Tree, schema: Tree) -> Tree:
    name = node.get("$ref", "").rpartition("/")[2]
    return schema["$defs"][name] if name else node


def _list_types(node: Tree) -> list[str]:
    if "const" in node or "enum" in node:
        return ["string"]
    found = node.get("type", "object" if "properties" in node else "any")
    return found if isinstance(found, list) else [found]


LEAVES = list_leaves()

WRONG_TYPES: dict[str, list[str]] = {
    "number": ["list", "object", "word"],
    "integer": ["list", "object", "word", "fraction"],
    "boolean": ["list", "object", "word"],
    "string": ["list", "object"],
    "array": ["object"],
    "object": ["list"],
}
"""What is wrong in whatever place takes values of only one type."""


def make_value(draw: random.Random, sort: str) -> Any:
    """Return a value of a sort."""
    return {
        "list": lambda: [[draw.randint(0, 9)], {"a": None}],
        "object": lambda: {make_word(draw): draw.choice([1, None, []])},
        "word": lambda: make_word(draw) + "!",
        "fraction": lambda: draw.randint(1, 9) + 0.37,
    }[sort]()


def make_word(draw: random.Random) -> str:
    """Return a word of a few letters."""
    return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9)))


def make_odd_value(draw: random.Random) -> Any:
    """Return a value from the edge of a type."""
    kinds: list[Callable[[], Any]] = [
        lambda: draw.choice([0, -1, 1, True, False, None, "", " ", [], {}]),
        lambda: draw.choice([float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1e308]),
        lambda: draw.choice([-1, 1]) * 10 ** draw.randint(6, 60),
        lambda: 2 ** draw.choice([31, 32, 53, 63, 64, 127]) - draw.randint(0, 1),
        lambda: make_word(draw) * draw.choice([1, 200, 20_000]),
        lambda: (
            draw.choice(["../", "/", "~", "\x00", "\x1b[31m", "\u202e", "\ud7ff", "%s%n", "{0}"])
            + make_word(draw)
        ),
        lambda: draw.choice(["ftp", "zip", "data", "s3", "file", "javascript", "http"]) + "://x/y",
        lambda: [make_odd_value(draw) for _ in range(draw.randint(1, 4))],
        lambda: {make_word(draw): make_odd_value(draw)},
        lambda: nest(draw.randint(5, 200), draw.choice(["list", "object"])),
    ]
    return draw.choice(kinds)()


def nest(depth: int, sort: str) -> Any:
    """Nest a value."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if sort == "list" else {"a": value}
    return value


def set_path(tree: Tree, path: tuple[str, ...], value: Any) -> None:
    """Set a value; what is in the way and no section is replaced."""
    for name in path[:-1]:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[path[-1]] = value


def list_sections(tree: Tree) -> list[Tree]:
    """List the sections of a job."""
    return [tree, *(part for part in tree.values() if isinstance(part, dict))]


def misspell(draw: random.Random, name: str) -> str:
    """Misspell a key by one letter."""
    place = draw.randrange(len(name))
    return draw.choice(
        [
            name[:place] + name[place + 1 :],
            name[:place] + "q" + name[place:],
            name[: place + 1] + name[place:],
            name[:place] + "_" + name[place + 1 :],
        ]
    )


class Change(NamedTuple):
    """What a production did."""

    production: str
    key: str | None
    is_refused: bool


def misspell_key(draw: random.Random, tree: Tree) -> Change:
    section = draw.choice(list_sections(tree))
    name = draw.choice(sorted(section))
    known = {leaf.path[-1] for leaf in LEAVES}
    wrong = misspell(draw, name)
    section[wrong] = section.pop(name)
    is_certain = bool(wrong) and wrong not in known
    return Change(f"misspell {name} as {wrong}", wrong if is_certain else None, is_certain)


def remove_key(draw: random.Random, tree: Tree) -> Change:
    name = draw.choice(["name", "source", "inputs", "target"])
    del tree[name]
    return Change(f"remove {name}", name, True)


def change_type(draw: random.Random, tree: Tree) -> Change:
    single = [leaf for leaf in LEAVES if len(leaf.types) == 1 and leaf.types & set(WRONG_TYPES)]
    leaf = draw.choice(single)
    [expected] = leaf.types
    sort = draw.choice(WRONG_TYPES[expected])
    set_path(tree, leaf.path, make_value(draw, sort))
    return Change(f"{'.'.join(leaf.path)}: {expected} as {sort}", leaf.path[0], True)


def set_odd_value(draw: random.Random, tree: Tree) -> Change:
    leaf = draw.choice(LEAVES)
    value = make_odd_value(draw)
    set_path(tree, leaf.path, value)
    return Change(f"{'.'.join(leaf.path)}: {repr(value)[:40]}", None, False)


def set_unusable_number(draw: random.Random, tree: Tree) -> Change:
    leaf = draw.choice([leaf for leaf in LEAVES if leaf.types & {"number", "integer"}])
    value = draw.choice([float("nan"), float("inf"), -float("inf")])
    set_path(tree, leaf.path, value)
    return Change(f"{'.'.join(leaf.path)}: {value}", leaf.path[-1], True)


def move_key(draw: random.Random, tree: Tree) -> Change:
    sections = list_sections(tree)
    source = draw.choice(sections[1:])
    if not source:
        return misspell_key(draw, tree)
    name = draw.choice(sorted(source))
    target = draw.choice([each for each in sections if each is not source])
    target[name] = source.pop(name)
    return Change(f"move {name}", None, False)


def change_input(draw: random.Random, tree: Tree) -> Change:
    inputs = tree["inputs"]
    action = draw.choice(["empty", "twice", "value", "kind", "odd", "missing"])
    if action == "empty":
        tree["inputs"] = []
    elif action == "twice":
        tree["inputs"] = inputs * draw.randint(2, 40)
    elif action == "value":
        tree["inputs"] = make_odd_value(draw)
    elif action == "kind":
        inputs[0]["kind"] = draw.choice(["image", "audio", "tree", "number", make_word(draw), 3])
    elif action == "missing":
        inputs[0]["column"] = make_word(draw)
    else:
        inputs[0][draw.choice(["column", "kind", make_word(draw)])] = make_odd_value(draw)
    return Change(f"inputs: {action}", None, action in {"empty", "twice"})


TREE_PRODUCTIONS = (
    misspell_key, remove_key, change_type, set_odd_value, set_odd_value, set_unusable_number,
    move_key, change_input,
)  # fmt: skip


def cut_text(draw: random.Random, text: bytes) -> bytes:
    return text[: draw.randrange(1, len(text))]


def double_line(draw: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    return b"".join([*lines[: place + 1], lines[place], *lines[place + 1 :]])


def drop_line(draw: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    lines.pop(draw.randrange(len(lines)))
    return b"".join(lines)


def indent_line(draw: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    lines[place] = draw.choice([b" ", b"\t", b"      ", b"- ", b"? ", b"  - - - "]) + lines[place]
    return b"".join(lines)


def insert_bytes(draw: random.Random, text: bytes) -> bytes:
    place = draw.randrange(len(text))
    odd = [b"\x00", b"\xff\xfe", b"\xc3", b"\x1b", b"{", b"]", b'"', b"'", b"|", b">", b"*a", b"%"]
    return text[:place] + draw.choice(odd) * draw.choice([1, 1, 50]) + text[place:]


def replace_scalar(draw: random.Random, text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    places = [index for index, line in enumerate(lines) if b": " in line]
    place = draw.choice(places)
    head, _, _ = lines[place].partition(b": ")
    lines[place] = head + b": " + make_yaml_token(draw) + b"\n"
    return b"".join(lines)


def make_yaml_token(draw: random.Random) -> bytes:
    """Return a scalar or collection that YAML reads in a way of its own."""
    digits = "".join(draw.choices("0123456789", k=draw.choice([30, 5_000])))
    tag = draw.choice(["int", "float", "timestamp", "binary", "bool", "set"])
    tokens = [
        f'!!{tag} "{make_word(draw)}"',
        f"!!python/object/apply:os.system [{make_word(draw)}]",
        f"{draw.randint(0, 9999):04}-{draw.randint(0, 99):02}-{draw.randint(0, 99):02}",
        f"{draw.randint(0, 99)}:{draw.randint(0, 99)}:{draw.randint(0, 99)}",
        draw.choice(["", "-", "0x", "0b"]) + digits,
        f"{digits}e{digits[:4]}",
        f"&{make_word(draw)} [*{make_word(draw)}]",
        "&a [*a]",
        "[" * draw.choice([3, 400, 20_000]),
        "{a: " * draw.choice([3, 400]) + "1",
        "- " * 30,
        draw.choice(["~", "yes", "no", ".nan", ".inf", "-.inf", "<<", "=", "?", "!", "@", "`"]),
    ]
    return draw.choice(tokens).encode()


def add_alias_bomb(draw: random.Random, text: bytes) -> bytes:
    levels, width = draw.randint(5, 12), draw.randint(5, 12)
    lines = [f"x0: &x0 [{make_word(draw)}]"]
    lines += [
        f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * width)}]"
        for level in range(1, levels)
    ]
    return text + "\n".join(lines).encode() + b"\n"


def change_encoding(draw: random.Random, text: bytes) -> bytes:
    encoding = draw.choice(["utf-16", "utf-32", "utf-16-le", "cp037"])
    return text.decode().encode(encoding)


def join_documents(draw: random.Random, text: bytes) -> bytes:
    return text + b"---\n" * draw.randint(1, 3) + text


TEXT_PRODUCTIONS = (
    cut_text, double_line, drop_line, indent_line, insert_bytes, replace_scalar, replace_scalar,
    add_alias_bomb, change_encoding, join_documents,
)  # fmt: skip


def derive_job(base: str, seed: str) -> MalformedJob:
    """Derive a malformed job file from a valid job."""
    draw = random.Random(seed)
    tree = copy.deepcopy(VALID_JOBS[base])
    names, key, is_refused = [], None, False
    shape = draw.choice(["tree", "tree", "tree", "text", "both"])
    if shape != "text":
        change = draw.choice(TREE_PRODUCTIONS)(draw, tree)
        names.append(change.production)
        key, is_refused = change.key, change.is_refused
    content = yaml.safe_dump(tree, sort_keys=False).encode()
    if shape != "tree":
        produce = draw.choice(TEXT_PRODUCTIONS)
        names.append(produce.__name__)
        content = produce(draw, content)
        # What the text breaks may hide what the tree broke.
        key, is_refused = None, False
    return MalformedJob("; ".join(names), content, key, is_refused)
