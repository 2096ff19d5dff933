"""BitMoD's PE with its dequantizer as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned_arrays import aligned_dots
from numerics.pe.dequantizer import SCALE_BITS, ColumnDot, check_accumulator, columns
from numerics.pe.rounding import RoundingPe
from rtl.arithmetic.units import in_units
from rtl.element import Obligation
from rtl.fields import Field, Integers, Operands
from rtl.pe.aligned.element import AlignedPe
from rtl.pe.column.circuit import Column
from rtl.pe.dequantizer.element import DequantizerPe
from rtl.pe.fp16_mac.element import fp32_numbers

#: Groups of a random channel.
CHANNEL_GROUPS = 3
#: Fields of a beat that have lanes.
ELEMENTS = ("weights", "activations")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPe(AlignedPe, layer="rtl.pe.column.layer"):
    """Groups of an aligned PE times their scales, summed in FP32."""

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
        """The group's end, and the bits of its scale."""
        return 1 + SCALE_BITS

    @property
    def group_beats(self) -> int:
        """Beats of the shortest group that the dequantizer keeps up with."""
        return -(-SCALE_BITS // self.cycles)

    @property
    def dots_per_result(self) -> int:
        """Groups of a random channel, each a dot product with a scale of its own."""
        return CHANNEL_GROUPS

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats, lanes, rounding."""
        model = self.model
        operands = f"{self.weights.name} weights and FP16 activations"
        shifts = f"{model.guard_bits} guard bits, shifts {model.rounding}"
        return (
            f"{self.name}: sums of groups of {operands}, times {SCALE_BITS}-bit scales",
            f"{self.source}; {self.lanes} lanes, {self.cycles} cycles a beat; {shifts}",
            f"groups of {self.group_beats} beats or more don't wait",
        )

    @property
    def result_meaning(self) -> str:
        """A number."""
        return f"the FP32 code of a channel{in_units(self.model.generator.unit)}"

    @property
    def last_meaning(self) -> str:
        """The end of a channel."""
        return "1 in the last beat of a channel"

    @property
    def rounding_model(self) -> RoundingPe:
        """The model of a channel."""
        return ColumnDot(model=self.model)

    def random_beats(self, seed: int) -> int:
        """Return those of a few groups."""
        return CHANNEL_GROUPS * self.group_beats

    def build(self) -> Column:
        """Return a new component."""
        self.model.check(self.length)
        check_accumulator(self.model)
        return Column(self.model)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the codes of the sums; all channels end their groups in the same beats."""
        ends = operands["ends_group"][:, :, 0] != 0
        if (ends != ends[0]).any():
            raise ValueError("channels end their groups in different beats; give them one by one")
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
        """Return the numbers of FP32 codes, times the weights' unit."""
        return fp32_numbers(results) * np.float32(self.model.generator.unit)

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return channels of the shortest groups."""
        return _in_groups(AlignedPe.random(self, groups, seed=seed), self.group_beats)

    def corners(self) -> Operands:
        """Return channels of two groups each, of extreme elements and scales."""
        return _in_groups(AlignedPe.corners(self), self.longest_beats // 2)

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return Gaussian elements, each channel one group.

        Scales come from a generator of their own, as those of the stored record.
        """
        found = _in_groups(AlignedPe.typical(self, groups, seed=seed), self.typical_beats)
        shape = found["scale"].shape
        return found | {"scale": np.random.default_rng(seed).integers(1, 1 << SCALE_BITS, shape)}

    def obligations(self) -> tuple[Obligation, ...]:
        """Return those of the PE and of its dequantizer."""
        behind = DequantizerPe(name=self.name, source=self.source, model=self.model)
        return (*AlignedPe.obligations(self), *behind.obligations())


def _in_groups(operands: Operands, beats: int) -> Operands:
    """Return operands with the ends of groups of some beats."""
    shape = operands["ends_group"].shape
    ends = np.arange(1, shape[1] + 1)[:, None] % beats == 0
    return {**operands, "ends_group": np.broadcast_to(ends, shape).astype(np.int64)}
