import itertools
import math

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

from sim.report.accuracy_figure import accuracy_figure
from sim.report.ranking import rank
from sim.report.sqnr_figure import sqnr_figure
from sim.report.style import png, svg
from sim.report.table import shortened
from sim.report.window_figure import window_figure

from .conftest import make_point

REFERENCE = make_point("float32", 32.0, 0.0, 0.0)


def labels_of(axes):
    return [t for t in axes.texts if isinstance(t, Annotation)]


def check_labels(figure, points):
    """Check that labels overlap nothing, and that every point of the front has its label."""
    figure.draw_without_rendering()
    front = {shortened(row.point.recipe, 36) for row in rank(points) if row.on_front}
    shown = [label.get_text() for axes in figure.axes for label in labels_of(axes)]
    assert {name for name in front if len(name) < 20} <= set(shown)
    for axes in figure.axes:
        labels = labels_of(axes)
        boxes = [Text.get_window_extent(label) for label in labels]
        hits = [
            (a.get_text(), b.get_text())
            for (a, box), (b, other) in itertools.combinations(zip(labels, boxes, strict=True), 2)
            if box.overlaps(other)
        ]
        assert not hits
        for label, box in zip(labels, boxes, strict=True):
            assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1, label.get_text()
            assert axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1, label.get_text()
            spots = axes.transData.transform([other.xy for other in labels])
            assert not box.count_contains(spots), label.get_text()
            if (legend := axes.get_legend()) is not None:
                assert not box.overlaps(legend.get_window_extent()), label.get_text()
    return len(shown)


def drawn(points, **options):
    return accuracy_figure(rank(points), **options)


@pytest.mark.parametrize("count", [3, 10, 26])
@pytest.mark.parametrize("is_narrow", [False, True])
def test_labels_of_a_sweep_keep_clear(results, count, is_narrow):
    points = [REFERENCE, *[p for p in results if p.recipe != "float32"][: count - 1]]
    shown = check_labels(drawn(points, is_narrow=is_narrow), points)
    assert is_narrow or shown >= 0.75 * (count - 1)


@pytest.fixture(scope="module")
def large(many_results):
    return drawn(many_results)


def test_labels_of_a_large_sweep_keep_clear_and_the_title_counts_what_is_left_out(
    large, many_results
):
    shown = check_labels(large, many_results)
    hidden = len(many_results) - 1 - shown
    assert (
        large.axes[0].get_title(loc="left").endswith(f"{hidden} without a label are in the table")
    )


def test_titles_and_tick_labels_stay_in_the_picture(large):
    large.draw_without_rendering()
    texts = [t for t in large.findobj(Text) if t.get_text() and t.get_visible()]
    for text in texts:
        if text.axes is None or text in text.axes.texts:
            continue
        box = text.get_window_extent()
        assert box.x1 <= large.bbox.x1 + 1 and box.y1 <= large.bbox.y1 + 1, text.get_text()


def test_float_weights_have_a_panel_of_their_own(results):
    names = ("float32", "kv=int8", "kv=fp8_e4m3")
    only = [p for p in results if p.recipe in names]
    main, side = drawn([*only, make_point("int8", 8.13, 0.003, 0.002)]).axes
    assert {label.get_text() for label in labels_of(side)} == set(names[1:])
    assert main.get_xlim()[1] < 16
    (alone,) = drawn(only).axes
    assert alone.get_xlabel() == "float32 weights" and len(labels_of(alone)) == 2


def test_what_has_no_finite_loss_is_said_to_be_missing():
    points = [
        REFERENCE,
        make_point("int4", 4.0, 0.3, 0.02),
        make_point("int2", 2.0, math.inf, None),
    ]
    (axes,) = drawn(points).axes
    assert [label.get_text() for label in labels_of(axes)] == ["int4"]
    assert axes.get_title(loc="left").endswith("not drawn: 1 without a finite KL")


def test_equal_results_give_equal_files(results):
    points = results[:5]
    first, second = ((png(f), svg(f)) for f in (drawn(points), drawn(points)))
    assert first == second and b"Software" not in first[0] and "<dc:date>" not in first[1]


def test_the_heat_map_has_a_panel_for_each_projection(results):
    points = results[:8]
    figure = sqnr_figure(rank(points))
    assert [axes.get_title() for axes in figure.axes][:3] == ["q", "v", "down"]
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (sum(bool(p.sqnr_db) for p in points), 4)


def test_layers_are_in_the_order_of_the_model_and_gaps_stay_empty():
    layers = {f"layers.{i}.mlp.up_proj": float(i) for i in range(12)}
    points = [
        make_point("int4", 4.0, 0.3, None, sqnr_db=layers),
        make_point("head", 30.0, 0.5, None, sqnr_db={"lm_head": 20.0, "odd name": 3.0}),
    ]
    up, other, *_ = sqnr_figure(rank(points)).axes
    rows = up.images[0].get_array()
    # The median of 0 to 11 is 5.5.
    assert rows[0].tolist() == [i - 5.5 for i in range(12)] and np.ma.getmaskarray(rows)[1].all()
    assert [t.get_text() for t in other.get_xticklabels()] == ["lm_head", "odd name"]


@pytest.mark.parametrize(
    ("levels", "end"), [((20.0, 20.1), 1.0), ((20.0, 26.0), 3.0), ((20.0, 90.0), 12.0)]
)
def test_colours_span_at_least_one_decibel_and_at_most_twelve(levels, end):
    """A tenth of a decibel is noise: it gets no colour of its own."""
    layers = {f"layers.{i}.mlp.up_proj": level for i, level in enumerate(levels)}
    points = [make_point("int4", 4.0, 0.3, None, sqnr_db=layers)]
    for is_narrow in (False, True):
        (image,) = sqnr_figure(rank(points), is_narrow=is_narrow).axes[0].images
        assert (image.norm.vmin, image.norm.vmax) == (-end, end)
    if end == 1.0:
        title = sqnr_figure(rank(points)).get_suptitle()
        assert title == "SQNR of the weights: every layer within 1 dB of its recipe's median"


@pytest.mark.parametrize("other", [20.0, math.nan])
def test_layers_without_a_finite_ratio_are_drawn(other):
    layers = {"layers.0.mlp.up_proj": other, "layers.1.mlp.up_proj": math.inf}
    points = [make_point("int4", 4.0, math.nan, None, sqnr_db=layers)]
    assert png(sqnr_figure(rank(points))).startswith(b"\x89PNG")


def test_one_format_is_drawn_along_the_text():
    (axes,) = window_figure(point := make_point("int4", 4.0, 0.3, 0.02)).axes
    dots = axes.lines[0].get_ydata()
    assert tuple(dots) == point.window_kl and axes.get_xlabel() == "window of the text"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("x" * 60, 4.0, -0.001, None)],
        [("huge", 1.0, 1e200, 1.0), ("$^tiny$ & <b>\x1b[31m 模型", 1.0, 1e-9, 0.0)],
        [("same", 4.0, 0.3, 0.01), ("same place", 4.0, 0.3, 0.01)],
        [("int4", 4.0, 0.0, None), ("int8", 8.0, 0.0, None)],
        [("int4", 4.0, 0.3, 0.5), ("int8", 8.0, 0.001, 0.4)],
    ],
)
def test_odd_sweeps_can_be_drawn(rows):
    points = [REFERENCE, *(make_point(*row) for row in rows)]
    figure = drawn(points)
    assert png(figure).startswith(b"\x89PNG")
    assert (sqnr_figure(rank(points)) is None) == (not rows)
    check_labels(figure, points)
    png(drawn(points, is_narrow=True))
