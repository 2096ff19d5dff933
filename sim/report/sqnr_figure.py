"""The heat map of the signal to quantization-noise ratio of every layer."""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from sim.report.style import drawing, new_figure, settle
from sim.report.table import by_loss, shortened
from sim.sweep.result import PointResult

#: Colours end here; a scheme that contains the source's own grid reaches more than 100 dB.
MAX_DB = 60.0
PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")
LAYER = re.compile(r"layers\.(\d+)\.(?:.*\.)?([^.]+)")
#: Panel of the matrices outside the layers.
OUTSIDE = "other"
#: Inches around the map, and of a row.
MARGIN, ROW = 1.75, 0.2


def sqnr_figure(results: Sequence[PointResult]) -> Figure | None:
    """SQNR of every quantized matrix, a panel a projection, a row a recipe by loss.

    ``None`` where nothing is quantized.
    """
    points = [p for p in by_loss(results) if p.sqnr_db]
    if not points:
        return None
    columns = panel_columns(layer for p in points for layer in p.sqnr_db)
    grids = {panel: _grid(points, names) for panel, names in columns.items()}
    with drawing():
        figure = new_figure(10.5, MARGIN + ROW * len(points))
        widest = max(map(len, columns.values()))
        ratios = [_width(panel, len(names), widest) for panel, names in columns.items()]
        axes = figure.subplots(1, len(columns), sharey=True, squeeze=False, width_ratios=ratios)
        row = list(axes[0])
        images = [
            _draw(place, panel, grids[panel], columns[panel], _range(grids))
            for place, panel in zip(row, columns, strict=True)
        ]
        row[0].set_yticks(range(len(points)), [shortened(p.recipe) for p in points])
        _mark_worst(row, list(grids.values()))
        _write_rows(row[-1], points)
        _explain(figure, row, images[0], points, grids)
        settle(figure)
    return figure


def _width(panel: str, columns: int, widest: int) -> float:
    """Return the share of a panel; names under the columns need room."""
    least = 0.2 * widest * columns if panel == OUTSIDE else 0.3 * widest
    return max(float(columns), min(float(widest), least))


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


def _grid(points: Sequence[PointResult], names: Sequence[str]) -> np.ndarray:
    """Return SQNR by recipe and matrix; NaN where a matrix is not quantized."""
    return np.array([[p.sqnr_db.get(name, np.nan) for name in names] for p in points])


def _range(grids: dict[str, np.ndarray]) -> tuple[float, float]:
    """Return the ends of the colours."""
    every = np.hstack(list(grids.values()))
    low, high = float(np.nanmin(every)), min(float(np.nanmax(every)), MAX_DB)
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def _draw(
    axes: Axes,
    panel: str,
    grid: np.ndarray,
    names: Sequence[str],
    ends: tuple[float, float],
) -> AxesImage:
    colours = colormaps["viridis"].with_extremes(bad="0.88")
    image = axes.imshow(
        grid, aspect="auto", vmin=ends[0], vmax=ends[1], cmap=colours, interpolation="none"
    )
    axes.set_title(panel, loc="center")
    axes.set_xlabel("layer")
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
    if panel == OUTSIDE:
        axes.set_xlabel("")
        axes.set_xticks(range(len(names)), [shortened(n, 16) for n in names], rotation=90)
    else:
        step = -(-len(names) // 4) if len(names) > 6 else 1
        at = list(range(0, len(names), step))
        axes.set_xticks(at, [str(_depth(names[i])[0]) for i in at])
    return image


def _mark_worst(row: Sequence[Axes], grids: Sequence[np.ndarray]) -> None:
    """Put a dot on the worst matrix of each recipe."""
    ends = np.cumsum([0, *(grid.shape[1] for grid in grids)])
    for recipe, column in enumerate(np.nanargmin(np.hstack(grids), axis=1)):
        panel = int(np.searchsorted(ends, column, side="right")) - 1
        row[panel].plot(
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
        values = (statistics.median(point.sqnr_db.values()), min(point.sqnr_db.values()))
        for offset, value in zip((36, 70), values, strict=True):
            axes.annotate(
                f"{value:.1f}",
                (1, index),
                xycoords=place,
                xytext=(offset, 0),
                textcoords="offset points",
                fontsize=8,
                ha="right",
                va="center",
            )


def _finding(points: Sequence[PointResult]) -> str:
    """Say where the worst matrices are."""
    worst = [min(p.sqnr_db.items(), key=lambda item: item[1])[0] for p in points]
    if len(points) == 1:
        name = shortened(points[0].recipe, 36)
        return f"SQNR of the weights of {name}: worst in {shortened(worst[0], 36)}"
    panel, count = Counter(map(_panel, worst)).most_common(1)[0]
    return f"SQNR of weights: worst in {panel} for {count} of {len(points)} recipes"


def _explain(
    figure: Figure,
    row: Sequence[Axes],
    image: AxesImage,
    points: Sequence[PointResult],
    grids: dict[str, np.ndarray],
) -> None:
    figure.suptitle(_finding(points), x=0.01, ha="left")
    grey = "; grey: not quantized" if any(np.isnan(g).any() for g in grids.values()) else ""
    every = np.hstack(list(grids.values()))
    bar = figure.colorbar(
        image,
        ax=list(row),
        label=f"SQNR (dB); dot: the recipe's worst matrix{grey}",
        location="bottom",
        shrink=0.45,
        aspect=45,
        pad=0.02 if len(points) > 4 else 0.12,
        extend="max" if np.nanmax(every) > MAX_DB else "neither",
    )
    bar.outline.set_visible(False)
