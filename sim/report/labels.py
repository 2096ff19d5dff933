"""Labels beside the points of a figure: no label covers another or a point.

Labels that find no place near their points are left out, unless they are bold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

FONT_SIZE = 7.5
#: Distances between point and label to try. All lengths in this module are in points, 1/72 inch.
RADII = (5, 7, 10, 14, 18, 23, 29, 36, 44, 54, 66, 80, 98, 120, 150)
ANGLES = 32
#: Half the width of a marker and least distance between labels.
MARKER, GAP = 4.0, 1.5
#: Distance between label and point from which a line joins them.
LEADER_GAP = 10.0
#: Costs in points of distance: leaving the axes, covering something, each dot of a line under the
#: label, a leader through a label, over another leader or over a marker, and standing nearer to
#: another point than to its own.
OUTSIDE, COVERED, TOUCHED, THROUGH, CROSSED, OVER, ASTRAY = 1e6, 1e4, 4.0, 90.0, 30.0, 6.0, 18.0
#: Highest cost of a label that is not bold; it is left out where no place costs less.
MAX_COST = 40.0
#: Points of a leader at which overlaps are tested.
LEADER_DOTS = 12
#: Rounds in which each label may move again, given where the others are.
ROUNDS = 10

Boxes = np.ndarray  # (n, 4): left, bottom, right, top in points


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The name of the point at (x, y) in data coordinates; without text, a point to keep clear."""

    x: float
    y: float
    text: str
    is_bold: bool = False


