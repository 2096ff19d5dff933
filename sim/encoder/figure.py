"""The figure of embedding loss against bits per weight."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from sim.encoder.evaluate import EncoderResult
from sim.report.labels import Label, place_labels
from sim.report.style import drawing, new_figure, settle

#: Okabe and Ito's colours by the first letters of a format's name.
COLOURS = {"int": "#0072B2", "fp": "#D55E00", "mx": "#009E73", "nv": "#CC79A7", "nf": "#E69F00"}
OTHER = "#666666"


def encoder_figure(title: str, results: Sequence[EncoderResult]) -> Figure:
    """Draw the mean of 1 - cosine, one standard error each way, on a logarithmic axis."""
    with drawing():
        figure = new_figure(9.0, 5.6)
        axes: Any = figure.add_subplot()
        axes.set_yscale("log")
        for result in results:
            color = next((c for k, c in COLOURS.items() if result.recipe.startswith(k)), OTHER)
            axes.errorbar(
                result.bits_per_weight,
                result.cosine_loss,
                yerr=result.cosine_loss_se,
                color=color,
                marker="o",
                ms=5,
            )
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("bits per weight, scales and zero points included")
        axes.set_ylabel("1 - cosine to the float model's embedding")
        axes.set_title(title)
        axes.grid(color="0.92", lw=0.6)
        settle(figure)
        place_labels(
            axes, [Label(x=r.bits_per_weight, y=r.cosine_loss, text=r.recipe) for r in results]
        )
    return figure
