"""Layers of PEs of exact dot products."""

import numpy as np

from numerics import QuantizedTensor, grouped_dot
from numerics.formats import FP16
from numerics.pe.exact_product import exact_product
from rtl.layer.layer import (
    USUAL_LANES,
    USUAL_TILE,
    Layer,
    of_groups,
    quantized,
    unscaled,
    with_lanes,
)
from rtl.pe.dot_product.element import DotProductPe
from rtl.pe.rows_layer import fp16_codes, group_of, row_layer, row_weights


def layer(
    pe: DotProductPe, weight: np.ndarray, x: np.ndarray, *, lanes: int | None, tile: int | None
) -> Layer:
    """Return a layer with a scale per group of weights and, if quantized, per token."""
    pe = with_lanes(pe, lanes or USUAL_LANES)
    weights = row_weights(pe, weight)
    scales = of_groups(weights.scales, len(weight))
    if pe.activations == FP16:
        codes, token_scales = fp16_codes(x), np.ones(len(x), np.float32)
        numbers = codes.view(np.float16).astype(np.float32)
        expected = exact_product(
            numbers, unscaled(weights), group=group_of(pe), scales=scales, token_scales=token_scales
        )
    else:
        tokens = quantized(x, f"{pe.activation_name}:token:fp32")
        codes = np.asarray(tokens.codes)
        token_scales = np.asarray(tokens.scales).astype(np.float32).reshape(-1)
        expected = _expected(pe, tokens, weights, token_scales)
    return row_layer(
        pe,
        pe.codes(weights),
        codes,
        tile or USUAL_TILE,
        scales=scales,
        token_scales=token_scales,
        expected=expected,
    )


def _expected(
    pe: DotProductPe, tokens: QuantizedTensor, weights: QuantizedTensor, token_scales: np.ndarray
) -> np.ndarray:
    """Return the outputs with quantized activations; binary weights cannot use ``grouped_dot``."""
    if pe.weights.name != "binary":
        return np.asarray(grouped_dot(tokens, weights))
    return exact_product(
        unscaled(tokens),
        unscaled(weights),
        group=group_of(pe),
        scales=of_groups(weights.scales, weights.shape[0]),
        token_scales=token_scales,
    )
