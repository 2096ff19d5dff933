"""The figure of loss against bits per weight."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, SymmetricalLogLocator

from sim.report.headline import NEAR_NATS, finding
from sim.report.kinds import (
    OTHER,
    Scope,
    family,
    holds_source_grid,
    is_reference,
    keeps_weights,
    scope,
)
from sim.report.labels import Label, place_labels
from sim.report.pareto import best
from sim.report.style import drawing, new_figure, settle
from sim.report.table import by_loss, shortened
from sim.sweep.result import PointResult

#: Okabe and Ito's colours, which colour-blind readers can tell apart, and a marker for each.
STYLES = {
    "INT": ("#0072B2", "o"),
    "FP": ("#D55E00", "s"),
    "MX": ("#009E73", "D"),
    "NVFP4": ("#CC79A7", "^"),
    "table": ("#E69F00", "v"),
    "ternary": ("#56B4E9", "P"),
    OTHER: ("#666666", "X"),
}
#: How a marker is filled.
FILLS: dict[Scope, Any] = {
    Scope.WEIGHTS: "full",
    Scope.INPUTS: "none",
    Scope.CACHE: "bottom",
    Scope.BOTH: "left",
}
LOSS = "loss against float32 (nats per token)"
SOURCE_GRID = "holds the source's own grid"
GREY = "0.65"
NEAR_LINE: Any = {"color": "0.5", "linewidth": 0.9, "linestyle": (0, (1, 2))}
#: The loss axis is linear near zero, at least up to this and at most up to the second number.
LINEAR_NATS = (1e-3, 1e-1)
#: Decades of the loss axis that have a tick each.
MAX_DECADES = 9
#: Losses that span less than this are drawn on a linear axis.
MIN_LOSS_RATIO = 20.0
#: Least ratio of the ends of the bits axis.
MIN_BITS_RATIO = 2.5
BIT_TICKS = (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)
MAX_BIT_TICKS = 12


def loss_figure(results: Sequence[PointResult]) -> Figure:
    """Loss against bits per weight, one standard error each way, the Pareto front marked.

    Recipes that leave the weights in float32 have a panel of their own: bits per weight say
    nothing of them. What has no finite loss is left to the table.
    """
    drawn = [p for p in by_loss(results) if not is_reference(p) and math.isfinite(p.delta_nats)]
    placed = [p for p in drawn if not keeps_weights(p)]
    aside = [p for p in drawn if keeps_weights(p)]
    with drawing():
        width = 8.6 if len(drawn) < 30 else 10.0
        figure = new_figure(width, min(9.0, 4.8 + 0.08 * max(0, len(drawn) - 6)))
        main, side = _panels(figure, placed, aside)
        front = best(results) if placed else []
        _title(figure, main, results, drawn)
        if placed or not aside:
            _draw_main(main, placed, front)
        if side is not None:
            _draw_side(side, aside, is_alone=side is main)
        _scale_losses(main, drawn)
        _legend(main, drawn, has_front=len(front) > 1, is_left=not placed)
        settle(figure)
        _write_labels(main, [(p.bits_per_weight, p) for p in placed], front)
        if side is not None:
            _write_labels(side, [(float(i), p) for i, p in enumerate(aside)], [])
    return figure


def _panels(
    figure: Figure, placed: Sequence[PointResult], aside: Sequence[PointResult]
) -> tuple[Axes, Axes | None]:
    """Return the panel of bits and, if needed, that of float32 weights."""
    if not aside:
        return figure.add_subplot(), None
    if not placed:
        axes = figure.add_subplot()
        return axes, axes
    name = max(len(shortened(p.recipe)) for p in aside)
    ratios = [1.0, min(0.55, max(0.2, 0.012 * name, 0.02 * len(aside)))]
    main, side = figure.subplots(1, 2, sharey=True, width_ratios=ratios)
    return main, side


def _title(
    figure: Figure, main: Axes, results: Sequence[PointResult], drawn: Sequence[PointResult]
) -> None:
    first = results[0]
    figure.suptitle(finding(results), x=0.01, ha="left")
    bars = "; bars: ± 1 standard error" if any(p.delta_nats_se for p in drawn) else ""
    missing = sum(not is_reference(p) for p in results) - len(drawn)
    left_out = f"; not drawn: {missing} without a finite loss" if missing else ""
    sample = f"{shortened(first.model, 32)} on {shortened(first.text, 32)}"
    main.set_title(sample + bars + left_out, color="0.35")


def _draw_main(axes: Axes, points: Sequence[PointResult], front: Sequence[PointResult]) -> None:
    for point in points:
        _draw_point(axes, point.bits_per_weight, point, is_best=point in front)
    if len(front) > 1:
        bits, losses = zip(*((p.bits_per_weight, p.delta_nats) for p in front), strict=True)
        axes.step(bits, losses, where="post", color="0.55", linewidth=1.2, zorder=1.5)
    axes.set_xlabel("bits per weight, scales and zero points included (log scale)")
    axes.set_ylabel(LOSS)
    if points:
        _scale_bits(axes, [p.bits_per_weight for p in points])


def _draw_side(axes: Axes, points: Sequence[PointResult], *, is_alone: bool) -> None:
    for index, point in enumerate(points):
        _draw_point(axes, float(index), point, is_best=True)
    axes.set_xlim(-1.0, len(points))
    axes.set_xticks([])
    axes.set_xlabel("float32 weights")
    axes.set_facecolor("0.97")
    if is_alone:
        axes.set_ylabel(LOSS)
    else:
        axes.tick_params(left=False, which="both")
        axes.spines["left"].set_visible(False)


def _draw_point(axes: Axes, x: float, point: PointResult, *, is_best: bool) -> None:
    color, marker = _look(point)
    axes.errorbar(
        x,
        point.delta_nats,
        yerr=point.delta_nats_se,
        color=color,
        marker=marker,
        markersize=6,
        fillstyle=FILLS[scope(point.recipe)],
        markerfacecoloralt="white",
        alpha=1.0 if is_best else 0.55,
        elinewidth=1,
        capsize=2,
        linestyle="none",
        zorder=3,
    )


def _look(point: PointResult) -> tuple[str, str]:
    color, marker = STYLES[family(point.recipe)]
    return (GREY if holds_source_grid(point) else color), marker


def _scale_bits(axes: Axes, bits: Sequence[float]) -> None:
    """Logarithmic, since a bit more matters less the more there are."""
    low, high = 0.85 * min(bits), 1.25 * max(bits)
    wider = max(1.0, (MIN_BITS_RATIO * low / high) ** 0.5)
    low, high = low / wider, high * wider
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    ticks = [tick for tick in BIT_TICKS if low <= tick <= high]
    if len(ticks) > MAX_BIT_TICKS:
        ticks = [tick for tick in ticks if tick == int(tick)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _scale_losses(axes: Axes, points: Sequence[PointResult]) -> None:
    """Linear where the losses are alike, else logarithmic but for a stretch around zero."""
    axes.grid(visible=True, color="0.92")
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    if not points:
        return
    tops = [p.delta_nats + (p.delta_nats_se or 0.0) for p in points]
    bottoms = [p.delta_nats - (p.delta_nats_se or 0.0) for p in points]
    low, high = min(0.0, *bottoms), max(0.0, *tops)
    least = min((p.delta_nats for p in points if p.delta_nats > 0), default=high)
    if high > max(LINEAR_NATS[0], least) * MIN_LOSS_RATIO:
        _scale_log(axes, low, high, least)
    else:
        span = high - low or 1.0
        axes.set_ylim(low - 0.08 * span, high + 0.15 * span)
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    if _shows_near(axes):
        axes.axhline(NEAR_NATS, zorder=1, **NEAR_LINE)


def _scale_log(axes: Axes, low: float, high: float, least: float) -> None:
    decade = 10.0 ** math.floor(math.log10(least))
    linear = min(max(decade, LINEAR_NATS[0]), LINEAR_NATS[1])
    axes.set_yscale("symlog", linthresh=linear, linscale=0.5)
    axes.set_ylim(bottom=min(1.5 * low, -linear / 3), top=2.5 * high)
    decades = [10.0**n for n in range(round(math.log10(linear)), 300) if 10.0**n < 3 * high]
    below = [-decade for decade in decades if -decade > 1.5 * low]
    above = decades[:: 1 + len(decades) // MAX_DECADES]
    axes.yaxis.set_major_locator(FixedLocator([*below, 0.0, *above]))
    if len(above) == len(decades):
        minor = SymmetricalLogLocator(base=10, linthresh=linear, subs=list(range(2, 10)))
        axes.yaxis.set_minor_locator(minor)
        axes.tick_params(axis="y", which="minor", color="0.75", length=2)


def _plain(value: float, _: int | None = None) -> str:
    """Return a loss without exponents as long as that is short."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}") if abs(value) < 1e5 else f"{value:.0e}"


