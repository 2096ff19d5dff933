"""Layers with weights in E8P."""

import numpy as np

from rtl.layer.layer import (
    SMALL_TILE,
    Layer,
    of_groups,
    quantized,
    unscaled,
    whole_beats,
    with_lanes,
)
from rtl.layer.vectors import vectors_layer
from rtl.pe.e8p.element import E8pPe


def layer(
    pe: E8pPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with weights in E8P and a scale per row."""
    pe = with_lanes(pe, lanes or pe.lanes)
    q = quantized(weight, "e8p")
    return vectors_layer(
        pe,
        np.asarray(q.codes),
        unscaled(q),
        x,
        tile or SMALL_TILE,
        group=whole_beats(pe.length, pe.lanes),
        codes_per_beat=pe.codes,
        unit=0.25,
        scales=of_groups(q.scales, len(weight)),
    )
