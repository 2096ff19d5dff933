"""TL1 and TL2 as processing elements."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import signed as signed_shape

from numerics.formats import Format
from numerics.pe.lookup import tl1_dots, tl2_dots
from rtl.arithmetic.group_sum import accumulator_width, pack_columns, signed_codes
from rtl.element import Obligation, Operands, ProcessingElement, few_beats, random_codes
from rtl.pe.dot_product.element import LENGTH, TYPICAL_BEATS, gaussian_codes
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
class LookupPe(ProcessingElement):
    """Columns of ternary weights, ``size`` of them in a code, at shared tables."""

    size: int
    columns: int = 3
    length: int = LENGTH
    #: Of each sum; as many as it needs if none.
    accumulator_bits: int | None = None

    @property
    def weight_name(self) -> str:
        """The packing of the weights."""
        return f"tl{self.size - 1}"

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return INT8.name

    @property
    def tables(self) -> int:
        """Tables of a beat."""
        per_table = self.size * self.columns
        if self.lanes < per_table or self.lanes % per_table:
            raise ValueError(
                f"{self.lanes} lanes for {self.columns} columns with codes of {self.size} weights;"
                f" give a multiple of {per_table}"
            )
        return self.lanes // per_table

    @property
    def dots_per_result(self) -> int:
        """One a column."""
        return self.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Weights, columns, units."""
        tables = f"{self.tables} tables of {self.size} int8 activations a beat"
        return (
            f"{self.name}: ternary weights by table lookup; {self.source}",
            f"{self.columns} columns, {tables}, groups of up to {self.length} activations",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        code = "9 t0 + 3 t1 + t2, its magnitude in 4 bits below its sign"
        if self.size == 2:
            code = "3 t0 + t1 + 4"
        return {
            "codes": f"by table, and of each by column: {code} of weights t; others count as 0",
            "activations": "int8, by table",
            "result": "the sum of each column",
        }

    @property
    def sum_bits(self) -> int:
        """Bits of each sum."""
        need = column_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} activations")

    def build(self) -> Lookup:
        """Return a new component."""
        return Lookup(size=self.size, columns=self.columns, tables=self.tables, bits=self.sum_bits)

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums of table entries."""
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

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats; codes of no weights are among them."""
        random = np.random.default_rng(seed)
        shape, bits = (groups, few_beats(seed)), CODE_BITS[self.size]
        return {
            "codes": random_codes(random, bits, (*shape, self.columns * self.tables)),
            "activations": random_codes(random, INT8.bits, (*shape, self.size * self.tables)),
        }

    def corners(self) -> Operands:
        """Return the longest groups with every code, each with extreme activations."""
        beats = self.length // (self.size * self.tables)
        codes, extremes = np.arange(1 << CODE_BITS[self.size]), np.array([0, 1, 127, 128, 255])
        pairs = np.stack(np.meshgrid(codes, extremes), axis=-1).reshape(-1, 1, 1, 2)
        shape = len(pairs), beats
        return {
            "codes": np.broadcast_to(pairs[..., 0], (*shape, self.columns * self.tables)),
            "activations": np.broadcast_to(pairs[..., 1], (*shape, self.size * self.tables)),
        }

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return codes of weights, each as often as any, and of Gaussian activations."""
        random = np.random.default_rng(seed)
        shape = groups, TYPICAL_BEATS
        used = [c for c in range(1 << CODE_BITS[self.size]) if self._is_used(c)]
        return {
            "codes": random.choice(used, (*shape, self.columns * self.tables)),
            "activations": gaussian_codes(INT8, random, (*shape, self.size * self.tables)),
        }

    def _is_used(self, code: int) -> bool:
        """Whether a code stands for weights, and zeros have no sign."""
        return number_of_code(code, self.size) != 0 or code == (4 if self.size == 2 else 0)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the entry of a code."""
        return (
            Obligation(
                what="table entry equals the weights' sum",
                circuit=lambda: Entry(self.size),
                reference=lambda: EntryReference(self.size),
                input_bits=CODE_BITS[self.size] + 8 * self.size,
            ),
        )
