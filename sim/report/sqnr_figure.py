"""The heat map of the signal to quantization-noise ratio (SQNR) of every layer.

A recipe's median says how good its format is, and is in the table. The map shows each matrix
against the median of its row, so that a layer that a format suits badly stands out.
"""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from sim.report.ranking import Row
from sim.report.style import drawing, new_figure, settle
from sim.report.table import shortened
from sim.sweep.result import PointResult

#: Least and greatest end of the colours, dB: smaller differences are noise, larger ones saturate.
RANGE_DB = (1.0, 12.0)
PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")
LAYER = re.compile(r"layers\.(\d+)\.(?:.*\.)?([^.]+)")
#: Panel of the matrices outside the layers.
OUTSIDE = "other"
#: Inches around the map, and of a row.
MARGIN, ROW = 1.75, 0.2
#: Width in inches, and that for a phone; characters of a recipe in each.
WIDTH, NARROW_WIDTH = 10.5, 3.9
NAME, NARROW_NAME = 44, 18


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One projection: SQNR against the row's median by recipe and column."""

    title: str
    columns: Sequence[str]
    grid: np.ndarray


def sqnr_figure(rows: Sequence[Row], *, is_narrow: bool = False) -> Figure | None:
    """SQNR of every quantized matrix against its recipe's median, a row a recipe.

    ``None`` where nothing is quantized. A narrow figure has one column a projection, the worst of
    its layers, and no title, which the page around it gives.
    """
    points = [row.point for row in rows if row.point.sqnr_db]
    if not points:
        return None
    panels = [_by_projection(points)] if is_narrow else _by_layer(points)
    with drawing():
        width = NARROW_WIDTH if is_narrow else WIDTH
        figure = new_figure(width, MARGIN + ROW * len(points))
        widest = max(len(panel.columns) for panel in panels)
        axes = figure.subplots(
            1,
            len(panels),
            sharey=True,
            squeeze=False,
            width_ratios=[_width(panel, widest) for panel in panels],
        )
        places = list(axes[0])
        end = _end(panels)
        images = [_draw(*each, end) for each in zip(places, panels, strict=True)]
        length = NARROW_NAME if is_narrow else NAME
        places[0].set_yticks(range(len(points)), [shortened(p.recipe, length) for p in points])
        _mark_worst(places, [panel.grid for panel in panels])
        _write_rows(places[-1], points)
        if not is_narrow:
            figure.suptitle(_finding(points), x=0.01, ha="left")
        _color_bar(figure, places, images[0], panels, is_narrow=is_narrow)
        settle(figure)
    return figure


def _by_layer(points: Sequence[PointResult]) -> list[_Panel]:
    columns = panel_columns(layer for p in points for layer in p.sqnr_db)
    return [
        _Panel(
            title=title,
            columns=[
                shortened(name, 16) if title == OUTSIDE else str(_depth(name)[0]) for name in names
            ],
            grid=np.array([[_against_median(p).get(n, np.nan) for n in names] for p in points]),
        )
        for title, names in columns.items()
    ]


def _by_projection(points: Sequence[PointResult]) -> _Panel:
    columns = panel_columns(layer for p in points for layer in p.sqnr_db)
    grid = [
        [
            min((_against_median(p)[n] for n in names if n in p.sqnr_db), default=np.nan)
            for names in columns.values()
        ]
        for p in points
    ]
    return _Panel(
        title="worst layer of each projection", columns=list(columns), grid=np.array(grid)
    )


def _against_median(point: PointResult) -> dict[str, float]:
    middle = statistics.median(point.sqnr_db.values())
    return {layer: level - middle for layer, level in point.sqnr_db.items()}


def _width(panel: _Panel, widest: int) -> float:
    """Return the share of a panel; names under the columns need room."""
    count = len(panel.columns)
    least = 0.2 * widest * count if panel.title == OUTSIDE else 0.3 * widest
    return max(float(count), min(float(widest), least))


