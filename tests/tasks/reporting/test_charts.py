"""Charts as SVG: well-formed, escaped, equal for equal values, and complete as a file."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from tasks.reporting.charts.axes import Axis, Scale, choose_ticks, fit_scale
from tasks.reporting.charts.matrix import MAX_NAMED_CLASSES, draw_confusion_matrix
from tasks.reporting.charts.plots import (
    Band,
    Columns,
    Curve,
    Plot,
    Points,
    draw_panels,
    draw_plot,
)
from tasks.reporting.charts.rows import Bound, Interval, draw_bars, draw_intervals
from tasks.reporting.charts.svg import draw_message, read_svg, write_svg
from tests.support.svg import count_shapes, list_texts, parse_chart, parse_chart_file

MARKUP = "<script>alert('x') & \"more\"</script>"

NAN = float("nan")


def draw_curve(xs: list[float], ys: list[float | None], title: str = "") -> Markup | None:
    return draw_plot(Plot(layers=[Curve("loss", xs, ys, "a")], title=title))


# --- axes


def test_ticks_are_round_and_inside_the_range() -> None:
    assert choose_ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert all(-3.2 <= tick <= 7.9 for tick in choose_ticks(-3.2, 7.9))
    assert choose_ticks(2.0, 2.0) == [2.0]


def test_a_logarithmic_axis_has_powers_of_ten_at_equal_distances() -> None:
    scale = Scale(1e-5, 1e-1, 0.0, 400.0, is_log=True)

    assert scale.choose_ticks(8) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    assert [scale.locate(value) for value in (1e-5, 1e-3, 1e-1)] == pytest.approx([0, 200, 400])


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=6), st.sampled_from([0.0, 0.06]))
def test_a_scale_contains_all_of_its_values(values: list[float], margin: float) -> None:
    scale = fit_scale(values, Axis(), 0.0, 100.0, margin=margin)

    assert scale.low < scale.high
    assert all(-1e-6 <= scale.locate(value) <= 100.000001 for value in values)


# --- plots


def test_a_plot_without_a_finite_value_is_left_out() -> None:
    assert draw_curve([1.0, 2.0], [NAN, None]) is None
    assert draw_curve([], []) is None
    assert count_shapes(parse_chart(draw_curve([1.0], [2.0])), "circle") == 1


def test_a_curve_is_broken_where_a_value_is_missing() -> None:
    whole = draw_curve(list(range(20)), [float(x) for x in range(20)])
    broken = draw_curve(list(range(20)), [None if x == 7 else float(x) for x in range(20)])

    paths = [re.findall(r'class="line a" d="([^"]+)"', chart)[-1] for chart in (whole, broken)]
    assert [path.count("M") for path in paths] == [1, 2]


def test_a_plot_has_its_title_legend_axes_mark_and_note() -> None:
    plot = Plot(
        layers=[
            Band("interval", [1, 2], [0.0, 1.0], [2.0, 3.0], "b"),
            Columns([1, 1.5, 2], [1, 2]),
            Points("rows", [1, 2], [1.0, 2.0], "a"),
            Curve("best", [1, 2], [1.0, 2.0], "b", is_step=True),
        ],
        x_axis=Axis("epoch", is_whole=True),
        y_axis=Axis("loss"),
        title="Title",
        mark=(2, "best: 2"),
        note="A note.",
    )

    root = parse_chart(draw_plot(plot))

    texts = list_texts(root)
    assert texts[:5] == ["Title", "interval", "rows", "best", "best: 2"]
    assert texts[-1] == "A note."
    assert texts[texts.index("epoch") - 2 : texts.index("epoch") + 2] == ["1", "2", "epoch", "loss"]
    assert count_shapes(root, "line", "mark") == 1
    assert count_shapes(root, "polygon", "band") == 1


def test_values_outside_the_limits_of_an_axis_are_not_drawn() -> None:
    points = Points("", [1, 2, 3], [0.1, 0.2, 99.0], "a")

    chart = draw_plot(Plot(layers=[points], y_axis=Axis("loss", limits=(0.0, 1.0))))

    assert count_shapes(parse_chart(chart), "circle") == 2


def test_panels_share_one_legend_and_each_has_its_axis() -> None:
    cells = Points("rows", [0, 1], [0.1, 0.3], "a")
    rates = Points("rows", [1e-4, 1e-2], [0.1, 0.3], "a")
    plots = [
        Plot(layers=[cells], x_axis=Axis("cell", names=["gru", MARKUP])),
        Plot(layers=[rates], x_axis=Axis("rate", is_log=True)),
        Plot(layers=[Points("rows", [], [], "a")], x_axis=Axis("empty")),
    ]

    texts = list_texts(parse_chart(draw_panels(plots, title="Slices", note="few")))

    assert texts[:2] == ["Slices", "rows"]
    assert texts.count("rows") == 1
    assert {"cell", "rate", "gru", "0.01", "few"} <= set(texts)
    assert "empty" not in texts
    assert draw_panels([], title="Slices") is None


# --- rows


def test_values_are_drawn_with_their_intervals_and_the_bound() -> None:
    rows = [
        Interval(MARKUP, 0.2, 0.1, 0.3, note="90 rows"),
        Interval("no interval", -0.1, None, None, "b"),
        Interval("not finite", NAN, None, None),
    ]

    bound = Bound(0.05, "bound +0.05")
    chart = draw_intervals(rows, label=MARKUP, title="Gain", has_zero=True, bound=bound)

    root = parse_chart(chart)
    assert count_shapes(root, "circle", "dot") == 2
    assert count_shapes(root, "line", "span") == 1
    assert count_shapes(root, "line", "axis") == 1
    assert {"Gain", "bound +0.05", "90 rows", "no interval"} <= set(list_texts(root))
    assert "not finite" not in list_texts(root)
    assert draw_intervals([], label="none") is None


def test_bars_begin_with_the_highest_and_say_how_many_are_left_out() -> None:
    values = {f"label {index}": index / 50 for index in range(45)}

    texts = list_texts(parse_chart(draw_bars(values, title="F1", x_name="F1", high=1.0)))

    names = [text for text in texts if text.startswith("label")]
    assert names == [f"label {index}" for index in range(44, 14, -1)]
    assert "The 30 highest; 15 more are lower." in texts
    assert draw_bars({}, title="F1", x_name="F1") is None


# --- confusion


def test_a_confusion_matrix_of_few_classes_has_names_and_counts() -> None:
    counts = np.array([[12, 3, 0], [0, 45_678, 1], [2, 0, 7]])

    texts = list_texts(parse_chart(draw_confusion_matrix(counts, ["a", MARKUP, "c"], title="T")))

    assert {"12", "3", "46k", "1", "2", "7", "a", "c", "true class", "predicted class"} <= set(
        texts
    )
    assert "0" not in texts


@pytest.mark.parametrize("classes", [MAX_NAMED_CLASSES + 1, 300, 5000])
def test_a_confusion_matrix_of_many_classes_stays_small_and_says_what_a_cell_is(
    classes: int, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    counts = np.diag(draw.integers(1, 9, classes))
    counts[draw.integers(0, classes, 9000), draw.integers(0, classes, 9000)] += 1
    names = [f"class {index}" for index in range(classes)]

    chart = draw_confusion_matrix(counts, names, title="Confusion")
    write_svg(chart, tmp_path / "confusion.svg")

    assert (tmp_path / "confusion.svg").stat().st_size < 120_000
    [note] = [text for text in list_texts(parse_chart(chart)) if "classes in their order" in text]
    assert note.startswith(f"{classes:,} classes")
    assert ("each cell is" in note) == (classes > 60)
    assert "class 0" not in chart


# --- files


@given(st.text(max_size=60))
def test_any_text_gives_a_well_formed_chart(text: str) -> None:
    curve = Curve(text, [0.0, 1.0], [1.0, 2.0], "a")
    plot = Plot(layers=[curve], x_axis=Axis(text, names=[text, text]), title=text, note=text)

    parse_chart(draw_plot(plot))
    parse_chart(draw_bars({text: 1.0}, title=text, x_name=text))
    parse_chart(draw_intervals([Interval(text, 1.0, 0.0, 2.0, note=text)], label=text, title=text))
    parse_chart(draw_confusion_matrix(np.ones((2, 2), np.int64), [text, "b"], title=text))


def test_a_file_is_complete_and_a_page_gets_the_same_chart_without_its_style(
    tmp_path: Path,
) -> None:
    chart = draw_message("Title", MARKUP)

    write_svg(chart, tmp_path / "chart.svg")

    parse_chart_file(tmp_path / "chart.svg")
    assert read_svg(tmp_path / "chart.svg") == chart
    assert "<script" not in chart


def test_equal_values_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        chart = draw_curve([1.0, 2.0, 3.0], [0.1, 0.2, 1 / 3], "Loss")
        write_svg(chart, tmp_path / f"{name}.svg")

    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
