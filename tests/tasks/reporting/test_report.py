"""The report's page and the model card: every part with and without its values, all escaped."""

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from pydantic import TypeAdapter

from data_contracts.suite import Finding
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.features.static_covariates import CategoryInput
from models.features.text.config import TextInput
from models.learning.config import TrainingConfig
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.facts import (
    AcceptedFacts,
    CandidateFacts,
    CutFacts,
    FeatureFacts,
    SnapshotFacts,
)
from tasks.library_record import LibraryPart
from tasks.pretraining_record import PretrainingFacts
from tasks.records import Artifact
from tasks.registry.register import MAX_DESCRIPTION, shorten_text
from tasks.report_record import ExplanationStep, ReportRecord, read_report, write_report
from tasks.reporting import formatting
from tasks.reporting.charts.svg import draw_message
from tasks.reporting.html_page import render_page
from tasks.reporting.limitations import list_limitations
from tasks.reporting.lineage import Lineage, TrainingSettings
from tasks.reporting.lineage_sections import build_data
from tasks.reporting.model_card import render_card
from tasks.reporting.sections import SECTIONS
from tasks.reporting.tree_view import position_nodes
from tests.support.reports import GAIN, GATE, REPORT

MARKUP = "<script>alert('x')</script>"

BINS = [{"low": 0.0, "high": 1.0, "rows": 90, "confidence": 0.8, "accuracy": 0.7}]

