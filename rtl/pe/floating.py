"""PEs with FP16 activations whose accumulator is a mantissa with an exponent."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from numerics.pe.aligned import UNIT_EXPONENT
from rtl.arithmetic.units import in_units
from rtl.pe.fp16_mac.element import Fp16Pe


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulator:
    """A two's complement mantissa below an unsigned exponent."""

    mantissa_bits: int
    #: Number of bits below the least bit of the product with the largest exponent.
    guard_bits: int
    #: Unit of the weights: the value of their least bit.
    unit: float

    @property
    def meaning(self) -> str:
        """Formula of the value of a result."""
        place = self.guard_bits - UNIT_EXPONENT
        return f"mantissa * 2^(exponent - {place}){in_units(self.unit)}"

    def pack(self, mantissas: np.ndarray, exponents: np.ndarray) -> np.ndarray:
        """Return mantissas and exponents as integers, with mantissas in the low bits.

        >>> accumulator = Accumulator(mantissa_bits=4, guard_bits=0, unit=1.0)
        >>> accumulator.pack(np.array([-1, 3]), np.array([2, 0])).tolist()
        [47, 3]
        """
        low = mantissas & ((1 << self.mantissa_bits) - 1)
        return np.asarray(exponents << self.mantissa_bits | low)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Return the float32 values of results."""
        sign = 1 << self.mantissa_bits - 1
        mantissas = (codes & 2 * sign - 1 ^ sign) - sign
        powers = (codes >> self.mantissa_bits) + UNIT_EXPONENT - self.guard_bits
        found = np.ldexp(mantissas.astype(np.float32), powers.astype(np.int32))
        return np.asarray(found * np.float32(self.unit))


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatingPe(Fp16Pe):
    """A PE whose results are its accumulator: mantissa and exponent."""

    @property
    @abstractmethod
    def accumulator(self) -> Accumulator:
        """Layout of the accumulator."""

    @property
    def result_meaning(self) -> str:
        """Formula of the value of a result."""
        return self.accumulator.meaning

    def values(self, results: np.ndarray) -> np.ndarray:
        """Return the float32 values of results."""
        return self.accumulator.values(results & (1 << self.result_shape.width) - 1)
