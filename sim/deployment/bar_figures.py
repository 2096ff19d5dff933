"""Stacked bars of time by kind of operator and of memory, and curves of time per token."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sim.report.style import drawing, new_figure

#: Okabe and Ito's colours, then greys, for parts in a fixed order.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
    "0.35",
    "0.6",
    "0.8",
)
#: Largest ratio of values on one linear axis.
SPREAD = 30.0
#: Share of the longest bar from which a part has its number in it.
LABELLED_SHARE = 0.06
#: Line styles of curves; the next one starts when all colours are used.
DASHES = ("-", "--", ":")

#: Amounts of parts by bar and part.
Bars = Mapping[str, Mapping[str, float]]


def stacked_figure(
    title: str, panels: Mapping[str, Bars], *, unit: str, limits: Mapping[str, float] | None = None
) -> Figure:
    """Draw one panel of horizontal stacked bars for each entry of ``panels``.

    Parameters
    ----------
    panels
        Bars by panel; all share the colours of the parts.
    limits
        A line to mark in each panel, such as a machine's capacity. Bars of a panel without one that
        differ by more than :data:`SPREAD` are drawn as shares of their sum.
    """
    parts = list(dict.fromkeys(p for bars in panels.values() for bar in bars.values() for p in bar))
    colors = dict(zip(parts, _repeated(len(parts)), strict=True))
    rows = sum(len(bars) for bars in panels.values())
    with drawing():
        figure = new_figure(9.0, 1.2 + 0.55 * len(panels) + 0.42 * rows)
        heights = [len(bars) + 0.6 for bars in panels.values()]
        axes: Any = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for one, (name, bars) in zip(axes, panels.items(), strict=True):
            limit = limits.get(name) if limits else None
            if limit is None and _spread([sum(bar.values()) for bar in bars.values()]) > SPREAD:
                _draw_shares(one, bars, colors)
                one.set_title(f"{name}, shares of each bar")
                continue
            _draw_bars(one, bars, colors, limit or 0.0)
            one.set_title(name if limit is None else f"{name}, capacity {limit:.4g} {unit}")
            if limit is not None:
                one.axvline(limit, color="0.1", lw=1.3, ls="--", zorder=0.5)
        axes[-1].set_xlabel(unit)
        figure.suptitle(title, x=0.01, ha="left")
        handles = [Patch(color=colors[part], label=part) for part in parts]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(6, len(parts)), frameon=False
        )
    return figure


def _repeated(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _short(amount: float) -> str:
    """Return a number of three digits, or a whole one.

    >>> _short(1184.2), _short(2.307)
    ('1,184', '2.31')
    """
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


def _draw_bars(axes: Any, bars: Bars, colors: Mapping[str, str], limit: float) -> None:
    names = list(bars)
    longest = max(limit, *(sum(bar.values()) for bar in bars.values())) or 1.0
    for row, name in enumerate(names):
        start = 0.0
        for part, amount in bars[name].items():
            axes.barh(row, amount, left=start, color=colors[part], height=0.68)
            if amount > LABELLED_SHARE * longest:
                axes.text(
                    start + amount / 2,
                    row,
                    _short(amount),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white",
                )
            start += amount
        axes.text(start + 0.008 * longest, row, _short(start), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.12)
    axes.grid(axis="x", color="0.92", lw=0.6)


def _draw_shares(axes: Any, bars: Bars, colors: Mapping[str, str]) -> None:
    """Draw bars of equal length, for sums too different for one scale; each ends with its sum."""
    for row, bar in enumerate(bars.values()):
        whole, start = sum(bar.values()) or 1.0, 0.0
        for part, amount in bar.items():
            share = amount / whole
            axes.barh(row, share, left=start, color=colors[part], height=0.68)
            if share > LABELLED_SHARE:
                axes.text(
                    start + share / 2,
                    row,
                    _short(amount),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white",
                )
            start += share
        axes.text(1.008, row, _short(whole), va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.set_xticks([])


def _spread(values: Sequence[float]) -> float:
    """Return the largest over the least of positive values.

    >>> _spread([1.0, 0.0, 40.0])
    40.0
    """
    positive = [value for value in values if value > 0]
    return max(positive) / min(positive) if positive else 1.0


def curves_figure(
    title: str,
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    unit: str,
) -> Figure:
    """Draw a panel for each entry, side by side: curves by name.

    Parameters
    ----------
    panels
        Curves by panel; the panel's name is its horizontal axis.
    unit
        Label of the vertical axis.
    """
    with drawing():
        count = max(len(curves) for curves in panels.values())
        columns = min(3, count)
        figure = new_figure(9.0, 4.0 + 0.2 * -(-count // columns))
        axes: Any = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for one, (name, curves) in zip(axes, panels.items(), strict=True):
            colors = _repeated(len(curves))
            for index, (label, (x, y)) in enumerate(curves.items()):
                style = DASHES[index // len(COLOURS) % len(DASHES)]
                one.plot(
                    x, y, color=colors[index], lw=1.6, ls=style, marker="o", ms=2.5, label=label
                )
            one.set_xscale("log", base=2)
            one.set_xlabel(name)
            one.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            one.grid(which="major", color="0.92", lw=0.6)
        heights = [v for curves in panels.values() for _, y in curves.values() for v in y]
        if _spread(heights) > SPREAD:
            axes[0].set_yscale("log")
            axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        else:
            # Panels share the axis, and the last panel may have the highest curve.
            axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel(unit)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
        )
        figure.suptitle(title, x=0.01, ha="left")
    return figure