def panel_columns(layers: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the matrices of each panel, in the order of the model.

    Examples
    --------
    >>> panel_columns(["layers.10.mlp.up_proj", "lm_head", "layers.9.mlp.up_proj"])
    {'up': ['layers.9.mlp.up_proj', 'layers.10.mlp.up_proj'], 'other': ['lm_head']}
    """
    panels: dict[str, list[str]] = {}
    for layer in sorted(set(layers), key=_depth):
        panels.setdefault(_panel(layer), []).append(layer)
    return dict(sorted(panels.items(), key=lambda item: _panel_order(item[0])))


def _depth(layer: str) -> tuple[int, str]:
    match = LAYER.fullmatch(layer)
    return (int(match[1]) if match else -1, layer)


def _panel(layer: str) -> str:
    match = LAYER.fullmatch(layer)
    return match[2].removesuffix("_proj") if match else OUTSIDE


def _panel_order(panel: str) -> tuple[int, str]:
    known = {name: index for index, name in enumerate(PROJECTIONS)} | {OUTSIDE: len(PROJECTIONS)}
    return known.get(panel, len(known)), panel


def _end(panels: Sequence[_Panel]) -> float:
    """Return the greatest difference that has a colour of its own, in dB."""
    return float(np.clip(_greatest(panels), *RANGE_DB))


def _greatest(panels: Sequence[_Panel]) -> float:
    """Return the greatest finite difference either way, in dB."""
    every = np.abs(np.hstack([panel.grid for panel in panels]))
    return float(every[np.isfinite(every)].max(initial=0.0))


def _draw(axes: Axes, panel: _Panel, end: float) -> AxesImage:
    colours = colormaps["RdBu"].with_extremes(bad="0.85")
    image = axes.imshow(
        panel.grid, aspect="auto", vmin=-end, vmax=end, cmap=colours, interpolation="none"
    )
    axes.set_title(panel.title, loc="center")
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
    count = len(panel.columns)
    if all(name.isdecimal() for name in panel.columns):
        axes.set_xlabel("layer")
        step = -(-count // 4) if count > 6 else 1
        axes.set_xticks(range(0, count, step), panel.columns[::step])
    else:
        turn = 90 if panel.title == OUTSIDE else 0
        axes.set_xticks(range(count), panel.columns, rotation=turn)
    return image


def _mark_worst(places: Sequence[Axes], grids: Sequence[np.ndarray]) -> None:
    """Put a dot on the worst matrix of each recipe."""
    ends = np.cumsum([0, *(grid.shape[1] for grid in grids)])
    every = np.nan_to_num(np.hstack(grids), nan=np.inf, posinf=np.inf)
    for recipe, column in enumerate(every.argmin(axis=1)):
        panel = int(np.searchsorted(ends, column, side="right")) - 1
        places[panel].plot(
            column - ends[panel],
            recipe,
            "o",
            markersize=3.5,
            color="white",
            markeredgecolor="black",
            markeredgewidth=0.7,
        )


def _write_rows(axes: Axes, points: Sequence[PointResult]) -> None:
    """Write median and worst SQNR of each recipe beside its row."""
    place = axes.get_yaxis_transform()
    for offset, heading in ((36, "median"), (70, "worst")):
        axes.annotate(
            heading,
            (1, 1),
            xycoords="axes fraction",
            xytext=(offset, 4.5),
            textcoords="offset points",
            fontsize=8,
            ha="right",
            color="0.35",
        )
    for index, point in enumerate(points):
        levels = (statistics.median(point.sqnr_db.values()), min(point.sqnr_db.values()))
        for offset, level in zip((36, 70), levels, strict=True):
            axes.annotate(
                f"{level:.1f}",
                (1, index),
                xycoords=place,
                xytext=(offset, 0),
                textcoords="offset points",
                fontsize=8,
                ha="right",
                va="center",
            )


def _finding(points: Sequence[PointResult]) -> str:
    """Say where the worst matrices are, unless all are alike."""
    spread = max(max(map(abs, _against_median(p).values())) for p in points)
    if spread < RANGE_DB[0]:
        return f"SQNR of the weights: every layer within {RANGE_DB[0]:g} dB of its recipe's median"
    worst = [min(p.sqnr_db.items(), key=lambda item: item[1])[0] for p in points]
    if len(points) == 1:
        name = shortened(points[0].recipe, 36)
        return f"SQNR of the weights of {name}: worst in {shortened(worst[0], 36)}"
    panel, count = Counter(map(_panel, worst)).most_common(1)[0]
    return f"SQNR of weights: worst in {panel} for {count} of {len(points)} recipes"


def _color_bar(
    figure: Figure,
    places: Sequence[Axes],
    image: AxesImage,
    panels: Sequence[_Panel],
    *,
    is_narrow: bool,
) -> None:
    every = np.hstack([panel.grid for panel in panels])
    grey = "\ngrey: not quantized" if np.isnan(every).any() else ""
    end = _end(panels)
    bar = figure.colorbar(
        image,
        ax=list(places),
        label=f"SQNR against the recipe's median (dB){grey}",
        location="bottom",
        shrink=0.8 if is_narrow else 0.45,
        aspect=45,
        pad=0.02 if len(every) > 4 else 0.12,
        extend="both" if _greatest(panels) > end else "neither",
    )
    bar.outline.set_visible(False)
