"""Layers of BitMoD's PE with special values."""

import numpy as np

from numerics import QuantizedTensor
from numerics.mixtures.bitmod import BitMod
from numerics.pe.rounding import WINDOWS
from rtl.layer.layer import Layer, in_all_beats
from rtl.pe.rows_layer import MoreFields, rounding_layer
from rtl.pe.special.element import SpecialPe


def layer(
    pe: SpecialPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with FP16 activations, and a scale and a special value for each group."""
    return rounding_layer(pe, weight, x, lanes=lanes, tile=tile, more=_special_values)


def _special_values(weights: QuantizedTensor) -> MoreFields:
    """Return a function of the field ``special``, equal in all beats of a group."""
    scheme = weights.scheme
    assert isinstance(scheme, BitMod)
    codes = np.array([WINDOWS.encode(fmt.special) for fmt in scheme.formats], np.uint8)
    specials = codes[np.asarray(weights.arrays["selectors"])]
    return lambda outputs, index, beats: {"special": in_all_beats(specials[outputs, index], beats)}
