"""A pytest plugin that breaks one rule of the numerics, named by the variable ``MUTATION``.

It imports them late, for another plugin wants to be first.
"""

import os


def half_away_from_zero():
    """Break ``cast._round_significand``: ties go up."""
    import jax.numpy as jnp

    import numerics.cast
    from numerics.float32 import BIAS, HIDDEN_BIT, MANTISSA_BITS, MANTISSA_MASK

    def rounded(fmt, magnitude):
        field, mantissa = magnitude >> MANTISSA_BITS, magnitude & MANTISSA_MASK
        significand = jnp.where(field > 0, mantissa | HIDDEN_BIT, mantissa)
        exponent = jnp.maximum(field, 1) - BIAS
        target = jnp.maximum(exponent, fmt.min_exponent)
        discarded = jnp.minimum(MANTISSA_BITS - fmt.mantissa_bits + target - exponent, 25)
        return (significand + (1 << (discarded - 1))) >> discarded, target

    numerics.cast._round_significand = rounded


def logarithm():
    """Break ``scales._power_of_two_scales``: the exponent is a logarithm rounded down."""
    import jax.numpy as jnp

    import numerics.scales
    from numerics.float32 import BIAS

    def scales(x, scheme):
        amax = jnp.max(jnp.abs(x), axis=-1)
        exponent = jnp.floor(jnp.log2(amax)) + BIAS - scheme.element.max_exponent
        codes = jnp.clip(jnp.where(amax > 0, exponent, 0), 0, 254).astype(jnp.uint8)
        # What is not finite is poison all the same.
        return jnp.where(jnp.isfinite(amax), codes, jnp.uint8(255)).view(jnp.float8_e8m0fnu)

    numerics.scales._power_of_two_scales = scales


def reciprocal():
    """Break ``scales.divide``: a product with the reciprocal."""
    import jax.numpy as jnp

    import numerics.scales

    numerics.scales.divide = lambda x, scale: x * (1 / jnp.asarray(scale))


MUTATIONS = {"half-away": half_away_from_zero, "log2": logarithm, "reciprocal": reciprocal}


def pytest_collection_finish():
    if wanted := os.environ["MUTATION"]:
        MUTATIONS[wanted]()