def place_labels(
    axes: Axes,
    labels: Sequence[Label],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
) -> list[Annotation]:
    """Write labels in the best places near their points; return those that have one.

    The layout must be settled. ``lines`` are ends of strokes in data coordinates that labels avoid
    where they can.
    """
    if not labels:
        return []
    scale = _pixels_per_point(axes)
    scene = _Scene(
        spots=axes.transData.transform([(label.x, label.y) for label in labels]) / scale,
        sizes=np.array([_size(axes, label) for label in labels]) / scale,
        strokes=_dots(axes, lines) / scale,
        frame=np.asarray(axes.bbox.extents) / scale,
        legend=_legend(axes) / scale,
        must_show=np.array([label.is_bold for label in labels]),
    )
    boxes = _arranged(scene, [i for i, label in enumerate(labels) if label.text])
    return [
        _annotate(axes, label, scene, i, boxes[i])
        for i, label in enumerate(labels)
        if np.isfinite(boxes[i, 0])
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What labels must keep clear of, in points."""

    spots: np.ndarray
    sizes: np.ndarray
    strokes: np.ndarray
    frame: np.ndarray
    legend: Boxes
    must_show: np.ndarray

    @property
    def marks(self) -> Boxes:
        return np.hstack([self.spots - MARKER, self.spots + MARKER])


def _arranged(scene: _Scene, labelled: Sequence[int]) -> Boxes:
    """Return the cheapest box of each label given the others; infinite for one left out."""
    boxes = np.full((len(scene.spots), 4), np.inf)
    for _ in range(ROUNDS):
        before = boxes.copy()
        for index in labelled:
            boxes[index] = _best_box(scene, index, boxes)
        if np.array_equal(before, boxes):
            break
    return boxes


def _best_box(scene: _Scene, index: int, boxes: Boxes) -> np.ndarray:
    """Return the cheapest place for one label, infinite if it costs too much."""
    radii = RADII if scene.must_show[index] else [r for r in RADII if r < MAX_COST]
    tried = _candidates(scene.spots[index], scene.sizes[index], radii)
    cost = _own_cost(scene, index, tried)
    is_placed = np.isfinite(boxes[:, 0]) & (np.arange(len(boxes)) != index)
    others, spots = boxes[is_placed], scene.spots[is_placed]
    cost += COVERED * _overlaps(tried, others).sum(axis=1)
    starts = _nearest(tried, scene.spots[index])
    dots = np.linspace(starts, np.broadcast_to(scene.spots[index], starts.shape), LEADER_DOTS)
    through = _inside(dots.reshape(-1, 2), others).reshape(-1, *dots.shape[:2])
    cost += THROUGH * through.any(axis=1).sum(axis=0)
    leaders = np.linspace(_nearest(others, spots), spots, LEADER_DOTS).reshape(-1, 2)
    cost += TOUCHED * _inside(leaders, tried).sum(axis=1)
    cost += CROSSED * _crossings(starts, scene.spots[index], _nearest(others, spots), spots)
    marks = _inside(dots.reshape(-1, 2), np.delete(scene.marks, index, axis=0))
    cost += OVER * marks.reshape(-1, *dots.shape[:2]).any(axis=1).sum(axis=0)
    best = int(np.argmin(cost))
    is_shown = scene.must_show[index] or cost[best] <= MAX_COST
    return np.asarray(tried[best] if is_shown else np.full(4, np.inf))


def _own_cost(scene: _Scene, index: int, tried: Boxes) -> np.ndarray:
    """Return the costs of each place that do not depend on the other labels."""
    gaps = _gaps(tried, scene.spots)
    cost = gaps[:, index] + TOUCHED * _inside(scene.strokes, tried).sum(axis=1)
    cost += COVERED * _overlaps(tried, np.vstack([scene.marks, scene.legend])).sum(axis=1)
    nearest = np.delete(gaps, index, axis=1).min(axis=1, initial=np.inf)
    cost += ASTRAY * (nearest < gaps[:, index])
    left, bottom, right, top = scene.frame
    cost += OUTSIDE * ((tried[:, 0] < left) | (tried[:, 2] > right))
    cost += OUTSIDE * ((tried[:, 1] < bottom) | (tried[:, 3] > top))
    return np.asarray(cost)


def _pixels_per_point(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure.dpi / 72


def _size(axes: Axes, label: Label) -> tuple[float, float]:
    """Return width and height of a label's text in pixels."""
    weight = "bold" if label.is_bold else "normal"
    text = axes.text(0, 0, label.text, fontsize=FONT_SIZE, fontweight=weight)
    figure = axes.get_figure(root=True)
    assert figure is not None and isinstance(figure.canvas, FigureCanvasAgg)
    extent = Text.get_window_extent(text, figure.canvas.get_renderer())  # type: ignore[no-untyped-call]
    text.remove()
    return extent.width, extent.height


def _dots(
    axes: Axes, lines: Sequence[tuple[tuple[float, float], tuple[float, float]]]
) -> np.ndarray:
    """Return points along straight lines, about three pixels apart."""
    dots = [np.empty((0, 2))]
    for start, end in axes.transData.transform(np.reshape(lines, (-1, 2))).reshape(-1, 2, 2):
        count = int(min(400, 2 + np.hypot(*(end - start)) / 3))
        dots.append(np.linspace(start, end, count))
    return np.vstack(dots)


def _candidates(spot: np.ndarray, size: np.ndarray, radii: Sequence[int]) -> Boxes:
    """Return places around a point, the right first, then farther away."""
    angles = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    across, up = (np.outer(radii, f(angles)).ravel() for f in (np.cos, np.sin))
    width, height = size
    left = spot[0] + across - width * (1 - np.tile(np.cos(angles), len(radii))) / 2
    bottom = spot[1] + up - height * (1 - np.tile(np.sin(angles), len(radii))) / 2
    return np.column_stack([left, bottom, left + width, bottom + height])


def _legend(axes: Axes) -> Boxes:
    legend = axes.get_legend()
    return np.reshape(legend.get_window_extent().extents, (1, 4)) if legend else np.empty((0, 4))


def _overlaps(boxes: Boxes, obstacles: Boxes) -> np.ndarray:
    """Return which boxes cover which obstacles."""
    a, b = boxes[:, None], obstacles[None]
    across = (a[..., 0] < b[..., 2] + GAP) & (b[..., 0] < a[..., 2] + GAP)
    return np.asarray(across & (a[..., 1] < b[..., 3] + GAP) & (b[..., 1] < a[..., 3] + GAP))


def _inside(dots: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Return for each box which dots are in it, (box, dot)."""
    x, y = dots[None, :, 0], dots[None, :, 1]
    left, bottom, right, top = (boxes[:, i, None] for i in range(4))
    return np.asarray((x > left) & (x < right) & (y > bottom) & (y < top))


def _nearest(boxes: Boxes, spot: np.ndarray) -> np.ndarray:
    """Return the position in each box nearest to one point, or to one point for each box."""
    return np.asarray(np.clip(spot, boxes[:, :2], boxes[:, 2:]))


def _gaps(boxes: Boxes, spots: np.ndarray) -> np.ndarray:
    """Return the distance of each box to each point."""
    near = np.clip(spots[None], boxes[:, None, :2], boxes[:, None, 2:])
    return np.asarray(np.hypot(*np.moveaxis(near - spots[None], -1, 0)))


def _crossings(
    starts: np.ndarray, end: np.ndarray, from_: np.ndarray, to: np.ndarray
) -> np.ndarray:
    """Return how many of the lines ``from_`` - ``to`` each line to ``end`` crosses."""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        one, two = b - a, c - a
        return np.asarray(np.sign(one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]))

    a, b, c, d = starts[:, None], end[None, None], from_[None], to[None]
    parts = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return np.asarray(parts.sum(axis=1))


def _annotate(axes: Axes, label: Label, scene: _Scene, index: int, box: np.ndarray) -> Annotation:
    """Write a label into its box, with a line to its point where another point is as near."""
    spot = scene.spots[index]
    gaps = _gaps(box[None], scene.spots)[0]
    is_near = gaps[index] <= LEADER_GAP and gaps[index] <= np.delete(gaps, index).min(initial=1e9)
    text = axes.annotate(
        label.text,
        (label.x, label.y),
        textcoords="offset points",
        xytext=tuple(box[:2] - spot),
        fontsize=FONT_SIZE,
        fontweight="bold" if label.is_bold else "normal",
        color="black" if label.is_bold else "0.25",
        annotation_clip=False,
        arrowprops=None if is_near else _leader(box, spot),
        zorder=5,
    )
    text.set_in_layout(False)
    return text


def _leader(box: np.ndarray, spot: np.ndarray) -> dict[str, object]:
    """Return a line from a label's nearest edge to its point."""
    end = (np.clip(spot, box[:2], box[2:]) - box[:2]) / (box[2:] - box[:2])
    return {
        "arrowstyle": "-",
        "color": "0.55",
        "linewidth": 0.6,
        "relpos": (float(end[0]), float(end[1])),
        "shrinkA": 0,
        "shrinkB": 3,
    }
