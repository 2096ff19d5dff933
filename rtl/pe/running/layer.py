"""Layers of MixPE's W4A16 with a short accumulator."""

import numpy as np

from rtl.layer.layer import Layer
from rtl.pe.rows_layer import rounding_layer
from rtl.pe.running.element import RunningPe


def layer(
    pe: RunningPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with FP16 activations and a scale for each group of weights."""
    return rounding_layer(pe, weight, x, lanes=lanes, tile=tile)