OPTIONAL_PARTS = {
    "headline": "Nine of ten are right.",
    "units": {"log_loss": "nats"},
    "champion": {"accuracy": 0.88},
    "drift": [{"column": MARKUP, "severity": "much", "reason": "other values"}],
    "search": {
        "metric": "loss",
        "model": {},
        "budget": None,
        "value": 0.25,
        "tried": 2,
        "candidates": 14,
        "seconds": 3.5,
        "networks": [
            {"network": name, "model": {}, "parameters": size, "epochs": 3, "epochs_planned": 9}
            | {"value": value, "seconds": 1.5, "rung": 1, "state": state, "reason": MARKUP}
            for name, size, value, state in [
                ("gru 32, mean", 5000, 0.25, "paused"),
                (MARKUP, None, None, "refused"),
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
        {"by": "town", "value": MARKUP, "rows": 40, "score": 0.5, "low": 0.4, "high": 0.6,
         "champion": None, "metric": "accuracy"},
    ],
    "worst_slice": {"by": "town", "value": MARKUP, "rows": 40, "score": 0.5, "low": 0.4,
                    "high": 0.6,
                    "champion": None, "metric": "accuracy", "is_significant": True},
    "leakage_checks": [
        {"name": "shuffled", "status": "failed", "message": MARKUP, "value": 0.9, "threshold": 0.5},
    ],
    "confusion": {"classes": ["a", MARKUP], "counts": [[40, 5], [30, 15]]},
    "by_column": [
        {"column": MARKUP, "mae": 1.5, "rmse": 2.0, "smape": 30.0, "mase": None}
        | {"standardized_mae": 0.4, "standardized_mse": 0.3, "coverage": 0.9}
    ],
    "by_label": [{"label": MARKUP, "rows": 10, "precision": 0.5, "recall": 0.5, "f1": 0.5}],
    "steps": [{"step": 1.0, "mae": 0.1, "rmse": 0.1, "smape": 9.0, "coverage": 0.9},
              {"step": 2.0, "mae": 0.2, "rmse": 0.2, "smape": 9.0, "coverage": 0.8}],
    "gate": GATE | {
        "excluded_rows": 5,
        "comparisons": [GAIN | {"name": MARKUP, "is_champion": True, "low": 0.0}],
        "guardrails": [{"name": "latency", "value": 3.0, "limit": 2.0, "passed": False}],
    },
    "cost": {
        "training_seconds": 3.0, "evaluation_seconds": 1.0, "peak_memory_bytes": 2**30,
        "energy_joules": None, "parameters": 1000, "model_bytes": 4096,
        "latency_ms_per_row": {"p50": 1.0, "p95": 2.0},
    },
}  # fmt: skip

HEAD = {
    "row": 3, "target": MARKUP, "prediction": MARKUP, "class_name": MARKUP, "probability": 0.8,
    "is_correct": False, "kind": "text",
    "method": "integrated gradients", "quantity": f"log odds of {MARKUP}", "start": 0.1, "end": 1.4,
    "gap": 0.0,
}  # fmt: skip

EXPLANATIONS = {
    "text": {"steps": [{"token": MARKUP, "share": 1.0}, {"token": "b", "share": -0.3}]},
    "unknown": {"steps": [{"token": "b", "share": 0.0, "unknown": True}]},
    "series": {
        "channels": [MARKUP], "group_size": 2,
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
            {"token": MARKUP, "share": 1.0, "parent": 2},
            {"token": "b", "share": 0.3, "parent": 1},
            {"token": "", "share": 0.0, "parent": 0},
        ]
    },
    "attention": {
        "method": "attention", "symbols": [MARKUP, "(end)"],
        "steps": [{"token": MARKUP, "attention": [0.4, 0.1]},
                  {"token": "b", "attention": [0.6, 0.9]}],
    },
    "writing": {
        "image": [[0, 255]], "colors": 1,
        "method": "writing",
        "steps": [{"symbol": MARKUP, "share": 0.9}, {"symbol": "", "share": 0.5}],
    },
    "nothing": {"steps": []},
}  # fmt: skip

LINEAGE = Lineage(
    name="demo",
    code_version="1.0",
    snapshot=Artifact(
        stage="ingest", key="snapshot-key", content_hash="abc",
        facts=SnapshotFacts(
            rows=300, files=1, schema={MARKUP: "String"}, parts=(), cut=None, origins=()
        ),
    ),
    accepted=Artifact(
        stage="validate", key="accepted-key", content_hash="",
        facts=AcceptedFacts(
            rows=290, quarantined=10, expectations=2, broken=1, warnings="", by_pandas=(),
            rows_key="",
        ),
    ),
    findings=(
        Finding(rule="expect_no_null", column=MARKUP, severity="warning", passed=False,
                observed=MARKUP),
        Finding(rule="expect_type", column="x", severity="critical", passed=True, observed=""),
    ),
    features=Artifact(
        stage="featurize", key="features-key", content_hash="",
        facts=FeatureFacts(
            training=200, validation=30, test=60, steps=2900, channels=1, classes=("a", MARKUP),
            unreadable=1, first_unreadable=MARKUP, unseen_classes=2,
            duplicates={"test in training": 3},
        ),
    ),
    layout=Layout(input=TextInput(column=MARKUP), window=None, time=None, entity=None),
    target=TargetConfig(column=MARKUP, kind="category"),
    split=SplitConfig(by="hash"),
    candidate=Artifact(
        stage="train", key="model-key", content_hash="def",
        facts=CandidateFacts(
            epochs=2, best_epoch=1, validation_loss=0.5, padding_share=0.0, epochs_planned=2,
            learning_rate=0.01, batch_size=32, precision="fp32", data_loading="in_memory",
            kernels="torch", plans=(), parameters=1000, device="cpu", seconds=3.0,
            peak_memory_bytes=2**30, energy_joules=None,
        ),
    ),
    settings=TrainingSettings(
        model=ModelConfig(cell="gru"), head=HeadConfig(), training=TrainingConfig(seed=7)
    ),
)  # fmt: skip

LIBRARY = (
    LibraryPart(name="1_gru", model=ModelConfig(num_layers=2), loss=0.4, weight=0.75, seconds=9.0),
    LibraryPart(name="rocket", loss=0.5, weight=0.25),
    LibraryPart(name="2_lstm", model=ModelConfig(cell="lstm"), reason=MARKUP),
)

SELECTED = replace(
    LINEAGE,
    candidate=replace(
        LINEAGE.candidate,
        facts=replace(
            LINEAGE.candidate.facts,
            library=LIBRARY,
            selection="greedy",
            selection_losses={"default": 0.39, "single": 0.4, "greedy": 0.31},
        ),
    ),
)

CUT = CutFacts(column="at", until="2026-01-01T00:00:00")

EMPTY_FEATURES = replace(LINEAGE.features.facts, training=0, validation=0, test=0, classes=())

FULL = REPORT | OPTIONAL_PARTS | {"explanations": [HEAD | EXPLANATIONS["text"]]}


def parse_report(content: Mapping[str, object]) -> ReportRecord:
    """Build the record of a report from its JSON."""
    return TypeAdapter(ReportRecord).validate_python(content)


class PageParser(HTMLParser):
    """Collect the tags, links and addresses of a page."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open_tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.sources += [values["src"]] if "src" in values else []
        assert not [name for name in values if name.startswith("on")]
        if tag not in self.VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag, attrs):
        del attrs
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag


def parse_safe_page(page: str) -> PageParser:
    """Assert that nothing runs, nothing is loaded, all tags are closed, and all links lead on."""
    parser = PageParser(page)
    assert not {"script", "link", "iframe", "object"} & set(parser.tags)
    assert MARKUP not in page
    assert all(address.startswith("data:image/png;base64,") for address in parser.sources)
    assert all(link.removeprefix("#") in parser.ids for link in parser.links)
    assert parser.open_tags == []
    assert "default-src 'none'" in page
    return parser


def test_the_page_of_a_minimal_report_leaves_out_what_it_lacks() -> None:
    page = render_page(parse_report(REPORT), replace(LINEAGE, findings=()))

    parser = parse_safe_page(page)
    assert set(parser.ids) == {"scores", "gate", "curves", "data", "provenance"}


def test_the_page_of_a_full_report_has_every_section() -> None:
    page = render_page(parse_report(FULL), SELECTED, [draw_message("Predictions", MARKUP)])

    parser = parse_safe_page(page)
    assert set(parser.ids) == {section.key for section in SECTIONS} | {"predictions"}
    assert "Nine of ten are right." in page


@pytest.mark.parametrize("missing", sorted(set(OPTIONAL_PARTS) - {"headline"}))
def test_each_optional_part_of_a_report_may_be_missing(missing: str) -> None:
    without = {name: value for name, value in FULL.items() if name != missing}
    default = {missing: REPORT[missing]} if missing in REPORT else {}

    report = parse_report(without | default)

    parse_safe_page(render_page(report, LINEAGE))
    assert render_card(report, LINEAGE)


@pytest.mark.parametrize(
    "change",
    [
        {"target": TargetConfig(kind="next_step")},
        {"layout": replace(LINEAGE.layout, window=WindowConfig(lookback=8), time="at")},
        {"snapshot": replace(LINEAGE.snapshot, facts=replace(LINEAGE.snapshot.facts, cut=CUT))},
        {"features": replace(LINEAGE.features, facts=EMPTY_FEATURES)},
    ],
    ids=["self-supervised", "windows", "as of", "no sequences"],
)
def test_every_lineage_is_shown_and_escaped(change: dict[str, Any]) -> None:
    lineage = replace(LINEAGE, **change)

    parse_safe_page(render_page(parse_report(FULL), lineage))
    assert render_card(parse_report(FULL), lineage)


def test_page_and_card_say_what_the_networks_started_from() -> None:
    pretraining = PretrainingFacts(
        rows=900,
        held_out_rows=100,
        start="random weights",
        metric="perplexity",
        value=123.5,
        steps=40,
        epochs=2,
        best_epoch=2,
        training_losses=[6.0, 5.0],
        values=[200.0, 123.5],
        plan={"epochs": 2},
        seconds=3.0,
    )
    facts = replace(LINEAGE.candidate.facts, pretraining=pretraining)
    lineage = replace(LINEAGE, candidate=replace(LINEAGE.candidate, facts=facts))

    page, card = render_page(parse_report(FULL), lineage), render_card(parse_report(FULL), lineage)

    parse_safe_page(page)
    for text in (page, card):
        assert "predict the next step" in text
        assert "123.5" in text
        assert "random weights" in text
    assert "epoch of pretraining" in page


def test_the_page_lists_the_columns_with_their_roles() -> None:
    layout = Layout(
        input=SeriesInput(column=("load", "price")),
        window=WindowConfig(lookback=8),
        time="at",
        entity="town",
        static_inputs=(CategoryInput(column="kind"),),
    )
    names = ("at", "town", "load", "price", "kind", "note")
    facts = replace(LINEAGE.snapshot.facts, schema=dict.fromkeys(names, "String"))
    lineage = replace(
        LINEAGE,
        layout=layout,
        target=TargetConfig(column="load", kind="forecast"),
        snapshot=replace(LINEAGE.snapshot, facts=facts),
    )

    content = build_data(parse_report(REPORT), lineage)

    assert {row["name"]: row["role"] for row in content["roles"]} == {
        "at": "time",
        "town": "entity",
        "load": "sequence, target",
        "price": "sequence",
        "kind": "static covariate",
        "note": "",
    }


@pytest.mark.parametrize("kind", EXPLANATIONS)
def test_every_kind_of_explanation_is_shown_and_escaped(kind: str) -> None:
    row = HEAD | {"kind": kind} | EXPLANATIONS[kind]

    page = render_page(parse_report(REPORT | {"explanations": [row]}), LINEAGE)

    parse_safe_page(page)
    assert 'id="explanations"' in page


@pytest.mark.parametrize("decision", ["promote", "keep", "not-comparable", "needs-approval"])
def test_the_page_shows_every_decision(decision: str) -> None:
    page = render_page(parse_report(REPORT | {"decision": decision}), LINEAGE)

    assert f'<p class="decision {decision}">' in page


def test_a_report_that_was_written_is_read_unchanged(tmp_path) -> None:
    report = parse_report(FULL)

    write_report(report, tmp_path)

    assert read_report(tmp_path) == report


def test_equal_reports_give_equal_pages() -> None:
    assert render_page(parse_report(FULL), LINEAGE) == render_page(parse_report(FULL), LINEAGE)
    assert render_card(parse_report(FULL), LINEAGE) == render_card(parse_report(FULL), LINEAGE)


def test_values_that_are_not_finite_are_dashes() -> None:
    not_finite = REPORT | {
        "metrics": {"accuracy": float("nan"), "log_loss": 0.1},
        "baselines": {"majority": {"accuracy": float("nan"), "log_loss": float("inf")}},
        "gate": GATE | {"comparisons": [GAIN | {"gain": None, "low": None, "high": None}]},
        "history": [{"epoch": 0, "training_loss": float("nan"), "validation_loss": float("nan")}],
    }

    page = render_page(parse_report(not_finite), LINEAGE)

    parse_safe_page(page)
    assert ">nan" not in page
    assert "NaN" not in page


def test_many_classes_are_summarized_by_the_most_confused_pairs() -> None:
    names = [f"class {number}" for number in range(90)]
    counts = [[9 if row == column else 0 for column in range(90)] for row in range(90)]
    counts[3][4] = 7

    report = parse_report(REPORT | {"confusion": {"classes": names, "counts": counts}})
    page = render_page(report, LINEAGE)

    assert "<b>class 3</b> predicted as <b>class 4</b>: 7" in page
    assert "90 classes in their order" in page


# --- the model card


def test_a_model_card_has_all_its_sections() -> None:
    card = render_card(parse_report(FULL), LINEAGE)

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
    assert "<script" not in card


def test_names_of_the_data_are_plain_text_in_a_model_card() -> None:
    image = "![x](http://evil.example/a.png)"
    content = FULL | {"headline": image, "slices": [{**FULL["slices"][0], "value": image}]}

    page = MarkdownIt("gfm-like", {"linkify": False}).render(
        render_card(parse_report(content), LINEAGE)
    )

    assert "![x](http" in page
    assert "<img" not in page


def test_chinese_names_have_glyphs_on_the_page() -> None:
    pytest.importorskip("noto_cjk_sans_jp_regular")
    chinese = FULL | {"headline": "\u8a9e\u8a00"}

    with_glyphs, plain = (render_page(parse_report(each), LINEAGE) for each in (chinese, FULL))

    assert with_glyphs.count("data:font/woff;base64") == 1
    assert "font-src data:" in with_glyphs
    assert "data:font/woff" not in plain


def test_limitations_come_from_the_figures() -> None:
    text = " ".join(list_limitations(parse_report(FULL), LINEAGE))

    for sentence in (
        "tested on 90 rows only",
        "may be none: the interval goes from",
        "knows 2 classes",
        "2 sequences have a class that is not in the training rows",
        "less than half of the rows of these classes",
        "off by 10.0 %",
        "cover 70.0 % where 90.0 % is nominal",
        "weaker by accuracy on: town",
        "10 rows broke the contract",
        "Leakage check 'shuffled' has the status failed",
    ):
        assert sentence in text


def test_a_training_that_could_hardly_teach_is_a_limitation() -> None:
    facts = replace(LINEAGE.features.facts, validation=5)
    lineage = replace(LINEAGE, features=replace(LINEAGE.features, facts=facts))

    sentences = list_limitations(parse_report(REPORT), lineage)

    assert [each for each in sentences if "its training: the validation split has 5 rows" in each]
    assert not [
        each for each in list_limitations(parse_report(REPORT), LINEAGE) if "learn:" in each
    ]


def test_the_page_says_which_scores_are_of_fewer_rows() -> None:
    gate = GATE | {"champion": "champion demo v3", "rows": 83, "excluded_rows": 7}
    report = parse_report(REPORT | {"champion": {"accuracy": 0.88}, "gate": gate})

    for text in (render_page(report, LINEAGE), render_card(report, LINEAGE)):
        assert "The champion" in text
        assert "scores are on 83 test rows, because it was trained on the other 7" in text
        assert "all others are on 90" in text
    assert "all others are on" not in render_page(parse_report(REPORT), LINEAGE)


def test_the_page_lists_what_an_ensemble_was_selected_from() -> None:
    page = render_page(parse_report(REPORT), SELECTED)

    assert "2 of 3 networks and branches predict together (greedy selection" in page
    assert "gru 128, 2 layers" in page
    assert "closed form" in page
    for loss in ("0.39", "0.31"):
        assert f'<td class="number">{loss}</td>' in page
    assert 'id="library"' not in render_page(parse_report(REPORT), LINEAGE)


def test_the_page_calls_a_tie_a_tie() -> None:
    report = parse_report(REPORT | {"gate": GATE | {"is_tie": True}})

    page = render_page(report, LINEAGE)

    assert "Promoted on a tie with the best baseline" in page
    assert "not better than the best baseline by the whole interval, but as good" in page
    assert "Promoted on a tie" in render_card(report, LINEAGE)


def test_the_page_gives_advice_after_a_lost_comparison() -> None:
    lost = parse_report(REPORT | {"decision": "keep", "gate": GATE | {"decision": "keep"}})

    assert "Advice: try --preset best" in render_page(lost, LINEAGE)
    assert "Advice:" not in render_page(parse_report(REPORT), LINEAGE)


def test_a_long_model_card_is_truncated_after_a_line_with_a_note() -> None:
    card = "\n".join(f"line {number}" for number in range(2000))

    shortened = shorten_text(card, MAX_DESCRIPTION)

    assert len(shortened) <= MAX_DESCRIPTION
    first_lines = shortened.split("\n\n")[0].splitlines()
    assert first_lines == card.splitlines()[: len(first_lines)]
    assert shortened.endswith("(the rest is in model_card.md)")
    assert shorten_text("short", MAX_DESCRIPTION) == "short"


# --- numbers and trees


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98351, "0.9835"), (341.83, "341.8"), (12_345.6, "12,346"), (1_797, "1,797"),
        (0.00001234, "1.23e-05"), (0, "0"), (None, "-"), (float("nan"), "-"), (-0.5, "-0.5"),
        ("seven", "seven"), (9_999.7, "10,000"), (True, "1"),
    ],
)  # fmt: skip
def test_numbers_have_four_significant_digits(value: object, text: str) -> None:
    assert formatting.format_number(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0.02, "20 ms"), (6.62, "6.6 s"), (600, "10 min"), (9_000, "2.5 h")]
)
def test_durations_have_a_suitable_unit(count: float, text: str) -> None:
    assert formatting.format_seconds(count) == text


def test_a_parent_is_drawn_above_the_middle_of_its_children() -> None:
    nodes = position_nodes([ExplanationStep(**step) for step in EXPLANATIONS["tree"]["steps"]])

    assert nodes[2].x == (nodes[0].x + nodes[1].x) / 2
    assert nodes[2].y < nodes[0].y == nodes[1].y
    assert [node.parent for node in nodes] == [2, 2, -1]
