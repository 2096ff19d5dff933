import numpy as np
import pytest

from sim.deployment.roofline_figure import Point, roofline_figure
from sim.deployment.roofs import Roof, Slope
from sim.report.style import png

ROOFS = [
    Roof(name="FP16", ops_per_s=312e12),
    Roof(name="INT4", ops_per_s=1248e12, is_native=False),
]
SLOPES = [Slope(name="HBM", bytes_per_s=2e12)]
POINTS = [
    Point(name="qkv", phase="decode", ops=2e9, traffic_bytes=1e9, time_s=5e-4),
    Point(name="mlp", phase="decode", ops=6e9, traffic_bytes=3e9, time_s=15e-4),
    Point(name="qkv", phase="prefill", ops=1e12, traffic_bytes=1e9, time_s=4e-3),
    Point(name="lookup", phase="prefill", ops=0.0, traffic_bytes=1e6, time_s=1e-6),
]


@pytest.fixture(scope="module")
def axes():
    return roofline_figure("title", ROOFS, SLOPES, POINTS).axes[0]


def test_operators_stand_at_their_intensity_and_rate(axes):
    offsets = [tuple(c.get_offsets()[0]) for c in axes.collections if len(c.get_offsets())]
    assert sorted(offsets) == [(2.0, 4e12), (2.0, 4e12), (1000.0, 2.5e14)]


def test_areas_are_shares_of_the_time_of_a_phase(axes):
    areas = sorted(c.get_sizes()[0] for c in axes.collections if len(c.get_offsets()))
    assert areas == pytest.approx([105.0, 315.0, 420.0])


def test_operators_on_one_another_share_a_label(axes):
    words = [text.get_text() for text in axes.texts]
    assert "qkv, mlp" in words and "qkv" in words and "lookup" not in " ".join(words)


def test_roofs_meet_the_slope_at_the_ridge(axes):
    lines = {tuple(line.get_ydata()): line for line in axes.lines if len(line.get_xdata()) == 2}
    assert lines[312e12, 312e12].get_xdata()[0] == 156.0
    assert lines[1248e12, 1248e12].get_linestyle() == "--"
    words = [text.get_text() for text in axes.texts]
    assert "FP16 312 TOP/s, ridge 156" in words and "HBM 2 TB/s" in words


def test_equal_points_give_equal_files():
    files = {png(roofline_figure("title", ROOFS, SLOPES, POINTS)) for _ in range(2)}
    assert len(files) == 1


def test_a_slope_is_drawn_up_to_the_highest_roof(axes):
    slope = next(line for line in axes.lines if line.get_ydata()[-1] == 1248e12)
    assert np.allclose(np.divide(slope.get_ydata(), slope.get_xdata()), 2e12)


def test_no_words_of_a_point_or_marker_stand_on_those_of_a_roof():
    near = [
        Point(
            name=f"product {n}", phase="prefill", ops=1e12 * n, traffic_bytes=1e9, time_s=4e-3 * n
        )
        for n in (1, 2, 3)
    ]
    figure = roofline_figure("title", ROOFS, SLOPES, near)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    roofs = [box for words, box in boxes.items() if "ridge" in words]
    points = [box for words, box in boxes.items() if "product" in words]
    assert len(roofs) == 2 and points
    assert not any(roof.overlaps(point) for roof in roofs for point in points)
    for point in near:
        spot = axes.transData.transform((point.intensity, point.ops_per_s))
        assert not any(roof.padded(5).contains(*spot) for roof in roofs)
