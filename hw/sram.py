"""Energy, area and delay of an on-chip memory: power laws of its size, fitted to points.

The points of energy are those of Horowitz, ISSCC 2014, for 64-bit words at 45 nm and 0.9 V. Their
energy grows about as the square root of the size, as the length of word and bit lines does. The
points of area and delay are the macros of one port of OpenROAD's NanGate 45 nm platform
(``fakeram45_*.lib``, 1.1 V, read 2026-11), which CACTI made. The laws are approximations: they miss
their own points by up to :data:`FIT_ERROR`, :data:`AREA_ERROR` and :data:`ACCESS_ERROR`, and say
nothing about ports, banks or leakage. Energies of memories below 8 KiB, such as codebooks, are
extrapolated.
"""

from collections.abc import Sequence
from math import exp, log

from hw.technology import node_factor

#: Bytes of a memory, and energy in pJ to read a 64-bit word.
POINTS = ((8 * 1024, 10.0), (32 * 1024, 20.0), (1024 * 1024, 100.0))
WORD_BYTES = 8
#: Words and bits of a macro, its area in um2, and its delay from clock to output in ps.
MACROS = (
    (64, 64, 3817.100, 198.0),
    (128, 64, 5479.600, 233.0),
    (256, 32, 5065.704, 235.0),
    (256, 95, 13701.660, 292.0),
    (512, 64, 17301.438, 305.0),
    (1024, 32, 16406.082, 309.0),
    (2048, 39, 45478.818, 435.0),
)
#: Bits of the smallest macro; the laws of area and delay do not hold for smaller ones.
LEAST_BITS = 64 * 64
#: Source of the figures of memories in PE records.
MACRO_MODEL = (
    "one-port SRAM at 45 nm, whatever the library: area and access time by power laws of OpenROAD's"
    " fakeram45 macros (1.1 V), energy by that of Horowitz, ISSCC 2014 (0.9 V, from 8 KiB on), no"
    " leakage"
)


def _fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return exponent and factor of the least-squares line through the logarithms."""
    xs = [log(size) for size, _ in points]
    ys = [log(value) for _, value in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    slope /= sum((x - mean_x) ** 2 for x in xs)
    return slope, exp(mean_y - slope * mean_x)


def _error(points: Sequence[tuple[float, float]], exponent: float, factor: float) -> float:
    """Return the largest relative error of a power law at points."""
    return max(abs(float(factor * size**exponent) / value - 1) for size, value in points)


_ENERGIES = [(size, energy / WORD_BYTES) for size, energy in POINTS]
_AREAS = [(words * bits, area) for words, bits, area, _ in MACROS]
_ACCESSES = [(words * bits, time) for words, bits, _, time in MACROS]
EXPONENT, FACTOR = _fit(_ENERGIES)
_AREA, _ACCESS = _fit(_AREAS), _fit(_ACCESSES)
#: Largest relative errors of the laws at the points they were fitted to.
FIT_ERROR = _error(_ENERGIES, EXPONENT, FACTOR)
AREA_ERROR, ACCESS_ERROR = _error(_AREAS, *_AREA), _error(_ACCESSES, *_ACCESS)


def access_energy_pj_per_byte(size_bytes: float, technology_nm: float = 45.0) -> float:
    """Return the energy of reading or writing one byte of a memory of ``size_bytes``.

    >>> round(access_energy_pj_per_byte(32 * 1024), 2), round(FIT_ERROR, 2)
    (2.45, 0.02)
    """
    if size_bytes <= 0:
        raise ValueError(f"a memory of {size_bytes:g} bytes; the size is more than 0")
    return float(FACTOR * size_bytes**EXPONENT * node_factor(technology_nm))


def macro_area_um2(words: int, bits: int) -> float:
    """Return the area of a macro of one port at 45 nm.

    >>> round(macro_area_um2(256, 64)), round(AREA_ERROR, 2)
    (10189, 0.17)
    """
    return _of_size(_AREA, words, bits)


def macro_access_ps(words: int, bits: int) -> float:
    """Return the time from clock to output of a macro of one port at 45 nm.

    >>> round(macro_access_ps(256, 64)), round(ACCESS_ERROR, 2)
    (273, 0.08)
    """
    return _of_size(_ACCESS, words, bits)


def _of_size(law: tuple[float, float], words: int, bits: int) -> float:
    if words * bits < LEAST_BITS:
        raise ValueError(f"a macro of {words} x {bits} bits; laws hold from {LEAST_BITS} bits on")
    exponent, factor = law
    return float(factor * (words * bits) ** exponent)
