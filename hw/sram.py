"""Energy of a memory on the chip: a power law of its size, fitted to published points.

The points are those of Horowitz, ISSCC 2014, for 64-bit words at 45 nm and 0.9 V. Their energy
grows about as the square root of the size, as the length of word and bit lines does. The law is an
approximation: it misses its own points by up to :data:`FIT_ERROR`, and says nothing about ports,
banks or leakage.
"""

from math import exp, log

from hw.technology import node_factor

#: Bytes of a memory, and pJ to read a 64-bit word of it.
POINTS = ((8 * 1024, 10.0), (32 * 1024, 20.0), (1024 * 1024, 100.0))
WORD_BYTES = 8


def _fit() -> tuple[float, float]:
    """Return exponent and factor of the least squares of logarithms."""
    xs = [log(size) for size, _ in POINTS]
    ys = [log(energy / WORD_BYTES) for _, energy in POINTS]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    slope /= sum((x - mean_x) ** 2 for x in xs)
    return slope, exp(mean_y - slope * mean_x)


EXPONENT, FACTOR = _fit()
#: Largest relative error of the law at the points it was fitted to.
FIT_ERROR = max(abs(FACTOR * size**EXPONENT / (energy / WORD_BYTES) - 1) for size, energy in POINTS)


def access_energy_pj_per_byte(size_bytes: float, technology_nm: float = 45.0) -> float:
    """Return the energy of reading or writing one byte of a memory of ``size_bytes``.

    >>> round(access_energy_pj_per_byte(32 * 1024), 2), round(FIT_ERROR, 2)
    (2.45, 0.02)
    """
    if size_bytes <= 0:
        raise ValueError(f"a memory of {size_bytes:g} bytes; it needs more than 0")
    return float(FACTOR * size_bytes**EXPONENT * node_factor(technology_nm))
