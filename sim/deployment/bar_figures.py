"""Stacked bars: where the time of a phase goes, and what fills a machine's memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sim.report.style import drawing, new_figure

#: Okabe and Ito's colours, then greys, for parts in a fixed order.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "0.35", "0.6",
    "0.8",
)  # fmt: skip
#: A part of less than this share of the longest bar has no number in it.
LABELLED_SHARE = 0.06
#: Of curves beyond the number of colours.
DASHES = ("-", "--", ":")

#: Amount of each part, by bar.
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
        A line to mark in each panel, such as a machine's capacity.
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
            _draw_bars(one, bars, colors, limit or 0.0)
            one.set_title(name)
            if limit is not None:
                _draw_limit(one, limit)
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
                axes.text(start + amount / 2, row, _short(amount), ha="center", va="center",
                          fontsize=7.5, color="white")  # fmt: skip
            start += amount
        axes.text(start + 0.008 * longest, row, _short(start), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.12)
    axes.grid(axis="x", color="0.92", lw=0.6)


def _draw_limit(axes: Any, limit: float) -> None:
    axes.axvline(limit, color="0.1", lw=1.3, ls="--")
    axes.text(limit, -0.52, f" capacity {limit:.4g}", fontsize=8, va="bottom")


def curves_figure(
    title: str, panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *, unit: str,
) -> Figure:  # fmt: skip
    """Draw a panel for each entry, side by side: curves by name.

    Parameters
    ----------
    panels
        Curves by panel; the panel's name is its horizontal axis.
    unit
        What the vertical axis shows.
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
        # Panels share it, and the last one may be the highest.
        axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel(unit)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
        )
        figure.suptitle(title, x=0.01, ha="left")
    return figure
