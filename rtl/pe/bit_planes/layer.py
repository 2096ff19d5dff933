"""Layers with weights in nested codes."""

import jax.numpy as jnp
import numpy as np

from numerics import quantize
from numerics.formats import FP16, TableFormat
from numerics.pe.bit_planes import PARENT_BITS
from numerics.pe.bit_planes import weight as plane_weight
from numerics.schemes.element import ElementScheme
from numerics.schemes.granularity import PerGroup
from rtl.layer.layer import USUAL_TILE, Layer, of_groups, unscaled, whole_beats, with_lanes
from rtl.layer.vectors import vectors_layer
from rtl.pe.bit_planes.element import BitPlanesPe

#: Format of nested codes with all eight planes read; values are in half steps.
NESTED = TableFormat(
    name="nested8", table=tuple(float(plane_weight(c, PARENT_BITS)) for c in range(256))
)


def layer(
    pe: BitPlanesPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with evenly spaced codes, read in all planes."""
    pe = with_lanes(pe, lanes or pe.lanes)
    group = whole_beats(pe.length, pe.lanes)
    scheme = ElementScheme(element=NESTED, granularity=PerGroup(group), scale_format=FP16)
    q = quantize(jnp.asarray(weight), scheme)
    return vectors_layer(
        pe,
        np.asarray(q.codes),
        unscaled(q),
        x,
        tile or USUAL_TILE,
        group=group,
        codes_per_beat=pe.lanes,
        unit=1.0,
        scales=of_groups(q.scales, len(weight)),
    )