def _shows_near(axes: Axes) -> bool:
    low, high = axes.get_ylim()
    return bool(low < NEAR_NATS < high)


def _legend(axes: Axes, points: Sequence[PointResult], *, has_front: bool, is_left: bool) -> None:
    """Explain what occurs, nothing else."""
    kinds = {family(p.recipe) for p in points if not holds_source_grid(p)}
    handles = [_handle(kind, *STYLES[kind]) for kind in STYLES if kind in kinds]
    scopes = {scope(p.recipe) for p in points} - {Scope.WEIGHTS}
    handles += [_handle(s.value, "0.3", "o", FILLS[s]) for s in Scope if s in scopes]
    if any(holds_source_grid(p) for p in points):
        handles.append(_handle(SOURCE_GRID, GREY, "o"))
    if has_front:
        handles.append(Line2D([], [], color="0.55", linewidth=1.2, label="Pareto front"))
    if _shows_near(axes):
        handles.append(Line2D([], [], label=f"{NEAR_NATS} nats", **NEAR_LINE))
    if points:
        axes.legend(
            handles=handles,
            loc="upper left" if is_left else "upper right",
            fontsize=8,
            labelspacing=0.35,
            edgecolor="none",
            framealpha=0.92,
        )


def _handle(label: str, color: str, marker: str, fill: Any = "full") -> Line2D:
    return Line2D(
        [],
        [],
        color=color,
        marker=marker,
        linestyle="none",
        label=label,
        fillstyle=fill,
        markerfacecoloralt="white",
    )


def _write_labels(
    axes: Axes, places: Sequence[tuple[float, PointResult]], front: Sequence[PointResult]
) -> None:
    """Label the front first; keep off its line and the error bars."""
    ordered = sorted(places, key=lambda place: place[1] not in front)
    labels = [
        Label(x=x, y=p.delta_nats, text=shortened(p.recipe, 36), is_bold=p in front)
        for x, p in ordered
    ]
    bars = [
        ((x, p.delta_nats - p.delta_nats_se), (x, p.delta_nats + p.delta_nats_se))
        for x, p in places
        if p.delta_nats_se
    ]
    steps = []
    for left, right in itertools.pairwise(front):
        corner = (right.bits_per_weight, left.delta_nats)
        steps += [((left.bits_per_weight, left.delta_nats), corner)]
        steps += [(corner, (right.bits_per_weight, right.delta_nats))]
    place_labels(axes, labels, [*bars, *steps])
