"""Labels beside the points of a figure, none over another."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox, BboxBase

#: Distances from point to label that are tried, in points, the nearest first.
RADII = (5, 9, 14, 20, 28, 38, 50, 64, 80)
ANGLES = 16
#: A label farther than this many points from its point gets a line to it.
LEADER_GAP = 11


def place_labels(axes: Axes, labels: Sequence[tuple[float, float, str, bool]]) -> list[Annotation]:
    """Write ``(x, y, text, is_bold)`` beside its point, the first ones first served.

    Each label takes the nearest free place in the axes; a place is free if the label covers no
    other label and no point.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    pixels_per_point = figure.dpi / 72
    spots = [axes.transData.transform((x, y)) for x, y, *_ in labels]
    taken: list[BboxBase] = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in spots]
    if (legend := axes.get_legend()) is not None:
        taken.append(legend.get_window_extent())
    placed = []
    for (x, y, text, is_bold), spot in zip(labels, spots, strict=True):
        label = axes.annotate(
            text,
            (x, y),
            textcoords="offset points",
            xytext=(0, 0),
            fontsize=7.5,
            fontweight="bold" if is_bold else "normal",
            color="black" if is_bold else "0.35",
            arrowprops={"arrowstyle": "-", "color": "0.75", "linewidth": 0.6, "shrinkB": 4},
        )
        size = _text_size(label)
        offset = _free_offset(spot, size, taken, axes.bbox, pixels_per_point)
        label.set_position(offset)
        box = _box(spot, offset, size, pixels_per_point)
        if _gap(spot, box) < LEADER_GAP * pixels_per_point and label.arrow_patch is not None:
            label.arrow_patch.set_visible(False)
        taken.append(box)
        placed.append(label)
    return placed


def _text_size(label: Annotation) -> Bbox:
    """Return the extent of the text alone, without the line to its point."""
    extent = Text.get_window_extent(label)
    return Bbox.from_bounds(0, 0, extent.width, extent.height)


def _box(spot: np.ndarray, offset: tuple[float, float], size: Bbox, scale: float) -> Bbox:
    return Bbox.from_bounds(
        spot[0] + offset[0] * scale, spot[1] + offset[1] * scale, size.width, size.height
    )


def _gap(spot: np.ndarray, box: Bbox) -> float:
    """Distance in pixels from a point to a box."""
    across = max(box.x0 - spot[0], 0.0, spot[0] - box.x1)
    up = max(box.y0 - spot[1], 0.0, spot[1] - box.y1)
    return float(np.hypot(across, up))


def _free_offset(
    spot: np.ndarray, size: Bbox, taken: Sequence[BboxBase], bounds: BboxBase, scale: float
) -> tuple[float, float]:
    """Return the offset in points of the nearest free place for a label's lower left corner."""
    width, height = size.width / scale, size.height / scale
    for dx, dy in _offsets(width, height):
        box = _box(spot, (dx, dy), size, scale)
        inside = bounds.x0 <= box.x0 and box.x1 <= bounds.x1 and bounds.y0 <= box.y0
        if inside and box.y1 <= bounds.y1 and not any(box.overlaps(other) for other in taken):
            return dx, dy
    return next(_offsets(width, height))


def _offsets(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Yield corners that put a label around its point, the right first, then farther away."""
    for radius in RADII:
        for angle in np.linspace(0, 2 * np.pi, ANGLES, endpoint=False):
            across, up = np.cos(angle), np.sin(angle)
            yield (
                radius * across - width * (1 - across) / 2,
                radius * up - height * (1 - up) / 2,
            )
