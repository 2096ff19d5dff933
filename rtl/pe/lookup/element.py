"""TL1 and TL2 as processing elements."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from amaranth.hdl import signed as signed_shape

from numerics.pe.lookup import tl1_dots, tl2_dots
from rtl.arithmetic.group_sum import accumulator_width, pack_columns, signed_codes
from rtl.element import Obligation, ProcessingElement
from rtl.fields import BeatShape, Codes, Field, Integers, Operands
from rtl.pe import nearest
from rtl.pe.lookup.circuit import (
    CODE_BITS,
    INT8,
    Entry,
    EntryReference,
    Lookup,
    column_bits,
    number_of_code,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCodes(Integers):
    """Codes of ``size`` ternary weights; random operands include unused codes."""

    size: int

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return uniform codes, without unused ones."""
        return random.choice([code for code in self.extremes if self._is_used(code)], shape)

    def _is_used(self, code: int) -> bool:
        """Return whether a code stands for weights; a zero with a sign is unused."""
        return number_of_code(code, self.size) != 0 or code == (4 if self.size == 2 else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupPe(ProcessingElement, layer="rtl.pe.lookup.layer"):
    """Dot products of ternary weights, ``size`` per code; columns share the look-up tables."""

    weight_field: ClassVar[str] = "codes"
    size: int
    columns: int = 3
    #: Accumulator width in bits; ``None``: the width that is exact for every group.
    accumulator_bits: int | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Codes of weights, and activations."""
        code = "9 t0 + 3 t1 + t2, its magnitude in 4 bits below its sign"
        if self.size == 2:
            code = "3 t0 + t1 + 4"
        high = 1 << CODE_BITS[self.size]
        return (
            TableCodes(
                name="codes",
                label=f"tl{self.size - 1}",
                words=f"table by table, one per column: {code} of weights t; others count as 0",
                lanes=self.columns * self.tables,
                high=high,
                extremes=range(high),
                size=self.size,
            ),
            Codes(name="activations", lanes=self.inputs, format=INT8, words="int8, by table"),
        )

    @property
    def inputs(self) -> int:
        """Number of activations per beat."""
        return self.size * self.tables

    @property
    def tables(self) -> int:
        """Number of tables per beat."""
        per_table = self.size * self.columns
        if self.lanes < per_table or self.lanes % per_table:
            raise ValueError(
                f"{self.lanes} lanes for {self.columns} columns with codes of {self.size} weights;"
                f" give a multiple of {per_table}"
            )
        return self.lanes // per_table

    @property
    def dots_per_result(self) -> int:
        """Number of columns."""
        return self.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: weights, columns, tables and lengths."""
        tables = f"{self.tables} tables of {self.size} int8 activations per beat"
        return (
            f"{self.name}: ternary weights by table lookup; {self.source}",
            f"{self.columns} columns, {tables}, groups of up to {self.length} activations",
        )

    @property
    def result_meaning(self) -> str:
        """The dot products of the columns."""
        return "the dot product of each column"

    @property
    def nearest_sweep(self) -> str:
        """Comparison with the sweep of ternary weights."""
        return nearest.PLAIN

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        need = column_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} activations")

    def build(self) -> Lookup:
        """Return a new component."""
        return Lookup(size=self.size, columns=self.columns, tables=self.tables, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums of table entries, column by column."""
        groups, beats, _ = operands["codes"].shape
        by_table = operands["codes"].reshape(groups, beats * self.tables, self.columns)
        codes = by_table.transpose(0, 2, 1)
        row = signed_codes(operands["activations"].reshape(groups, 1, -1))
        activations = np.broadcast_to(row, (groups, self.columns, row.shape[-1]))
        if self.size == 2:
            sums = tl1_dots(codes, activations)
        else:
            sums = tl2_dots(codes & 15, codes >> 4, activations)
        return pack_columns(np.asarray(sums), signed_shape(self.sum_bits))

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligation of a table entry."""
        return (
            Obligation(
                what="table entry equals the weights' sum",
                circuit=lambda: Entry(self.size),
                reference=lambda: EntryReference(self.size),
                input_bits=CODE_BITS[self.size] + 8 * self.size,
            ),
        )
