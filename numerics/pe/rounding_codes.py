"""The codes of a quantized matrix as a PE whose sums round reads them."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import UInt8

from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.bitmod_scaled import BitModScaled
from numerics.pe.rounding import WINDOWS, RoundingPe
from numerics.pe.special import SpecialDot
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.tensor import QuantizedTensor


def pe_codes(weight: QuantizedTensor, pe: RoundingPe) -> UInt8[Array, "n k"]:
    """Return codes in the encoding that the PE reads.

    BitMoD's codes get the group's selector in their upper bits; a PE with the special value in a
    register reads codes of :class:`WindowFormat`.
    """
    scheme, codes = weight.scheme, weight.codes
    if not isinstance(scheme, BitMod | BitModScaled):
        return codes
    blocks = grouping.split_groups(codes, PerGroup(scheme.size))
    selectors = grouping.split_scales(weight.arrays["selectors"], blocks)
    chosen = [
        block | selector[..., None] << scheme.weight_bits
        for block, selector in zip(blocks, selectors, strict=True)
    ]
    selected: Array = grouping.join_groups(chosen, codes.shape)
    if not isinstance(pe, SpecialDot):
        return selected
    every = np.arange(1 << scheme.weight_bits)
    tables = [
        pe.window_codes(every, np.full_like(every, WINDOWS.encode(fmt.special)))
        for fmt in scheme.formats
    ]
    return jnp.asarray(np.concatenate(tables), jnp.uint8)[selected]
