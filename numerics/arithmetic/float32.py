"""Constants of float32, as values and as bits."""

#: Smallest normal float32.
MIN_NORMAL = 2.0**-126
#: Largest finite float32.
MAX_FLOAT32 = (2 - 2.0**-23) * 2.0**127

MAGNITUDE_MASK = 0x7FFF_FFFF
MANTISSA_MASK = 0x007F_FFFF
HIDDEN_BIT = 0x0080_0000
INFINITY_BITS = 0x7F80_0000
#: The quiet NaN without payload.
NAN_BITS = 0x7FC0_0000
MANTISSA_BITS = 23
BIAS = 127
#: Exponent of the smallest subnormal float32, the unit of all float32 numbers.
UNIT_EXPONENT = -149
