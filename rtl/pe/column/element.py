"""BitMoD's PE with its dequantizer as a processing element."""

from dataclasses import dataclass

import numpy as np

from numerics.formats import Format
from numerics.pe.aligned_arrays import aligned_dots
from numerics.pe.dequantizer import SCALE_BITS, check_accumulator, columns
from rtl.element import Obligation, Operands
from rtl.pe.aligned.element import AlignedPe
from rtl.pe.column.circuit import Column
from rtl.pe.dequantizer.element import DequantizerPe
from rtl.verilog.header import in_units

#: Groups of a random channel.
CHANNEL_GROUPS = 3
#: Fields of a beat that have lanes.
ELEMENTS = ("weights", "activations")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPe(AlignedPe):
    """Groups of an aligned PE times their scales, summed in FP32."""

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
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        return {
            **super(ColumnPe, self).meanings,
            "scale": "unsigned, of the group that ends in this beat",
            "ends_group": "1 in the last beat of a group",
            "last": "1 in the last beat of a channel",
        }

    @property
    def result_meaning(self) -> str:
        """A number."""
        return f"the FP32 code of a channel{in_units(self.model.generator.unit)}"

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

    def _in_groups(self, elements: Operands, beats: int, scales: np.ndarray) -> Operands:
        """Return elements with the ends of groups of some beats, and scales."""
        shape = elements["weights"].shape[:2]
        ends = np.broadcast_to(np.arange(1, shape[1] + 1) % beats == 0, shape).astype(np.int64)
        return {**elements, "scale": scales[..., None], "ends_group": ends[..., None]}

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return channels of the shortest groups."""
        scales = np.random.default_rng(seed).integers(
            0, 1 << SCALE_BITS, (groups, self.random_beats(seed))
        )
        return self._in_groups(AlignedPe.random(self, groups, seed=seed), self.group_beats, scales)

    def corners(self) -> Operands:
        """Return channels of two groups each, of extreme elements and scales."""
        elements = AlignedPe.corners(self)
        groups, beats, _ = elements["weights"].shape
        scales = np.where(np.arange(groups)[:, None] % 2, (1 << SCALE_BITS) - 1, 1)
        return self._in_groups(elements, beats // 2, np.broadcast_to(scales, (groups, beats)))

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return Gaussian elements, each channel one group."""
        elements = AlignedPe.typical(self, groups, seed=seed)
        shape = elements["weights"].shape[:2]
        scales = np.random.default_rng(seed).integers(1, 1 << SCALE_BITS, shape)
        return self._in_groups(elements, shape[1], scales)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return those of the PE and of its dequantizer."""
        behind = DequantizerPe(name=self.name, source=self.source, model=self.model)
        return (*AlignedPe.obligations(self), *behind.obligations())
