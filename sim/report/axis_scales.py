"""Axes of bits per weight and of KL divergence."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, SymmetricalLogLocator

#: The axis of divergence is linear below this, which lies between the two numbers.
LINEAR_NATS = (1e-5, 1e-1)
#: Most decades of that axis that have a tick each.
MAX_DECADES = 9
#: Ratio of divergences up to which the axis is linear.
MAX_LINEAR_RATIO = 20.0
#: Least ratio of the ends of the axis of bits.
MIN_BITS_RATIO = 2.5
BIT_TICKS = (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)
MAX_BIT_TICKS = 12
#: Ticks of a figure for a phone.
FEW_BIT_TICKS = (1, 2, 3, 4, 6, 8, 12, 16, 32)


def scale_bits(axes: Axes, bits: Sequence[float], *, is_narrow: bool = False) -> None:
    """Make the x axis logarithmic: one bit more matters less the more there are."""
    low, high = 0.85 * min(bits), 1.25 * max(bits)
    wider = max(1.0, (MIN_BITS_RATIO * low / high) ** 0.5)
    low, high = low / wider, high * wider
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    known = FEW_BIT_TICKS if is_narrow else BIT_TICKS
    ticks = [tick for tick in known if low <= tick <= high]
    if len(ticks) > MAX_BIT_TICKS:
        ticks = [tick for tick in ticks if tick == int(tick)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def scale_divergence(
    axes: Axes, spans: Sequence[tuple[float, float, float]], *, near: float
) -> None:
    """Make the y axis linear where the divergences are alike, else logarithmic but near zero.

    Parameters
    ----------
    axes : Axes
        Receives a grid and a dotted line at ``near`` too.
    spans : sequence of (value, low, high)
        Divergences and the ends of their intervals.
    near : float
        Divergence that is called near.
    """
    axes.grid(visible=True, color="0.92")
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    if not spans:
        return
    low, high = min(0.0, *(s[1] for s in spans)), max(0.0, *(s[2] for s in spans))
    least = min((s[0] for s in spans if s[0] > 0), default=high)
    if high > max(LINEAR_NATS[0], least) * MAX_LINEAR_RATIO:
        _scale_log(axes, low, high, least)
    else:
        span = high - low or 1.0
        axes.set_ylim(low - 0.08 * span, high + 0.15 * span)
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    bottom, top = axes.get_ylim()
    if bottom < near < top:
        axes.axhline(near, zorder=1, color="0.5", linewidth=0.9, linestyle=(0, (1, 2)))


def _scale_log(axes: Axes, low: float, high: float, least: float) -> None:
    decade = 10.0 ** math.floor(math.log10(least))
    linear = min(max(decade, LINEAR_NATS[0]), LINEAR_NATS[1])
    axes.set_yscale("symlog", linthresh=linear, linscale=0.5)
    axes.set_ylim(bottom=min(1.5 * low, -linear / 3), top=2.5 * high)
    decades = [10.0**n for n in range(round(math.log10(linear)), 300) if 10.0**n < 3 * high]
    axes.yaxis.set_major_locator(FixedLocator([0.0, *decades[:: 1 + len(decades) // MAX_DECADES]]))
    if len(decades) < MAX_DECADES:
        minor = SymmetricalLogLocator(base=10, linthresh=linear, subs=list(range(2, 10)))
        axes.yaxis.set_minor_locator(minor)
        axes.tick_params(axis="y", which="minor", color="0.75", length=2)


def _plain(value: float, _: int | None = None) -> str:
    """Return a number without exponent as long as that is short."""
    text = f"{value:g}" if 1e-4 <= abs(value) < 1e5 or not value else f"{value:.0e}"
    return text.replace("-", "\N{MINUS SIGN}")
