"""Nested codes read in some of their planes, as a processing element."""

from dataclasses import dataclass, replace

import numpy as np

from numerics.formats import Format
from numerics.names.catalog import FORMATS
from numerics.pe.bit_planes import PARENT_BITS, plane_dots
from rtl.arithmetic.group_sum import accumulator_width, signed_codes
from rtl.element import (
    SPREAD,
    Obligation,
    Operands,
    ProcessingElement,
    few_beats,
    random_codes,
)
from rtl.pe.bit_planes.circuit import BitPlanes, SignedSum, SignedSumReference, sum_bits
from rtl.pe.dot_product.element import LENGTH, TYPICAL_BEATS, gaussian_codes

INT8 = FORMATS["int8"]
#: Lanes whose sum is proved; all lanes are alike.
PROVED_LANES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BitPlanesPe(ProcessingElement):
    """A plane of all lanes a cycle; costs are those of all eight planes."""

    length: int = LENGTH
    #: Of each sum; as many as it needs if none.
    accumulator_bits: int | None = None

    @property
    def weight_name(self) -> str:
        """Nested codes."""
        return "nested 8-bit"

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return INT8.name

    @property
    def cycles(self) -> int:
        """Cycles of a beat with every plane."""
        return PARENT_BITS

    @property
    def notes(self) -> tuple[str, ...]:
        """What the codes are, and the unit."""
        return (
            f"{self.name}: dot products of nested codes and int8 activations; {self.source}",
            f"{self.lanes} lanes, groups of up to {self.length}, a cycle for each plane read,",
            "sums in half steps of the planes read; all beats of a group leave out as many",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {
            "codes": "nested codes: with p planes read, the upper p bits c are 2 c - (2^p - 1)",
            "activations": INT8,
            "left_out": "8 less the planes read, as many in all beats of a group",
            "result": "the sum of products in half steps of the planes read",
        }

    @property
    def sum_bits(self) -> int:
        """Bits of each sum."""
        need = sum_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} products")

    def build(self) -> BitPlanes:
        """Return a new component."""
        if not 1 <= self.lanes <= self.length:
            raise ValueError(f"{self.lanes} lanes for groups of {self.length}; 1 to {self.length}")
        return BitPlanes(lanes=self.lanes, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sum of every beat's dot product in the planes it reads."""
        groups, beats, lanes = operands["codes"].shape
        codes = operands["codes"].reshape(-1, lanes)
        activations = signed_codes(operands["activations"].reshape(-1, lanes))
        planes = PARENT_BITS - operands["left_out"].reshape(-1)
        sums = plane_dots(codes, activations, planes)
        return np.asarray(sums.reshape(groups, beats).sum(axis=1))

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats; every group has its own number of planes."""
        random = np.random.default_rng(seed)
        shape = groups, few_beats(seed)
        left_out = random.integers(0, PARENT_BITS, (groups, 1, 1), np.uint8)
        return {
            "codes": random_codes(random, PARENT_BITS, (*shape, self.lanes)),
            "activations": random_codes(random, INT8.bits, (*shape, self.lanes)),
            "left_out": np.broadcast_to(left_out, (*shape, 1)),
        }

    def corners(self) -> Operands:
        """Return the longest groups of extremes, in every number of planes."""
        extremes = [0, 1, 127, 128, 255], [0, 1, 127, 128, 255], range(PARENT_BITS)
        corners = np.stack(np.meshgrid(*extremes), axis=-1).reshape(-1, 3)
        shape = len(corners), self.length // self.lanes
        codes, activations, left_out = (part.reshape(-1, 1, 1) for part in corners.T)
        return {
            "codes": np.broadcast_to(codes, (*shape, self.lanes)),
            "activations": np.broadcast_to(activations, (*shape, self.lanes)),
            "left_out": np.broadcast_to(left_out, (*shape, 1)),
        }

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return codes about the middle, all of their planes."""
        random = np.random.default_rng(seed)
        shape = groups, TYPICAL_BEATS, self.lanes
        about = random.normal(127.5, SPREAD * 127.5, shape)
        return {
            "codes": np.clip(np.rint(about), 0, 255).astype(np.int64),
            "activations": gaussian_codes(INT8, random, shape),
            "left_out": np.zeros((*shape[:2], 1), np.int64),
        }

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the sum of a plane."""
        return (
            Obligation(
                what=f"sum of a plane of {PROVED_LANES} lanes equals its definition",
                circuit=lambda: SignedSum(PROVED_LANES),
                reference=lambda: SignedSumReference(PROVED_LANES),
                input_bits=PROVED_LANES * (1 + INT8.bits),
            ),
        )

    def every_input(self) -> tuple[ProcessingElement, Operands]:
        """Return every code, activation and number of planes."""
        numbers = np.arange(1 << 19).reshape(-1, 1, 1)
        codes, activations, left_out = numbers >> 11, numbers >> 3 & 255, numbers & 7
        every = {"codes": codes, "activations": activations, "left_out": left_out}
        return replace(self, lanes=1), every
