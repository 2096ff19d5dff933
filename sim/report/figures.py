"""Figures of a sweep: loss against bits per weight, and the SQNR of every layer.

Drawn without pyplot's global state and without dates, so that equal results give equal files.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sim.report.labels import place_labels
from sim.report.pareto import OTHER, family, pareto_front, quantizes_inputs
from sim.report.table import by_loss
from sim.sweep.recipe import FLOAT32
from sim.sweep.result import PointResult

#: Okabe and Ito's colours, which colour-blind readers can tell apart, and a marker for each.
STYLES = {
    "INT": ("#0072B2", "o"),
    "FP": ("#D55E00", "s"),
    "MX": ("#009E73", "D"),
    "NVFP4": ("#CC79A7", "^"),
    "NF4": ("#E69F00", "v"),
    "ternary": ("#56B4E9", "P"),
    "float32 weights": ("#000000", "*"),
    OTHER: ("#666666", "X"),
}
DPI = 150
#: Below this the loss axis is linear, so that losses within their error of zero can be shown.
LINEAR_NATS = 1e-3
#: Least ratio of the ends of the bits axis.
MIN_BITS_RATIO = 4.0
BIT_TICKS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
#: Colours end here; a scheme that contains the source's own grid reaches more than 100 dB.
MAX_SQNR_DB = 60.0
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
STYLE: Any = {
    "svg.hashsalt": "qsim",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
}


def loss_figure(results: Sequence[PointResult]) -> Figure:
    """Loss against bits per weight, one standard error each way, the Pareto front marked."""
    points = [p for p in by_loss(results) if p.recipe != FLOAT32.name]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 5.2 if len(points) < 25 else 7.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        front = {id(points[i]) for i in pareto_front([_place(p) for p in points])}
        for point in points:
            _draw_point(axes, point, on_front=id(point) in front)
        axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
        _draw_front(axes, [p for p in points if id(p) in front])
        _label_axes(axes, results[0].model, points)
        place_labels(axes, [(*_place(p), p.recipe, id(p) in front) for p in points])
    return figure


def _place(point: PointResult) -> tuple[float, float]:
    return point.bits_per_weight, point.delta_nats


def _draw_point(axes: Axes, point: PointResult, *, on_front: bool) -> None:
    color, marker = STYLES[family(point.recipe)]
    axes.errorbar(
        *_place(point),
        yerr=point.delta_nats_se,
        color=color,
        marker=marker,
        markersize=6,
        markerfacecolor="none" if quantizes_inputs(point.recipe) else color,
        alpha=1.0 if on_front else 0.55,
        elinewidth=1,
        capsize=2,
        linestyle="none",
        zorder=3,
    )


def _draw_front(axes: Axes, front: Sequence[PointResult]) -> None:
    if len(front) > 1:
        places = sorted(map(_place, front))
        axes.step(*zip(*places, strict=True), where="post", color="0.6", linewidth=1, zorder=1)


def _label_axes(axes: Axes, model: str, points: Sequence[PointResult]) -> None:
    axes.set_title(f"{model}: what fewer bits cost")
    axes.set_xlabel("bits per weight, side data included")
    axes.set_ylabel("loss against float32 (nats per token)")
    axes.grid(visible=True, color="0.92", zorder=0)
    losses = [p.delta_nats for p in points]
    if losses and max(losses) > 30 * LINEAR_NATS:
        axes.set_yscale("symlog", linthresh=LINEAR_NATS, linscale=0.5)
        axes.set_ylim(top=max(losses) * 2.5, bottom=min(0.0, 1.5 * min(losses)) or -LINEAR_NATS / 4)
    if points:
        _scale_bits(axes, [p.bits_per_weight for p in points])
    handles = [
        Line2D([], [], color=STYLES[kind][0], marker=STYLES[kind][1], linestyle="none", label=kind)
        for kind in STYLES
        if any(family(p.recipe) == kind for p in points)
    ]
    if any(quantizes_inputs(p.recipe) for p in points):
        handles.append(
            Line2D([], [], color="0.3", marker="o", markerfacecolor="none", linestyle="none",
                   label="activations or KV cache too")
        )  # fmt: skip
    if len(points) > 1:
        handles.append(Line2D([], [], color="0.6", label="Pareto front"))
    axes.legend(handles=handles, loc="upper right", frameon=False)


def _scale_bits(axes: Axes, bits: Sequence[float]) -> None:
    """Logarithmic, since a bit more matters less the more there are."""
    low, high = 0.85 * min(bits), 1.35 * max(bits)
    narrow = max(1.0, (MIN_BITS_RATIO * low / high) ** 0.5)
    low, high = low / narrow, high * narrow
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    ticks = [tick for tick in BIT_TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def sqnr_figure(results: Sequence[PointResult]) -> Figure | None:
    """SQNR of every layer, a panel a projection, a row a recipe; ``None`` without any."""
    points = [p for p in by_loss(results) if p.sqnr_db]
    if not points:
        return None
    panels = [
        n for n in PROJECTIONS if any(layer.endswith(n) for p in points for layer in p.sqnr_db)
    ]
    grids = [_sqnr_grid(points, name) for name in panels]
    with matplotlib.rc_context(STYLE):
        height = 1.5 + 0.2 * len(points)
        figure = Figure(figsize=(11.0, height), layout="constrained")
        FigureCanvasAgg(figure)
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        low = np.nanmin(np.hstack(grids))
        top = np.nanmax(np.hstack(grids))
        high = min(top, MAX_SQNR_DB)
        for axes, name, grid in zip(row, panels, grids, strict=True):
            image = axes.imshow(
                grid, aspect="auto", vmin=low, vmax=high, cmap="viridis", interpolation="nearest"
            )
            axes.set_title(name.removesuffix("_proj"))
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=4)
            axes.spines[:].set_visible(False)
        row[0].set_yticks(range(len(points)), [p.recipe for p in points])
        figure.supxlabel("layer", fontsize=9)
        figure.colorbar(
            image, ax=row, label="SQNR (dB)", pad=0.01, fraction=0.03,
            extend="max" if top > high else "neither",
        )  # fmt: skip
    return figure


def _sqnr_grid(points: Sequence[PointResult], projection: str) -> np.ndarray:
    """Return SQNR by recipe and layer; NaN where a layer is not quantized."""
    layers = max(int(n.split(".")[1]) for p in points for n in p.sqnr_db if n.startswith("layers."))
    grid = np.full((len(points), layers + 1), np.nan)
    for row, point in enumerate(points):
        for name, value in point.sqnr_db.items():
            if name.startswith("layers.") and name.endswith(projection):
                grid[row, int(name.split(".")[1])] = value
    return grid


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def svg(figure: Figure) -> str:
    """Return the figure as SVG to stand inside a page."""
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
