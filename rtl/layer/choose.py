"""A linear layer in a PE's codes: weights and activations in, outputs from the PE's results.

Weights are quantized in the scheme that the PE reads, in groups as long as the PE's; activations
have one scale a token, or scales of blocks, or are rounded to FP16, whichever the PE reads. Groups
are scaled and added in float32, in the order that :mod:`numerics.dot` defines.
"""

import numpy as np

from rtl.element import ProcessingElement
from rtl.layer.layer import Layer


def layer_of(
    pe: ProcessingElement,
    weight: np.ndarray,
    x: np.ndarray,
    *,
    lanes: int | None = None,
    tile: int | None = None,
) -> Layer:
    """Return a layer, (outputs, inputs) at (tokens, inputs), for a tile of PEs.

    The lanes of a PE whose sums round decide what it rounds.

    Raises
    ------
    ValueError
        The PE does not run such a layer; the message says why.
    """
    try:
        if tile is not None and tile > len(weight):
            raise ValueError(
                f"a tile of {tile} PEs for {len(weight)} outputs; give at most as many"
            )
        return pe.layer(weight, x, lanes=lanes, tile=tile)
    except ValueError as error:
        raise ValueError(f"{pe.name} can't run a layer: {error}") from None
