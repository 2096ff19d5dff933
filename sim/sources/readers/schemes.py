"""Element schemes of stored codes and scales, and of activations that a checkpoint asks for."""

import numpy as np
from jaxtyping import Shaped

from numerics.arithmetic.float32 import MAX_FLOAT32, MIN_NORMAL
from numerics.formats import Format, IntFormat
from numerics.formats import constants as c
from numerics.schemes.element import ElementScheme, ScaleRule, ZeroPoint, default_rule
from numerics.schemes.granularity import Granularity, PerTensor, PerToken
from numerics.schemes.scheme import Scheme

#: Scale format of each storage type.
SCALE_FORMATS = {
    "F16": c.FP16, "BF16": c.BF16, "F32": c.FP32, "F8_E4M3": c.E4M3, "F8_E8M0": c.E8M0,
    "U8": c.E8M0,
}  # fmt: skip


def stored_scheme(
    element: Format,
    granularity: Granularity,
    scale_type: str,
    *,
    two_level: bool = False,
) -> ElementScheme:
    """Return the scheme of stored codes; unsigned integers have integer zero points."""
    scale_format = SCALE_FORMATS[scale_type]
    is_unsigned = isinstance(element, IntFormat) and element.kind == "unsigned"
    zero_point = ZeroPoint.INTEGER if is_unsigned else ZeroPoint.NONE
    return ElementScheme(
        element=element,
        granularity=granularity,
        scale_format=scale_format,
        rule=default_rule(element, scale_format, zero_point),
        zero_point=zero_point,
        second_level=PerTensor() if two_level else None,
    )


def scales_of(
    stored: np.ndarray, scheme: ElementScheme, shape: tuple[int, int]
) -> Shaped[np.ndarray, "..."]:
    """Return stored scales in the type and shape that a scheme has them in."""
    dtype = c.SCALE_DTYPES[scheme.scale_format]
    if stored.dtype == np.uint8:  # powers of two as bytes
        stored = stored.view(c.SCALE_DTYPES[c.E8M0])
    return stored.astype(dtype, copy=False).reshape(scheme.scale_shape(shape))


def dynamic_scheme(element: Format, granularity: Granularity | None = None) -> Scheme:
    """Return the scheme of activations with a float32 scale for each token or group."""
    return ElementScheme(
        element=element,
        granularity=granularity or PerToken(),
        scale_format=c.FP32,
        rule=ScaleRule.ABSMAX,
    )


def static_scheme(element: Format, scale: np.ndarray) -> Scheme:
    """Return the scheme of activations with one scale that was found beforehand.

    Raises ``ValueError`` for a scale that is not a normal positive float32.
    """
    number = float(np.max(scale.astype(np.float32))) if scale.size else 0.0
    if not MIN_NORMAL <= number <= MAX_FLOAT32:
        raise ValueError(f"a scale of activations is {number:g}; it must be above 0 and finite")
    return ElementScheme(
        element=element,
        granularity=PerTensor(),
        scale_format=c.FP32,
        rule=ScaleRule.ABSMAX,
        static_scale=number,
    )
