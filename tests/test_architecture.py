"""Limits of the code base: small modules and functions, errors caught by name, fast help."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "models", "data_contracts")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MAX_FUNCTION, MAX_MODULE, MAX_NESTING, MAX_POSITIONAL = 50, 400, 3, 4

Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try)


def functions() -> Iterator[tuple[str, Function]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def measure_depth(node: ast.AST) -> int:
    below = max((measure_depth(child) for child in ast.iter_child_nodes(node)), default=0)
    return below + isinstance(node, BLOCKS)


def lines_of_code(function: Function) -> int:
    """Its docstring apart."""
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno - docstring


def test_no_function_is_long() -> None:
    long = [name for name, node in functions() if lines_of_code(node) > MAX_FUNCTION]

    assert long == []


def test_no_module_is_long() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}

    assert [path for path, size in sizes.items() if size > MAX_MODULE] == []


def test_no_function_is_deeply_nested() -> None:
    assert [name for name, node in functions() if measure_depth(node) > MAX_NESTING] == []


def test_what_goes_beyond_a_few_arguments_goes_by_name() -> None:
    many = [
        name
        for name, node in functions()
        if len([a for a in node.args.args if a.arg not in {"self", "cls"}]) > MAX_POSITIONAL
    ]

    assert many == []


def test_every_module_says_what_it_is_in_ascii() -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")

        assert ast.get_docstring(ast.parse(text)), path
        assert text.isascii(), path


def test_errors_are_caught_by_name() -> None:
    broad = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"})
    ]

    # The command line maps every error of ours to its exit code, and lets the others through.
    # A notification block is other people's code, and a notification never fails the run.
    expected = ["flows/cli/main.py", "flows/notifications/send.py"]
    assert [location.partition(":")[0] for location in broad] == expected


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["ui", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; sys.argv[1:] = " + repr(words) + "\n"
        "from flows.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'great_expectations', 'polars', 'numpy'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert "Usage" in done.stdout
