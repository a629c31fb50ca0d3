"""What computes is recorded by its content, not by the number of a version."""

from pathlib import Path

import pytest

from tasks.environment import describe_code, describe_environment, find_installed_version, hash_code


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in ("data_contracts", "flows", "models", "tasks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("x = 1\n")
    return tmp_path


def hash_again(root: Path) -> str:
    hash_code.cache_clear()
    return hash_code(root)


def test_the_hash_follows_every_file_of_the_code_and_nothing_else(code: Path) -> None:
    first = hash_again(code)
    (code / "tasks" / "__pycache__").mkdir()
    (code / "tasks" / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"byte code")
    (code / "README.md").write_text("not code")

    assert hash_again(code) == first
    for name in ("data_contracts", "flows", "models", "tasks"):
        module = code / name / "module.py"
        module.write_text("x = 2\n")
        assert hash_again(code) != first
        module.write_text("x = 1\n")
    (code / "models" / "kernel.cpp").write_text("int x;")
    assert hash_again(code) != first


def test_content_does_not_move_between_files_unnoticed(code: Path) -> None:
    (code / "tasks" / "a.py").write_text("ab")
    (code / "tasks" / "b.py").write_text("")
    first = hash_again(code)
    (code / "tasks" / "a.py").write_text("a")
    (code / "tasks" / "b.py").write_text("b")

    assert hash_again(code) != first


def test_the_environment_names_the_content_of_the_code() -> None:
    version, _, digits = describe_code().partition("+")

    assert version == find_installed_version("ostinato")
    assert len(digits) == 12
    assert describe_environment("cpu")["ostinato"] == describe_code()
