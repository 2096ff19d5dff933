"""BitMoD's PE followed by its dequantizer, as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned_dots import aligned_dots
from numerics.pe.dequantizer import SCALE_BITS, ColumnDot, check_accumulator, columns
from numerics.pe.rounding import RoundingPe
from rtl.arithmetic.units import in_units
from rtl.element import Obligation
from rtl.fields import Field, Integers, Operands
from rtl.pe.aligned.element import AlignedPe
from rtl.pe.column.circuit import Column
from rtl.pe.dequantizer.element import DequantizerPe
from rtl.pe.fp16_mac.element import fp32_numbers

#: Number of groups of a random channel.
CHANNEL_GROUPS = 3
#: Fields of a beat with one code per lane.
ELEMENTS = ("weights", "activations")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPe(AlignedPe, layer="rtl.pe.column.layer"):
    """Exponent-aligned dot products of groups, times their scales, added up in FP32."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Weights, activations, and the scale and end of a group."""
        most = (1 << SCALE_BITS) - 1
        return (
            *super(ColumnPe, self).fields,
            Integers(
                name="scale",
                words="unsigned, of the group that ends in this beat",
                high=most + 1,
                extremes=(1, most),
            ),
            Integers(
                name="ends_group",
                words="1 in the last beat of a group",
                high=2,
                extremes=(0,),
                usual=0,
            ),
        )

    @property
    def latency(self) -> int:
        """Cycles after the last beat: one for the group's result, and one per bit of its scale."""
        return 1 + SCALE_BITS

    @property
    def group_beats(self) -> int:
        """Number of beats of the shortest group that does not stall for the dequantizer."""
        return -(-SCALE_BITS // self.cycles)

    @property
    def dots_per_result(self) -> int:
        """Number of groups of a random channel, each a dot product with a separate scale."""
        return CHANNEL_GROUPS

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats, lanes, rounding."""
        model = self.model
        operands = f"{self.weights.name} weights and FP16 activations"
        shifts = f"{model.guard_bits} guard bits, shifts {model.rounding}"
        return (
            f"{self.name}: sums of groups of {operands}, times {SCALE_BITS}-bit scales",
            f"{self.source}; {self.lanes} lanes, {self.cycles} cycles a beat; {shifts}",
            f"groups of {self.group_beats} beats or more do not stall",
        )

    @property
    def result_meaning(self) -> str:
        """The FP32 code of a channel, and its unit."""
        return f"the FP32 code of a channel{in_units(self.model.generator.unit)}"

    @property
    def last_meaning(self) -> str:
        """The last beat of a channel."""
        return "1 in the last beat of a channel"

    @property
    def rounding_model(self) -> RoundingPe:
        """The golden model."""
        return ColumnDot(model=self.model)

    def random_beats(self, seed: int) -> int:
        """Return the beats of random channels: a few groups each."""
        return CHANNEL_GROUPS * self.group_beats

    def build(self) -> Column:
        """Return a new component."""
        self.model.check(self.length)
        check_accumulator(self.model)
        return Column(self.model)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the FP32 codes; all channels must end their groups in the same beats."""
        ends = operands["ends_group"][:, :, 0] != 0
        if (ends != ends[0]).any():
            raise ValueError(
                "channels end their groups in different beats; pass one channel at a time"
            )
        stops = sorted({*(np.flatnonzero(ends[0]) + 1).tolist(), ends.shape[1]})
        groups = [
            aligned_dots(self.model, *self.rows({n: operands[n][:, start:stop] for n in ELEMENTS}))
            for start, stop in zip([0, *stops], stops, strict=False)
        ]
        mantissas, exponents = (np.stack(parts, axis=-1) for parts in zip(*groups, strict=True))
        scales = operands["scale"][:, [stop - 1 for stop in stops], 0]
        sums: np.ndarray = columns(
            mantissas, exponents, scales.astype(np.int64), guard_bits=self.model.guard_bits
        )
        return sums.view(np.uint32).astype(np.int64)

    def scheme(self) -> str:
        """Return BitMoD's scheme with 8-bit scales of groups."""
        assert isinstance(self.weights, SelectedFormat)
        return f"bitmod-fp{self.weights.code_bits}-s8-hw"

    def values(self, results: np.ndarray) -> np.ndarray:
        """Return the values of FP32 codes, times the weights' unit."""
        return fp32_numbers(results) * np.float32(self.model.generator.unit)

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return random channels, with groups as short as :attr:`group_beats`."""
        return _in_groups(AlignedPe.random(self, groups, seed=seed), self.group_beats)

    def corners(self) -> Operands:
        """Return channels of two groups each, of extreme elements and scales."""
        return _in_groups(AlignedPe.corners(self), self.longest_beats // 2)

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return Gaussian elements; each channel is one group.

        Scales have a separate random generator, so that operands are those of the stored record.
        """
        found = _in_groups(AlignedPe.typical(self, groups, seed=seed), self.typical_beats)
        shape = found["scale"].shape
        return found | {"scale": np.random.default_rng(seed).integers(1, 1 << SCALE_BITS, shape)}

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of the aligned PE and of the dequantizer."""
        behind = DequantizerPe(name=self.name, source=self.source, model=self.model)
        return (*AlignedPe.obligations(self), *behind.obligations())


def _in_groups(operands: Operands, beats: int) -> Operands:
    """Return operands with ``ends_group`` set for groups of ``beats``."""
    shape = operands["ends_group"].shape
    ends = np.arange(1, shape[1] + 1)[:, None] % beats == 0
    return {**operands, "ends_group": np.broadcast_to(ends, shape).astype(np.int64)}
