import itertools

import pytest
from matplotlib.text import Annotation, Text

from sim.report.figures import loss_figure, png, sqnr_figure, svg

from .conftest import make_point


def label_boxes(figure):
    figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [t for t in axes.texts if isinstance(t, Annotation)]
    return [Text.get_window_extent(label) for label in labels], axes


@pytest.mark.parametrize("count", [3, 10, 26])
def test_no_label_covers_another_or_leaves_the_axes(results, count):
    points = [p for p in results if p.recipe == "float32"]
    points += [p for p in results if p.recipe != "float32"][: count - 1]
    boxes, axes = label_boxes(loss_figure(points))
    assert len(boxes) == count - 1
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_equal_results_give_equal_files(results):
    first, second = ((png(loss_figure(results)), svg(loss_figure(results))) for _ in range(2))
    assert first == second


def test_the_heat_map_has_a_panel_for_each_projection(results):
    figure = sqnr_figure(results)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["q", "v", "down"]
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (sum(bool(p.sqnr_db) for p in results), 4)


@pytest.mark.parametrize(
    "rows",
    [
        [("float32", 32.0, 0.0, 0.0)],
        [("float32", 32.0, 0.0, None), ("x" * 60, 4.0, -0.001, None)],
        [("float32", 32.0, 0.0, 0.0), ("huge", 1.0, 80.0, 1.0), ("$^tiny$ & <b>", 1.0, 1e-9, 0.0)],
    ],
)
def test_odd_sweeps_can_be_drawn(rows):
    points = [make_point(*row) for row in rows]
    assert png(loss_figure(points)).startswith(b"\x89PNG")
    if len(points) == 1:
        assert sqnr_figure(points) is None
