"""The figure of KL divergence against bits per weight."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sim.report.axis_scales import scale_bits, scale_divergence
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
from sim.report.ranking import Row
from sim.report.style import drawing, new_figure, settle
from sim.report.table import interval, shortened
from sim.sweep.result import PointResult

#: Okabe and Ito's colours, which colour-blind readers can distinguish, and a marker for each.
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
KL = "KL divergence from float32 (nats per token)"
SOURCE_GRID = "holds the source's own grid"
GREY = "0.65"
NEAR_LINE: Any = {"color": "0.5", "linewidth": 0.9, "linestyle": (0, (1, 2))}
LEGEND_STYLE: Any = {
    "fontsize": 8,
    "labelspacing": 0.35,
    "edgecolor": "none",
    "framealpha": 0.92,
}
#: Inches of a figure for a phone.
NARROW = (3.6, 5.4)
#: Characters of a label, in a wide figure and in a narrow one.
LABEL_LENGTH, NARROW_LABEL_LENGTH = 36, 20


def accuracy_figure(rows: Sequence[Row], *, is_narrow: bool = False) -> Figure:
    """KL divergence against bits per weight with 95 % intervals, the Pareto front marked.

    Recipes that leave the weights in float32 have a panel of their own: bits per weight say nothing
    of them. Points without a finite divergence are left to the table. A narrow figure has no title,
    which the page around it gives, names the points on the front only, and leaves float32 weights
    out where there are others.
    """
    drawn = [r for r in rows if not is_reference(r.point) and math.isfinite(r.point.kl_mean)]
    placed = [row for row in drawn if not keeps_weights(row.point)]
    aside = [row for row in drawn if keeps_weights(row.point)]
    if is_narrow and placed:
        drawn, aside = placed, []
    with drawing():
        figure = new_figure(*(NARROW if is_narrow else _size(len(drawn))))
        main, side = _panels(figure, placed, aside)
        if placed or not aside:
            _draw_main(main, placed, is_narrow=is_narrow)
        if side is not None:
            _draw_side(side, aside, is_alone=side is main)
        scale_divergence(main, _spans(drawn), near=NEAR_NATS)
        handles = _legend_handles(main, drawn)
        if is_narrow:
            figure.legend(handles=handles, loc="outside lower center", ncols=2, **LEGEND_STYLE)
        elif drawn:
            main.legend(
                handles=handles, loc="upper right" if placed else "upper left", **LEGEND_STYLE
            )
        if not is_narrow:
            figure.suptitle(finding([row.point for row in rows]), x=0.01, ha="left")
            main.set_title(_subtitle(rows, drawn), color="0.35")
        settle(figure)
        hidden = _write_labels(
            main, [(r.point.bits_per_weight, r) for r in placed], is_narrow=is_narrow
        )
        if side is not None:
            places = [(float(index), row) for index, row in enumerate(aside)]
            hidden += _write_labels(side, places, is_narrow=is_narrow)
        if not is_narrow:
            main.set_title(_subtitle(rows, drawn, hidden=hidden), color="0.35")
    return figure


def _size(points: int) -> tuple[float, float]:
    return (8.6 if points < 30 else 10.0), min(9.0, 4.8 + 0.08 * max(0, points - 6))


def _panels(
    figure: Figure, placed: Sequence[Row], aside: Sequence[Row]
) -> tuple[Axes, Axes | None]:
    """Return the panel of bits and, if needed, that of float32 weights."""
    if not aside:
        return figure.add_subplot(), None
    if not placed:
        axes = figure.add_subplot()
        return axes, axes
    name = max(len(shortened(row.point.recipe)) for row in aside)
    ratios = [1.0, min(0.55, max(0.2, 0.012 * name, 0.02 * len(aside)))]
    main, side = figure.subplots(1, 2, sharey=True, width_ratios=ratios)
    return main, side


def _subtitle(rows: Sequence[Row], drawn: Sequence[Row], *, hidden: int = 0) -> str:
    """Return model and text, and what the reader needs to know of bars and missing points."""
    first = rows[0].point
    bars = any(row.point.kl_mean_se for row in drawn)
    missing = sum(not is_reference(row.point) for row in rows) - len(drawn)
    parts = [f"{shortened(first.model, 32)} on {shortened(first.text, 32)}"]
    parts += ["bars: 95 % interval" if bars else "no error estimate"] if drawn else []
    parts += [f"not drawn: {missing} without a finite KL"] if missing else []
    parts += [f"{hidden} without a label are in the table"] if hidden else []
    return "; ".join(parts)


def _draw_main(axes: Axes, rows: Sequence[Row], *, is_narrow: bool) -> None:
    for row in rows:
        _draw_point(axes, row.point.bits_per_weight, row, is_strong=row.on_front)
    front = _front(rows)
    if len(front) > 1:
        bits, divergence = zip(*((p.bits_per_weight, p.kl_mean) for p in front), strict=True)
        axes.step(bits, divergence, where="post", color="0.55", linewidth=1.2, zorder=1.5)
    axes.set_xlabel("bits per weight, side data included (log scale)")
    axes.set_ylabel(KL)
    if rows:
        scale_bits(axes, [row.point.bits_per_weight for row in rows], is_narrow=is_narrow)


def _front(rows: Sequence[Row]) -> list[PointResult]:
    return sorted((row.point for row in rows if row.on_front), key=lambda p: p.bits_per_weight)


def _draw_side(axes: Axes, rows: Sequence[Row], *, is_alone: bool) -> None:
    for index, row in enumerate(rows):
        _draw_point(axes, float(index), row, is_strong=True)
    axes.set_xlim(-1.0, len(rows))
    axes.set_xticks([])
    axes.set_xlabel("float32 weights")
    axes.set_facecolor("0.97")
    if is_alone:
        axes.set_ylabel(KL)
    else:
        axes.tick_params(left=False, which="both")
        axes.spines["left"].set_visible(False)


def _draw_point(axes: Axes, x: float, row: Row, *, is_strong: bool) -> None:
    point = row.point
    color, marker = _look(point)
    axes.errorbar(
        x,
        point.kl_mean,
        yerr=interval(point, "kl_mean_se"),
        color=color,
        marker=marker,
        markersize=6,
        fillstyle=FILLS[scope(point.recipe)],
        markerfacecoloralt="white",
        alpha=1.0 if is_strong else 0.55,
        elinewidth=1,
        capsize=2,
        linestyle="none",
        zorder=3,
    )


def _look(point: PointResult) -> tuple[str, str]:
    color, marker = STYLES[family(point.recipe)]
    return (GREY if holds_source_grid(point) else color), marker


def _spans(rows: Sequence[Row]) -> list[tuple[float, float, float]]:
    """Return value and interval ends of each point."""
    halves = [interval(row.point, "kl_mean_se") or 0.0 for row in rows]
    values = [row.point.kl_mean for row in rows]
    return [(v, v - h, v + h) for v, h in zip(values, halves, strict=True)]


def _legend_handles(axes: Axes, rows: Sequence[Row]) -> list[Line2D]:
    """Return an entry for each family, scope and line that occurs."""
    points = [row.point for row in rows]
    kinds = {family(p.recipe) for p in points if not holds_source_grid(p)}
    handles = [_handle(kind, *STYLES[kind]) for kind in STYLES if kind in kinds]
    scopes = {scope(p.recipe) for p in points} - {Scope.WEIGHTS}
    handles += [_handle(s.value, "0.3", "o", FILLS[s]) for s in Scope if s in scopes]
    if any(holds_source_grid(p) for p in points):
        handles.append(_handle(SOURCE_GRID, GREY, "o"))
    if len(_front([row for row in rows if not keeps_weights(row.point)])) > 1:
        handles.append(Line2D([], [], color="0.55", linewidth=1.2, label="Pareto front"))
    low, high = axes.get_ylim()
    if low < NEAR_NATS < high:
        handles.append(Line2D([], [], label=f"{NEAR_NATS} nats", **NEAR_LINE))
    return handles


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


def _write_labels(axes: Axes, places: Sequence[tuple[float, Row]], *, is_narrow: bool) -> int:
    """Label the front first, off its line and the error bars; return the number left out."""
    ordered = sorted(places, key=lambda place: not place[1].on_front)
    length = NARROW_LABEL_LENGTH if is_narrow else LABEL_LENGTH
    labels = [
        Label(
            x=x,
            y=row.point.kl_mean,
            text="" if is_narrow and not row.on_front else shortened(row.point.recipe, length),
            is_bold=row.on_front,
        )
        for x, row in ordered
    ]
    bars = [
        ((x, row.point.kl_mean - half), (x, row.point.kl_mean + half))
        for x, row in places
        if (half := interval(row.point, "kl_mean_se"))
    ]
    steps = []
    for left, right in itertools.pairwise(_front([row for _, row in places])):
        corner = (right.bits_per_weight, left.kl_mean)
        steps += [((left.bits_per_weight, left.kl_mean), corner)]
        steps += [(corner, (right.bits_per_weight, right.kl_mean))]
    return len(labels) - len(place_labels(axes, labels, [*bars, *steps]))
