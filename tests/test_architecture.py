"""Limits of the code base: module and function sizes, named exceptions, imports of `--help`."""

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


def iter_functions() -> Iterator[tuple[str, Function]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def measure_depth(node: ast.AST) -> int:
    depth = max((measure_depth(child) for child in ast.iter_child_nodes(node)), default=0)
    return depth + isinstance(node, BLOCKS)


def count_code_lines(function: Function) -> int:
    """Return the number of lines without the docstring."""
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno - docstring


def test_functions_are_short() -> None:
    long = [name for name, node in iter_functions() if count_code_lines(node) > MAX_FUNCTION]

    assert long == []


def test_modules_are_short() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}

    assert [path for path, size in sizes.items() if size > MAX_MODULE] == []


def test_functions_are_not_deeply_nested() -> None:
    assert [name for name, node in iter_functions() if measure_depth(node) > MAX_NESTING] == []


def test_functions_take_few_positional_arguments() -> None:
    many = [
        name
        for name, node in iter_functions()
        if len([a for a in node.args.args if a.arg not in {"self", "cls"}]) > MAX_POSITIONAL
    ]

    assert many == []


def test_every_module_has_a_docstring_and_is_ascii() -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")

        assert ast.get_docstring(ast.parse(text)), path
        assert text.isascii(), path


def test_exceptions_are_caught_by_name() -> None:
    broad = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"})
    ]

    # The command line maps our own errors to exit codes, and raises the others again.
    # A notification block is foreign code, and a failed notification must not fail the run.
    # A lease is renewed again after any error of any filesystem.
    # A full disk is found in the error of any library; other errors are raised again.
    # statsforecast raises a plain Exception where no model can be fitted to a series.
    expected = [
        "flows/cli/main.py",
        "flows/notifications/send.py",
        "models/evaluation/baselines/exponential_smoothing.py",
        "tasks/storage/disk_errors.py",
        "tasks/storage/lease.py",
    ]
    assert [location.partition(":")[0] for location in broad] == expected


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["ui", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv[1:] = " + repr(arguments) + "\n"
        "from flows.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'great_expectations', 'polars', 'numpy'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.splitlines()[-1] == "heavy: []"
    assert "Usage" in result.stdout
