"""The report's page and the model card: every part with and without its figures, all escaped."""

import re
from html.parser import HTMLParser

import pytest
from pydantic import TypeAdapter

from tasks.registry.register import MAX_DESCRIPTION, shorten_text
from tasks.report_record import ExplanationStep, ReportRecord, read_report, write_report
from tasks.reporting import formatting
from tasks.reporting.charts import Curve, Interval, choose_ticks, draw_curves, draw_intervals
from tasks.reporting.html_page import render_page
from tasks.reporting.limitations import list_limitations
from tasks.reporting.model_card import render_card
from tasks.reporting.sections import SECTIONS
from tasks.reporting.tree_view import position_nodes
from tests.support.reports import GAIN, GATE, REPORT

EVIL = "<script>alert('x')</script>"

BINS = [{"low": 0.0, "high": 1.0, "rows": 90, "confidence": 0.8, "accuracy": 0.7}]

MORE = {
    "headline": "Nine of ten are right.",
    "units": {"log_loss": "nats"},
    "champion": {"accuracy": 0.88},
    "drift": [{"column": EVIL, "severity": "much", "reason": "other values"}],
    "search": {
        "metric": "loss",
        "model": {},
        "budget": None,
        "value": 0.25,
        "tried": 2,
        "contenders": 14,
        "seconds": 3.5,
        "networks": [
            {"network": name, "model": {}, "parameters": size, "epochs": 3, "epochs_planned": 9}
            | {"value": value, "seconds": 1.5, "rung": 1, "state": state, "reason": EVIL}
            for name, size, value, state in [
                ("gru 32, mean", 5000, 0.25, "paused"),
                (EVIL, None, None, "refused"),
            ]
        ],
    },
    "calibration": {
        "temperature": 1.2,
        "fitted_on": "validation",
        "before": {"ece": 0.2, "bins": BINS},
        "after": {"ece": 0.1, "bins": BINS},
    },
    "conformal": {
        "confidence": 0.9, "rows": 90, "coverage": 0.7, "coverage_low": 0.6,
        "coverage_high": 0.8, "size": 1.3, "kind": "sets", "by_step": None,
        "fitted_on": "validation",
    },
    "slices": [
        {"by": "town", "value": EVIL, "rows": 40, "score": 0.5, "low": 0.4, "high": 0.6,
         "champion": None, "metric": "accuracy"},
    ],
    "worst_slice": {"by": "town", "value": EVIL, "rows": 40, "score": 0.5, "low": 0.4,
                    "high": 0.6,
                    "champion": None, "metric": "accuracy", "is_significant": True},
    "leakage_checks": [
        {"name": "shuffled", "status": "alarm", "message": EVIL, "value": 0.9, "threshold": 0.5},
    ],
    "confusion": {"classes": ["a", EVIL], "counts": [[40, 5], [30, 15]]},
    "by_label": [{"label": EVIL, "rows": 10, "precision": 0.5, "recall": 0.5, "f1": 0.5}],
    "steps": [{"step": 1.0, "mae": 0.1, "rmse": 0.1, "smape": 9.0, "coverage": 0.9},
              {"step": 2.0, "mae": 0.2, "rmse": 0.2, "smape": 9.0, "coverage": 0.8}],
    "gate": GATE | {
        "excluded_rows": 5,
        "comparisons": [GAIN | {"name": EVIL, "is_champion": True, "low": 0.0}],
        "guardrails": [{"name": "latency", "value": 3.0, "limit": 2.0, "passed": False}],
    },
    "cost": {
        "training_seconds": 3.0, "evaluation_seconds": 1.0, "peak_memory_bytes": 2**30,
        "energy_joules": None, "parameters": 1000, "model_bytes": 4096,
        "latency_ms_per_row": {"p50": 1.0, "p95": 2.0},
    },
}  # fmt: skip

HEAD = {
    "row": 3, "target": EVIL, "prediction": EVIL, "class_name": EVIL, "probability": 0.8,
    "is_correct": False, "kind": "text",
    "method": "integrated gradients", "quantity": f"log odds of {EVIL}", "start": 0.1, "end": 1.4,
    "gap": 0.0,
}  # fmt: skip

EXPLAINED = {
    "text": {"steps": [{"token": EVIL, "share": 1.0}, {"token": "b", "share": -0.3}]},
    "unknown": {"steps": [{"token": "b", "share": 0.0, "unknown": True}]},
    "series": {
        "channels": [EVIL], "each": 2,
        "steps": [{"values": [1.0], "shares": [0.7]}, {"values": [None], "shares": [0.6]}],
    },
    "audio": {
        "kind": "audio",
        "steps": [{"values": [1.0, 2.0], "shares": [0.7, -0.1]}] * 2,
    },
    "image": {"colors": 1, "steps": [{"pixels": [0, 255], "shares": [0.5, -0.2]}] * 2},
    "colours": {"colors": 3, "steps": [{"pixels": [0, 9, 255], "shares": [0.5]}] * 2},
    "tree": {
        "steps": [
            {"token": EVIL, "share": 1.0, "parent": 2},
            {"token": "b", "share": 0.3, "parent": 1},
            {"token": "", "share": 0.0, "parent": 0},
        ]
    },
    "attention": {
        "method": "attention", "written": [EVIL, "(end)"],
        "steps": [{"token": EVIL, "looks": [0.4, 0.1]}, {"token": "b", "looks": [0.6, 0.9]}],
    },
    "writing": {
        "picture": [[0, 255]], "colors": 1,
        "method": "writing",
        "steps": [{"writes": EVIL, "share": 0.9}, {"writes": "", "share": 0.5}],
    },
    "nothing": {"steps": []},
}  # fmt: skip

