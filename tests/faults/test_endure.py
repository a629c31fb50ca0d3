"""A slice of the endurance harness, and what the harness itself promises."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.endure.case import MAX_MEMORY, MAX_MESSAGE, Case, Ended, Outcome, judge_ended
from tests.faults.endure.command_server import ROOT, CommandServer
from tests.faults.endure.job_grammar import VALID_JOBS, derive_job
from tests.faults.endure.kinds import data_files
from tests.faults.endure.results import BEGIN, END, format_table, write_table
from tests.faults.endure.runner import load_kinds, run_case
from tests.faults.endure.workshop import Workshop

SEED = 1

KINDS = load_kinds()

REFUSED = Ended(2, "", "job file a.yaml is not valid: no name", 0.1, 1, timed_out=False)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Share servers and a finished run among the cases of all kinds."""
    # The commands of the cases import the product from where this file is.
    os.environ["PYTHONPATH"] = str(ROOT)
    shared = Workshop(tmp_path_factory.mktemp("endure"))
    yield shared
    shared.close()


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_of_each_kind_of_fault_is_survived(kind: str, workshop: Workshop) -> None:
    module = KINDS[kind]

    outcomes = [run_case(case, workshop) for case in module.list_cases(SEED, module.SLICE)]

    assert [each for each in outcomes if each and each.failure and not each.skipped] == []
    assert any(outcomes)


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({}, None),
        ({"code": 1}, "exit code 1"),
        ({"code": -9}, "exit code -9"),
        (
            {"errors": "Traceback (most recent call last):\n  x\nKeyError: 'a.yaml'\n(see docs)"},
            "KeyError",
        ),
        ({"errors": ""}, "without a message"),
        ({"errors": "something is wrong"}, "names none of a.yaml"),
        ({"errors": "a.yaml " + "x" * MAX_MESSAGE}, "characters"),
        ({"memory": MAX_MEMORY + 1}, "GiB of memory"),
        ({"timed_out": True}, "did not end"),
    ],
)
def test_each_rule_of_how_a_command_ends_can_fail(
    changes: dict[str, object], failure: str | None
) -> None:
    found = judge_ended(REFUSED._replace(**changes), (0, 2), ["a.yaml"])

    assert found is None if failure is None else failure in str(found)


def test_equal_seeds_derive_equal_cases_and_others_derive_others() -> None:
    first, again, other = (
        [derive_job(base, f"{seed}/{index}") for base in VALID_JOBS for index in range(20)]
        for seed in (1, 1, 2)
    )

    assert first == again
    # Some productions have few results, such as another encoding of a valid job.
    assert len(set(first) & set(other)) < 0.2 * len(first)
    assert len({job.content for job in first}) > 0.9 * len(first)


def test_no_derived_file_is_the_valid_one() -> None:
    names = [case.name for case in data_files.list_cases(SEED, 40)]

    assert len(set(names)) == 40
    assert all(name.partition(": ")[2] for name in names)


def test_a_forked_command_is_judged_by_its_own_exit_code_output_and_time(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    server = CommandServer(tmp_path / "home", PYTHONPATH=str(ROOT))

    missing = server.run(folder, "check", "missing.yaml")
    version = server.run(folder, "--version")
    killed = server.run(folder, "--version", kill_after=1e-6)
    server.close()

    assert missing.code == 2
    assert "missing.yaml" in missing.errors
    assert version.code == 0
    assert "version" in version.output
    assert killed.code == -9
    assert not killed.timed_out


def test_an_error_of_the_harness_is_a_failure_not_a_pass(tmp_path: Path) -> None:
    def judge(_: Workshop) -> str | None:
        raise ValueError("broken")

    outcome = run_case(Case("kind", "name", judge), Workshop(tmp_path))

    assert outcome is not None
    assert "broken" in str(outcome.failure)
    assert not outcome.skipped


def test_the_table_replaces_what_is_between_the_markers_and_names_what_failed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    outcomes = [
        Outcome("kills", "00 flow", None, 60.0),
        Outcome("kills", "01 <b>", "exit code 1: a|b", 60.0),
        Outcome("kills", "02 host", "this user may not", 0.0, skipped=True),
    ]

    write_table(path, format_table({"kills": outcomes}, seed=1, minutes=2.0))

    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| kills | 2 | 1 | 1 | 1 | 2.0 |" in text
    assert "01 \\<b\\>: exit code 1: a\\|b" in text
    assert "old" not in text


def test_a_file_without_markers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("no place", encoding="utf-8")

    with pytest.raises(ValueError, match="markers"):
        write_table(path, "table")
