"""Draw the value grids of formats, with the midpoints between the values."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numerics.formats import Format
from sim.directories import made_directory
from sim.errors import UserError, writing
from sim.formats.explain import tie_rule
from sim.formats.lookup import grid
from sim.report.style import drawing, new_figure, png, svg

VALUE_COLOUR, MIDPOINT_COLOUR = "#1f4e79", "#b0b0b0"
#: Largest number of values that are labelled one by one.
MAX_LABELS = 24
SUFFIXES = (".png", ".svg")


def write_grid(formats: Sequence[Format], path: Path) -> None:
    """Draw one line for each format into a .png or .svg file."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"'{path}' is not a .png or .svg file; name one, such as grid.png")
    with drawing():
        figure = new_figure(9.0, 0.7 + 0.9 * len(formats))
        axes: Any = figure.subplots(len(formats), squeeze=False)[:, 0]
        for one, fmt in zip(axes, formats, strict=True):
            _draw(one, fmt)
    content = png(figure) if path.suffix == ".png" else svg(figure).encode()
    with writing(path), made_directory(path.parent):
        path.write_bytes(content)


def _draw(axes: Any, fmt: Format) -> None:
    values = grid(fmt)
    middles = [(low + high) / 2 for low, high in itertools.pairwise(values)]
    axes.vlines(middles, -0.35, 0.35, color=MIDPOINT_COLOUR, lw=0.8)
    axes.vlines(values, -0.8, 0.8, color=VALUE_COLOUR, lw=1.6 if len(values) < 100 else 0.6)
    axes.set_title(f"{fmt.name}: {len(values)} values (dark), midpoints (grey); {tie_rule(fmt)}")
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if len(values) <= MAX_LABELS:
        axes.set_xticks(values, [f"{value:.4g}" for value in values], rotation=45, fontsize=7)
