"""Bars and curves whose sizes differ by far."""

from sim.deployment.bar_figures import curves_figure, stacked_figure

FAR = {"fast": {"a": 1.0, "b": 3.0}, "slow": {"a": 3000.0, "b": 1000.0}}
NEAR = {"fast": {"a": 1.0, "b": 3.0}, "slow": {"a": 3.0, "b": 4.0}}


def widths(figure):
    return [[round(bar.get_width(), 3) for bar in axes.patches] for axes in figure.axes]


def test_bars_that_no_scale_shows_are_shares_with_their_sums_beside_them():
    figure = stacked_figure("t", {"far": FAR, "near": NEAR}, unit="ms")
    assert widths(figure) == [[0.25, 0.75, 0.75, 0.25], [1.0, 3.0, 3.0, 4.0]]
    assert {"4", "4,000"} <= {text.get_text() for text in figure.axes[0].texts}
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == [
        "far, shares of each bar",
        "near",
    ]


def test_a_panel_with_a_capacity_keeps_its_scale_and_names_it():
    figure = stacked_figure("t", {"box": FAR}, unit="GB", limits={"box": 8.0})
    assert widths(figure)[0] == [1.0, 3.0, 3000.0, 1000.0]
    axes = figure.axes[0]
    assert "box, capacity 8 GB" in (axes.get_title(loc="left"), axes.get_title())


def test_curves_that_no_scale_shows_have_a_logarithmic_one():
    for top, scale in ((100.0, "log"), (10.0, "linear")):
        curves = {"x": {"fast": ([1.0, 2.0], [1.0, 2.0]), "slow": ([1.0, 2.0], [top, top])}}
        assert curves_figure("t", curves, unit="ms").axes[0].get_yscale() == scale
