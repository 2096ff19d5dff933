"""The figure of a report with one format: how its divergence varies over the text."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sim.report.headline import finding
from sim.report.style import drawing, new_figure, settle
from sim.report.table import interval, shortened
from sim.sweep.result import PointResult

#: Inches, and inches for a phone.
SIZE, NARROW = (8.6, 3.6), (3.6, 3.2)
COLOR = "#0072B2"


def window_figure(point: PointResult, *, is_narrow: bool = False) -> Figure:
    """KL divergence of each window, with its mean and the 95 % interval of the mean."""
    with drawing():
        figure = new_figure(*(NARROW if is_narrow else SIZE))
        axes = figure.add_subplot()
        axes.plot(range(1, point.windows + 1), point.window_kl, "o", color=COLOR, ms=4)
        axes.axhline(point.kl_mean, color="0.3", linewidth=1, label="mean")
        if half := interval(point, "kl_mean_se"):
            low, high = point.kl_mean - half, point.kl_mean + half
            axes.axhspan(low, high, color="0.85", zorder=0, label="95 % interval of the mean")
        axes.set_xlabel("window of the text")
        axes.set_ylabel("KL from float32 (nats per token)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, color="0.92")
        axes.legend(fontsize=8, edgecolor="none")
        if not is_narrow:
            figure.suptitle(finding([point]), x=0.01, ha="left")
            sample = f"{shortened(point.model, 32)} on {shortened(point.text, 32)}"
            axes.set_title(f"{sample}; {point.context} tokens a window", color="0.35")
        settle(figure)
    return figure
