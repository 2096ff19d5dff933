"""Style and file formats of figures. Without pyplot and dates, equal results give equal files."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 150
STYLE: Any = {
    "svg.hashsalt": "qsim",
    "svg.fonttype": "none",
    # Names come from the user; a dollar sign in one does not start mathematics.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.axisbelow": True,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
}
#: Numbered ids of matplotlib groups. Nothing refers to them, and two figures of a page repeat them.
NUMBERED_ID = re.compile(r' id="[A-Za-z][\w.]*_\d+"')
#: Fonts of a page; Verdana, the fallback, has the widths of DejaVu Sans.
FONTS = "'DejaVu Sans', Verdana, sans-serif"


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of the reports, without warnings about letters that the font lacks."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, ``width`` by ``height`` inches, whose layout fits its contents."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def settle(figure: Figure) -> None:
    """Lay the figure out and keep this layout."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file."""
    stream = io.BytesIO()
    with drawing():
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def svg(figure: Figure) -> str:
    """Return the figure as SVG for a page, without the XML head."""
    stream = io.StringIO()
    with drawing():
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = NUMBERED_ID.sub("", text[text.index("<svg") :])
    return text.replace("'DejaVu Sans'", FONTS)
