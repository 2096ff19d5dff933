"""The roofline: operators of prefill and decode under the roofs of a machine.

Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sim.deployment.roofs import Roof, Slope, si
from sim.report.labels import Label, place_labels
from sim.report.style import drawing, new_figure, settle

#: Colour (Okabe and Ito's, for colour-blind readers) and marker of each phase.
PHASE_LOOKS = {"prefill": ("#D55E00", "s"), "decode": ("#0072B2", "o")}
ROOF_GREYS = ("0.05", "0.3", "0.45", "0.6")
#: Area of the marker of an operator that takes all the time of its phase, in points squared.
FULL_AREA = 420.0
SMALLEST_AREA = 14.0
#: Factors between the ends of the axes and points or ridges, and between points and roofs' labels.
MARGIN, WORDS_MARGIN = 3.0, 16.0
#: Width of a roof's label, and height of its middle above the roof, as shares of the axes.
WORDS_SHARE, WORDS_RISE = 0.24, 0.02
#: Ratio of coordinates up to which points of one phase share a label.
NEAR = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One kind of operator in one phase."""

    name: str
    phase: str
    ops: float
    traffic_bytes: float
    time_s: float

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in operations per byte."""
        return self.ops / self.traffic_bytes

    @property
    def ops_per_s(self) -> float:
        """Reached rate in operations/s."""
        return self.ops / self.time_s

    def is_near(self, other: "Point") -> bool:
        """Whether the two markers would overlap."""
        ratios = self.intensity / other.intensity, self.ops_per_s / other.ops_per_s
        return self.phase == other.phase and all(1 / NEAR < ratio < NEAR for ratio in ratios)


def roofline_figure(
    title: str, roofs: Sequence[Roof], slopes: Sequence[Slope], points: Sequence[Point]
) -> Figure:
    """Draw roofs, slopes and operators on logarithmic axes; areas are shares of a phase's time."""
    shown = [p for p in points if p.ops > 0 and p.traffic_bytes > 0 and p.time_s > 0]
    with drawing():
        figure = new_figure(9.0, 5.6)
        axes: Any = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: si(value))
            axis.set_minor_locator(NullLocator())
        low, high = _limits(axes, roofs, slopes, shown)
        _draw_slopes(axes, slopes, max(r.ops_per_s for r in roofs), low)
        _draw_roofs(axes, roofs, max(s.bytes_per_s for s in slopes), high)
        _draw_points(axes, shown)
        axes.set_xlabel("arithmetic intensity (operations for each byte of memory traffic)")
        axes.set_ylabel("operations a second")
        axes.set_title(title)
        axes.grid(which="major", color="0.92", lw=0.6)
        _legend(axes, shown)
        settle(figure)
        _label_points(axes, roofs, slopes, shown)
    return figure


def _limits(
    axes: Axes, roofs: Sequence[Roof], slopes: Sequence[Slope], points: Sequence[Point]
) -> tuple[float, float]:
    """Set the limits of both axes; return those of the intensity."""
    top = max(roof.ops_per_s for roof in roofs)
    ridges = [roof.ops_per_s / slope.bytes_per_s for roof in roofs for slope in slopes]
    xs = [*ridges, *(p.intensity for p in points)]
    low = min(xs) / MARGIN
    high = max(2 * MARGIN * max(ridges), *(WORDS_MARGIN * p.intensity for p in points))
    slowest = min(slope.bytes_per_s for slope in slopes)
    bottom = min([top / MARGIN, low * slowest, *(p.ops_per_s for p in points)])
    axes.set_xlim(low, high)
    axes.set_ylim(bottom / 2, top * 2.5)
    return low, high


def _draw_slopes(axes: Axes, slopes: Sequence[Slope], top: float, low: float) -> None:
    for slope in slopes:
        ridge = top / slope.bytes_per_s
        axes.plot([low, ridge], [low * slope.bytes_per_s, top], color="0.2", lw=1.4)
        at = (low * min(ridge, low * 40)) ** 0.5
        axes.annotate(
            f"{slope.name} {si(slope.bytes_per_s)}B/s",
            (at, at * slope.bytes_per_s),
            xytext=(0, 5),
            textcoords="offset points",
            rotation=38,
            rotation_mode="anchor",
            ha="center",
            fontsize=8,
            color="0.2",
        )


def _draw_roofs(axes: Axes, roofs: Sequence[Roof], bandwidth: float, high: float) -> None:
    for index, roof in enumerate(sorted(roofs, key=lambda roof: -roof.ops_per_s)):
        ridge = roof.ops_per_s / bandwidth
        color = ROOF_GREYS[min(index, len(ROOF_GREYS) - 1)]
        style = "-" if roof.is_native else "--"
        axes.plot([ridge, high], [roof.ops_per_s] * 2, color=color, lw=1.6, ls=style)
        axes.plot([ridge], [roof.ops_per_s], marker="|", color=color, ms=7)
        axes.annotate(
            f"{roof.name} {si(roof.ops_per_s)}OP/s, ridge {ridge:.3g}",
            (high, roof.ops_per_s),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=color,
        )


def _draw_points(axes: Axes, points: Sequence[Point]) -> None:
    totals = {phase: sum(p.time_s for p in points if p.phase == phase) for phase in PHASE_LOOKS}
    for point in sorted(points, key=lambda p: -p.time_s):
        color, marker = PHASE_LOOKS[point.phase]
        area = max(SMALLEST_AREA, FULL_AREA * point.time_s / totals[point.phase])
        axes.scatter(
            point.intensity,
            point.ops_per_s,
            s=area,
            c=color,
            marker=marker,
            alpha=0.75,
            edgecolors="white",
            linewidths=0.6,
            zorder=3,
        )


def _label_points(
    axes: Axes, roofs: Sequence[Roof], slopes: Sequence[Slope], points: Sequence[Point]
) -> None:
    """Label the points, away from the roofs."""
    low, high = axes.get_xlim()
    top = max(roof.ops_per_s for roof in roofs)
    lines = [((low, roof.ops_per_s), (high, roof.ops_per_s)) for roof in roofs]
    lines += [_words(axes, roof) for roof in roofs]
    lines += [((low, low * s.bytes_per_s), (top / s.bytes_per_s, top)) for s in slopes]
    labels = [
        Label(
            x=group[0].intensity,
            y=group[0].ops_per_s,
            text=", ".join(p.name for p in group),
        )
        for group in _clusters(points)
    ]
    place_labels(axes, labels, lines)


def _words(axes: Axes, roof: Roof) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of a line through a roof's label, in data coordinates."""
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    y = roof.ops_per_s * (top / bottom) ** WORDS_RISE
    return (high * (low / high) ** WORDS_SHARE, y), (high, y)


def _clusters(points: Sequence[Point]) -> list[list[Point]]:
    """Return groups of overlapping points, the fastest first."""
    clusters: list[list[Point]] = []
    for point in sorted(points, key=lambda p: -p.ops_per_s):
        near = next((c for c in clusters if point.is_near(c[0])), None)
        if near is None:
            clusters.append([point])
        else:
            near.append(point)
    return clusters


def _legend(axes: Axes, points: Sequence[Point]) -> None:
    for phase, (color, marker) in PHASE_LOOKS.items():
        if any(p.phase == phase for p in points):
            axes.scatter([], [], c=color, marker=marker, label=f"{phase} (area: share of its time)")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
