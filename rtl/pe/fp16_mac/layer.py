"""Layers with FP16 weights and activations."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from numerics.pe.product import fp16_product
from rtl.layer.layer import USUAL_TILE, Layer, with_lanes
from rtl.pe.fp16_mac.element import Fp16MacPe
from rtl.pe.rows_layer import fp16_codes, row_layer


def layer(
    pe: Fp16MacPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer in FP16, whose groups are whole rows of the weight matrix."""
    pe = replace(with_lanes(pe, lanes or pe.lanes), length=weight.shape[1])
    return row_layer(
        pe,
        fp16_codes(weight),
        fp16_codes(x),
        tile or USUAL_TILE,
        group=weight.shape[1],
        scales=np.ones((len(weight), 1), np.float32),
        token_scales=np.ones(len(x), np.float32),
        expected=np.asarray(fp16_product(jnp.asarray(x), jnp.asarray(weight))),
    )
