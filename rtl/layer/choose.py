"""A linear layer on a tile of PEs: the choice of scheme, group size, lanes and tile.

Weights are quantized in the scheme that the PE reads, in groups as long as the PE's. Activations
are quantized with a scale per token or per block, or rounded to FP16, as the PE requires. The sums
of groups are scaled and added in float32, in the order that :mod:`numerics.dot` defines.
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

    ``lanes`` changes the result of a PE whose sums round, and of no other.

    Raises
    ------
    ValueError
        The PE does not run such a layer; the message says why.
    """
    try:
        if tile is not None and tile > len(weight):
            raise ValueError(
                f"a tile of {tile} PEs for {len(weight)} outputs; give at most one per output"
            )
        return pe.layer(weight, x, lanes=lanes, tile=tile)
    except ValueError as error:
        raise ValueError(f"{pe.name} can't run a layer: {error}") from None
