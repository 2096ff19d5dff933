"""A tile: PEs in lockstep that share activations and have separate weights.

Scales, zero points and selectors of weights are separate too. A tile has the two streams of a PE:
all PEs accept a beat in the same cycle, and one result holds the numbers of all PEs, so that a tile
of ``columns`` PEs computes ``columns`` outputs of a linear layer.
"""

from dataclasses import dataclass, replace

import numpy as np
from amaranth.hdl import Module, Shape, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.element import LONG_SEEDS, Obligation, ProcessingElement
from rtl.fields import Field, Operands

#: Fields of a beat that all PEs share.
SHARED = ("activations", "load", "left_out", "ends_group", "last")


class TileCircuit(wiring.Component):
    """PEs in lockstep, which share all operands but their weights."""

    def __init__(self, pe: ProcessingElement, columns: int) -> None:
        if columns < 1:
            raise ValueError(f"a tile of {columns} PEs; give at least 1")
        self._pe, self._columns = pe, columns
        fields = dict(pe.operand_layout.members)
        if "activations" not in fields:
            raise ValueError(f"{pe.name} has no activations that the PEs of a tile can share")
        for name in own_fields(pe):
            shape, length = fields[name], 1
            if isinstance(shape, data.ArrayLayout):
                shape, length = shape.elem_shape, shape.length
            fields[name] = data.ArrayLayout(shape, length * columns)
        results = data.ArrayLayout(pe.result_shape, columns)
        super().__init__(
            {
                "operands": In(stream.Signature(data.StructLayout(fields))),
                "result": Out(stream.Signature(results)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        beat, result = self.operands.payload, self.result
        elements = [self._pe.build() for _ in range(self._columns)]
        # The handshakes of all PEs are in the same state; only their accumulators differ.
        m.d.comb += self.operands.ready.eq(elements[0].operands.ready)
        m.d.comb += result.valid.eq(elements[0].result.valid)
        for column, element in enumerate(elements):
            m.submodules[f"pe_{column}"] = element
            own = element.operands.payload
            for name in self._pe.operand_layout.members:
                whole = Value.cast(beat[name])
                width = len(Value.cast(own[name]))
                part = whole if name in SHARED else whole.word_select(column, width)
                m.d.comb += Value.cast(own[name]).eq(part)
            m.d.comb += [
                element.operands.valid.eq(self.operands.valid),
                element.result.ready.eq(result.ready),
                Value.cast(result.payload[column]).eq(Value.cast(element.result.payload)),
            ]
        return m


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePe(ProcessingElement):
    """``columns`` copies of a PE; a result holds one number per PE."""

    pe: ProcessingElement
    columns: int

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a PE; weights and their scales have ``columns`` times the lanes."""
        own = own_fields(self.pe)
        return tuple(
            replace(field, lanes=field.lanes * self.columns) if field.name in own else field
            for field in self.pe.fields
        )

    @property
    def weight_name(self) -> str:
        """Short name of a PE's weights."""
        return self.pe.weight_name

    @property
    def activation_name(self) -> str:
        """Short name of a PE's activations."""
        return self.pe.activation_name

    @property
    def result_meaning(self) -> str:
        """Meaning of a PE's result."""
        return self.pe.result_meaning

    @property
    def last_meaning(self) -> str:
        """Meaning of ``last`` for a PE."""
        return self.pe.last_meaning

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: notes of the PE, and the number of PEs."""
        shared = f"{self.columns} PEs in lockstep, with separate weights and shared activations"
        return (*self.pe.notes, shared)

    @property
    def cycles(self) -> int:
        """Cycles per beat of a PE."""
        return self.pe.cycles

    @property
    def latency(self) -> int:
        """Cycles from the last beat of a group to its result, of a PE."""
        return self.pe.latency

    @property
    def numbers_per_result(self) -> int:
        """Numbers in a result of the tile: one for each PE."""
        return self.columns

    @property
    def number_shape(self) -> Shape:
        """Width and sign of a PE's number."""
        return self.pe.result_shape

    def build(self) -> TileCircuit:
        """Return a new component."""
        return TileCircuit(self.pe, self.columns)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the results of every PE."""
        own = own_fields(self.pe)
        parts = zip(*(np.split(operands[name], self.columns, axis=2) for name in own), strict=True)
        found = [
            self.pe.golden({**operands, **dict(zip(own, part, strict=True))}) for part in parts
        ]
        return np.stack(found, axis=1) if self.columns > 1 else found[0]

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return random groups of a PE, with weights for each."""
        return self._widened([self.pe.random(groups, seed=seed + i) for i in self._seeds()])

    def corners(self) -> Operands:
        """Return a PE's corner cases; in one group, each PE has the weights of a different case."""
        found = self.pe.corners()
        return self._widened(
            [
                {name: np.roll(codes, column, axis=0) for name, codes in found.items()}
                for column in range(self.columns)
            ]
        )

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return Gaussian groups of a PE, with weights for each."""
        return self._widened([self.pe.typical(groups, seed=seed + i) for i in self._seeds()])

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of a PE."""
        return self.pe.obligations()

    def _seeds(self) -> range:
        # The number of beats repeats with this period in the seed.
        return range(0, LONG_SEEDS * self.columns, LONG_SEEDS)

    def _widened(self, found: list[Operands]) -> Operands:
        wide = {n: np.concatenate([one[n] for one in found], axis=2) for n in own_fields(self.pe)}
        return {**found[0], **wide}


def own_fields(pe: ProcessingElement) -> list[str]:
    """Return the fields of a beat that the PEs of a tile do not share.

    >>> from rtl.catalog import PES
    >>> own_fields(PES["mxfp4-dot"])
    ['weights', 'scales', 'lowest']
    """
    return [name for name in pe.operand_layout.members if name not in SHARED]
