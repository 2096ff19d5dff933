"""The figure of embedding loss against bits per weight."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sim.encoder.evaluate import EncoderResult
from sim.report.accuracy_figure import STYLES
from sim.report.axis_scales import scale_bits
from sim.report.kinds import family
from sim.report.labels import Label, place_labels
from sim.report.style import drawing, new_figure, settle
from sim.sweep.statistics import half_width


def encoder_figure(title: str, results: Sequence[EncoderResult], *, sentences: int) -> Figure:
    """Draw the mean of 1 - cosine over ``sentences`` on a logarithmic axis.

    The bars are 95 % confidence intervals. Many are smaller than a marker, so they are drawn over
    it.
    """
    with drawing():
        figure = new_figure(9.0, 5.8)
        axes: Any = figure.add_subplot()
        axes.set_yscale("log")
        for result in results:
            _draw_point(axes, result, sentences)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        scale_bits(axes, [result.bits_per_weight for result in results])
        axes.set_xlabel("bits per weight, scales and zero points included (log scale)")
        axes.set_ylabel("1 - cosine to the float model's embedding (log scale)")
        figure.suptitle(title, x=0.01, ha="left")
        axes.set_title(f"bars: 95 % interval over {sentences} sentences", color="0.35")
        axes.grid(color="0.92", lw=0.6)
        axes.legend(handles=_legend(results), loc="upper right", fontsize=8, edgecolor="none")
        settle(figure)
        place_labels(
            axes, [Label(x=r.bits_per_weight, y=r.cosine_loss, text=r.recipe) for r in results]
        )
    return figure


def _draw_point(axes: Any, result: EncoderResult, sentences: int) -> None:
    color, marker = STYLES[family(result.recipe)]
    axes.plot(result.bits_per_weight, result.cosine_loss, color=color, marker=marker, ms=5)
    axes.errorbar(
        result.bits_per_weight,
        result.cosine_loss,
        yerr=half_width(result.cosine_loss_se, sentences),
        fmt="none",
        ecolor="black",
        elinewidth=0.8,
        capsize=3,
        capthick=0.8,
        zorder=4,
    )


def _legend(results: Sequence[EncoderResult]) -> list[Line2D]:
    kinds = {family(result.recipe) for result in results}
    return [
        Line2D([], [], color=color, marker=marker, linestyle="none", label=kind)
        for kind, (color, marker) in STYLES.items()
        if kind in kinds
    ]