ORIGIN = {
    "name": "demo",
    "code_version": "1.0",
    "snapshot": {"facts": {"rows": 300, "files": 1, "cut": None, "schema": {EVIL: "String"}},
                 "hash": "abc"},
    "contract": {
        "facts": {"rows": 290, "quarantined": 10, "promises": 2, "broken": 1},
        "findings": [
            {"rule": "expect_no_null", "column": EVIL, "severity": "warning", "passed": False,
             "observed": EVIL},
            {"rule": "expect_type", "column": "x", "severity": "critical", "passed": True,
             "observed": ""},
        ],
    },
    "features": {
        "facts": {"training": 200, "validation": 30, "test": 60, "classes": ["a", EVIL],
                  "unreadable": 1, "unseen_classes": 2, "duplicates": {"test in training": 3}},
        "layout": {"input": {"column": EVIL, "kind": "text"}, "window": None, "statics": []},
        "target": {"column": EVIL, "kind": "category"},
        "split": {"by": "hash", "test": 0.2},
    },
    "training": {
        "facts": {"epochs": 2, "best_epoch": 1, "seconds": 3.0, "device": "cpu",
                  "parameters": 1000},
        "model": {"cell": "gru"}, "head": {}, "training": {"seed": 7},
    },
    "keys": {"model": "123"},
    "model_hash": "def",
}  # fmt: skip

FULL = REPORT | MORE | {"explanations": [HEAD | EXPLAINED["text"]]}


def build(content: dict) -> ReportRecord:
    """The record of a report with this content."""
    return TypeAdapter(ReportRecord).validate_python(content)


