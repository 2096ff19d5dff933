"""Significand and exponent of every FP16 code, as tables."""

import numpy as np

from numerics.pe.aligned import MANTISSA_BITS

_CODES = np.arange(2**16)
_FIELDS, _MANTISSAS = _CODES >> MANTISSA_BITS & 31, _CODES & 2**MANTISSA_BITS - 1
_SIZES = np.where(_FIELDS == 31, 0, _MANTISSAS + ((_FIELDS > 0) << MANTISSA_BITS))
#: Signed significand and exponent of every FP16 code.
SIGNIFICANDS = np.where(_CODES >> 15, -_SIZES, _SIZES)
EXPONENTS = np.where(_FIELDS == 31, 1, np.maximum(_FIELDS, 1))