class Reader(HTMLParser):
    """Collects what could load, run or break."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        told = dict(attrs)
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if "href" in told else []
        self.loaded += [told["src"]] if "src" in told else []
        assert not [name for name in told if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        del attrs
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def assert_sound(page: str) -> Reader:
    """Nothing runs, nothing is loaded, every tag is closed, every link has its place."""
    read = Reader(page)
    assert not {"script", "link", "iframe", "object"} & set(read.tags)
    assert EVIL not in page
    assert all(address.startswith("data:image/png;base64,") for address in read.loaded)
    assert all(link.removeprefix("#") in read.ids for link in read.links)
    assert read.open == []
    assert "default-src 'none'" in page
    return read


def test_a_page_of_the_least_report_leaves_out_what_it_lacks() -> None:
    page = render_page(build(REPORT), {})

    read = assert_sound(page)
    assert {"scores", "gate", "curves"} <= set(read.ids)
    assert not {"calibration", "slices", "leakage_checks", "cost", "data", "drift"} & set(read.ids)


def test_a_page_of_a_full_report_has_every_section() -> None:
    page = render_page(build(FULL), ORIGIN, {"answers": b"png"})

    read = assert_sound(page)
    assert set(read.ids) == {section.key for section in SECTIONS} | {"pictures"}
    assert "Nine of ten are right." in page


@pytest.mark.parametrize("lacking", sorted(set(MORE) - {"headline"}))
def test_each_part_of_a_report_may_be_absent(lacking: str) -> None:
    without = {name: value for name, value in FULL.items() if name != lacking}
    default = {lacking: REPORT[lacking]} if lacking in REPORT else {}

    report = build(without | default)

    assert_sound(render_page(report, ORIGIN))
    assert render_card(report, ORIGIN)


@pytest.mark.parametrize("lacking", sorted(ORIGIN))
def test_each_part_of_the_origin_may_be_absent(lacking: str) -> None:
    without = {name: value for name, value in ORIGIN.items() if name != lacking}

    assert_sound(render_page(build(FULL), without))
    assert render_card(build(FULL), without)


@pytest.mark.parametrize("kind", EXPLAINED)
def test_every_kind_of_explanation_is_shown_and_escaped(kind: str) -> None:
    row = HEAD | {"kind": kind} | EXPLAINED[kind]

    page = render_page(build(REPORT | {"explanations": [row]}), ORIGIN)

    assert_sound(page)
    assert 'id="explanations"' in page


@pytest.mark.parametrize("decision", ["promote", "keep", "not-comparable", "needs-approval"])
def test_every_decision_has_its_words(decision: str) -> None:
    page = render_page(build(REPORT | {"decision": decision}), {})

    assert f'<p class="decision {decision}">' in page


def test_a_report_is_read_as_it_was_written(tmp_path) -> None:
    report = build(FULL)

    write_report(report, tmp_path)

    assert read_report(tmp_path) == report


def test_equal_figures_give_equal_pages() -> None:
    assert render_page(build(FULL), ORIGIN) == render_page(build(FULL), ORIGIN)
    assert render_card(build(FULL), ORIGIN) == render_card(build(FULL), ORIGIN)


def test_figures_that_are_no_numbers_are_dashes() -> None:
    odd = REPORT | {
        "metrics": {"accuracy": float("nan"), "log_loss": 0.1},
        "baselines": {"majority": {"accuracy": float("nan"), "log_loss": float("inf")}},
        "gate": GATE | {"comparisons": [GAIN | {"gain": None, "low": None, "high": None}]},
        "history": [{"epoch": 0, "training_loss": float("nan"), "validation_loss": float("nan")}],
    }

    page = render_page(build(odd), {})

    assert_sound(page)
    assert ">nan" not in page
    assert "NaN" not in page


def test_many_classes_are_told_by_what_is_confused_most() -> None:
    names = [f"class {place}" for place in range(90)]
    counts = [[9 if row == column else 0 for column in range(90)] for row in range(90)]
    counts[3][4] = 7

    page = render_page(build(REPORT | {"confusion": {"classes": names, "counts": counts}}), {})

    assert "<b>class 3</b> predicted as <b>class 4</b>: 7" in page
    assert 'class="confusion"' not in page


# --- the card


def test_a_card_has_all_that_a_reader_asks_for() -> None:
    card = render_card(build(FULL), ORIGIN)

    headings = re.findall(r"^## (.+)$", card, flags=re.MULTILINE)
    assert headings == [
        "Intended use",
        "Scores on 90 test rows",
        "Limitations",
        "How to call it",
        "Data",
        "Training",
        "Provenance",
    ]
    assert "| accuracy (decides) | 0.9 | 0.88 | 0.5 | 0.85 to 0.93 |" in card
    assert "<script" not in card.replace("\\<script", "")


def test_limits_come_from_the_figures() -> None:
    told = " ".join(list_limitations(build(FULL), ORIGIN))

    for words_told in (
        "tested on 90 rows only",
        "may be none: the interval goes from",
        "knows 2 classes",
        "2 sequences have a class that is not in the training rows",
        "Less than half of these classes are found",
        "off by 10.0 %",
        "cover 70.0 % where 90.0 % is nominal",
        "weaker by accuracy on: town",
        "10 rows broke their contract",
        "Leakage check 'shuffled' gives alarm",
    ):
        assert words_told in told


def test_a_long_card_is_cut_at_a_line_s_end_and_says_so() -> None:
    card = "\n".join(f"line {place}" for place in range(2000))

    cut = shorten_text(card, MAX_DESCRIPTION)

    assert len(cut) <= MAX_DESCRIPTION
    lines_kept = cut.split("\n\n")[0].splitlines()
    assert lines_kept == card.splitlines()[: len(lines_kept)]
    assert cut.endswith("(the rest is in model_card.md)")
    assert shorten_text("short", MAX_DESCRIPTION) == "short"


# --- numbers and charts


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.98351, "0.9835"), (341.83, "341.8"), (12_345.6, "12,346"), (1_797, "1,797"),
        (0.00001234, "1.23e-05"), (0, "0"), (None, "-"), (float("nan"), "-"), (-0.5, "-0.5"),
        ("seven", "seven"), (9_999.7, "10,000"), (True, "1"),
    ],
)  # fmt: skip
def test_numbers_are_written_with_the_digits_that_count(value: object, told: str) -> None:
    assert formatting.format_number(value) == told


@pytest.mark.parametrize(
    ("count", "told"), [(0.02, "20 ms"), (6.62, "6.6 s"), (600, "10 min"), (9_000, "2.5 h")]
)
def test_times_have_a_unit_that_fits(count: float, told: str) -> None:
    assert formatting.format_seconds(count) == told


def test_ticks_are_round_and_inside() -> None:
    assert choose_ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert all(-3.2 <= tick <= 7.9 for tick in choose_ticks(-3.2, 7.9))
    assert choose_ticks(2.0, 2.0) == [2.0]


def test_a_chart_of_one_point_or_of_none_is_no_fault() -> None:
    assert "<circle" in draw_curves([Curve("a", [1.0], [2.0], "a")], "x", "y")
    assert draw_curves([Curve("a", [1.0], [float("nan")], "a")], "x", "y") is None
    assert "<circle" in draw_intervals([Interval(EVIL, 0.0, None, None)], zero=True, label=EVIL)
    assert draw_intervals([], zero=True, label="none") is None


def test_a_parent_stands_above_the_middle_of_its_children() -> None:
    nodes = position_nodes([ExplanationStep(**step) for step in EXPLAINED["tree"]["steps"]])

    assert nodes[2].x == (nodes[0].x + nodes[1].x) / 2
    assert nodes[2].y < nodes[0].y == nodes[1].y
    assert [node.parent for node in nodes] == [2, 2, -1]
