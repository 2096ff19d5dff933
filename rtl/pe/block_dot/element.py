"""Block-scaled dot products as a processing element."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from numerics.formats import FloatFormat, Format
from numerics.pe.block_scale import BlockScaled
from numerics.pe.block_shift import BlockShifted
from numerics.pe.exact_dot import sum_bits
from rtl.arithmetic.decoder import decoder_obligations
from rtl.arithmetic.group_sum import accumulator_width
from rtl.arithmetic.products import reference_product
from rtl.arithmetic.scalers import (
    ScaleValue,
    ScaleValueReference,
    Shifted,
    ShiftedReference,
    scale_formats,
)
from rtl.arithmetic.terms import Serial
from rtl.arithmetic.units import in_units, power
from rtl.element import LONG_BEATS, Obligation, ProcessingElement, few_beats
from rtl.fields import BeatShape, Codes, Field, Operands
from rtl.pe import nearest
from rtl.pe.block_dot.circuit import BlockDot
from rtl.pe.dot_product.circuit import ProductFactory

#: Number of blocks in the shortest long random group, whose last block is incomplete.
RANDOM_BLOCKS = 1.5
TYPICAL_BLOCKS = 5
#: Standard deviation of the exponents of typical scales, in powers of two.
SCALE_SPREAD = 2
#: Largest differences of exponents in random groups: between scales, and of window and scales.
NEAR_SCALES, NEAR_WINDOW = 12, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales(Codes):
    """Scales of blocks; typical floating-point scales are near 1, integer scales near 100."""

    @property
    def corners(self) -> Sequence[int]:
        """Codes at both ends of each sign, and the codes of 1, of 0.5 and of the largest scale."""
        fmt, half = self.format, 1 << self.format.bits - 1
        ends = {0, 1, half - 2, half - 1, half, half + 1, 2 * half - 2, 2 * half - 1}
        return sorted(ends | {fmt.encode(1.0), fmt.encode(0.5), fmt.encode(fmt.max)})

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return powers of two with Gaussian exponents, or uniform integers."""
        exponents = random.normal(0.0, SCALE_SPREAD, shape)
        if isinstance(self.format, FloatFormat):
            flat = [self.format.encode(2.0**exponent) for exponent in exponents.ravel().tolist()]
            return np.array(flat).reshape(shape)
        return random.integers(64, 128, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts(Scales):
    """Power-of-two scales of blocks; the random scales of a group are close to one another."""

    def random(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return scales close to a random one for each group."""
        base = random.integers(0, 256, (shape[0], 1, shape[2]))
        near = random.integers(-NEAR_SCALES, NEAR_SCALES + 1, shape)
        return np.asarray(np.clip(base + near, 0, 255))

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return scales near 1."""
        return 127 + np.rint(random.normal(0.0, SCALE_SPREAD, shape)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Field):
    """The field ``lowest``: the sum of scale codes that is worth one unit of the result.

    The window above it holds the scales that add exactly; random scales lie inside and outside it.
    """

    model: BlockShifted

    @property
    def corners(self) -> Sequence[int]:
        """Zero, small and large windows."""
        return [0, 1, 127, 254, (1 << self.model.lowest_bits) - 1]

    def random(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return a window near the first scales of each group."""
        below = random.integers(-NEAR_WINDOW, self.model.shifts + NEAR_WINDOW, (shape[0], 1, 1))
        first = drawn["scales"][:, :1].sum(axis=2, keepdims=True) - below
        return np.broadcast_to(np.clip(first, 0, (1 << self.model.lowest_bits) - 1), shape)

    def typical(self, random: np.random.Generator, shape: BeatShape, drawn: Operands) -> np.ndarray:
        """Return a window that starts below typical scales."""
        return np.full(shape, 127 * self.model.scales - 8 * SCALE_SPREAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDotPe(ProcessingElement, layer="rtl.pe.block_dot.layer"):
    """Block-scaled dot products of a model: MX, NVFP4 and their like."""

    model: BlockScaled | BlockShifted
    product: ProductFactory
    #: Accumulator width in bits; ``None``: the width that is exact for every group.
    accumulator_bits: int | None = None
    #: Term circuit that adds one term of each product per cycle; ``None``: whole products.
    serial: Serial | None = None

    @property
    def formats(self) -> Mapping[str, Format]:
        """Formats of the elements."""
        return {"weights": self.model.weights, "activations": self.model.activations}

    @property
    def fields(self) -> tuple[Field, ...]:
        """Elements, scales, and for power-of-two scales the window."""
        elements = (
            Codes(name=name, lanes=self.lanes, format=fmt) for name, fmt in self.formats.items()
        )
        formats, is_shifted = scale_formats(self.model), isinstance(self.model, BlockShifted)
        scales = (Shifts if is_shifted else Scales)(
            name="scales",
            words="of the block, the weights' first; read in its last beat",
            lanes=len(formats),
            format=formats[0],
        )
        return (*elements, scales, *self._window)

    @property
    def _window(self) -> tuple[Field, ...]:
        if not isinstance(self.model, BlockShifted):
            return ()
        words = "sum of scales that is worth one unit, equal in all beats of a group"
        return (Window(name="lowest", words=words, model=self.model),)

    @property
    def cycles(self) -> int:
        """Cycles of a beat: the terms of a product, one after another."""
        return self.serial.cycles if self.serial else 1

    @property
    def latency(self) -> int:
        """Two cycles: the inner stage and the scaling stage."""
        return 2

    @property
    def beats(self) -> int:
        """Number of beats of a block."""
        return self.model.block // self.lanes

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the Verilog's head: formats, blocks, scales."""
        model = self.model
        scales = " and ".join(fmt.name for fmt in scale_formats(model))
        formats = f"{model.weights.name} weights and {model.activations.name} activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{self.lanes} lanes, blocks of {model.block}, groups of up to {self.length} values,",
            *self._limits(scales),
        )

    def _limits(self, scales: str) -> tuple[str, ...]:
        """Return notes on the formats of scales, on NaN and on the window."""
        if not isinstance(self.model, BlockShifted):
            return (f"{scales} scales of each block; NaN and infinities count as 0",)
        most = self.model.shifts - 1
        return (
            f"{scales} scales of each block; a block with code 255 counts as 0. Sums of scales",
            f"below lowest shift right and round down, those above lowest + {most} count as that",
        )

    @property
    def result_meaning(self) -> str:
        """A dot product, in units of the elements and the window."""
        model = self.model
        if not isinstance(model, BlockShifted):
            return f"the sum of scaled blocks{in_units(model.unit)}"
        elements = power(model.unit(127 * model.scales))
        unit = f"{elements} * 2^(lowest - {127 * model.scales})"
        return f"the sum of shifted blocks, in units of {unit}"

    @property
    def nearest_sweep(self) -> str:
        """Comparison with the sweep of the scheme, in which every block is rounded."""
        return nearest.WINDOW if isinstance(self.model, BlockShifted) else nearest.BLOCKS

    @property
    def sum_bits(self) -> int:
        """Accumulator width in bits."""
        need = self.model.sum_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} scaled products")

    def build(self) -> BlockDot:
        """Return a new component."""
        return BlockDot(
            self.model,
            self.product,
            lanes=self.lanes,
            length=self.length,
            bits=self.sum_bits,
            serial=self.serial,
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums of scaled blocks; the last block of a group may be incomplete."""
        model, (groups, beats, _) = self.model, operands["weights"].shape
        weights, activations = (
            operands[name].reshape(groups, -1) for name in ("weights", "activations")
        )
        is_cut = beats % self.beats != 0
        ends = [*range(self.beats - 1, beats, self.beats), *([beats - 1] if is_cut else [])]
        scales = list(np.moveaxis(operands["scales"][:, ends], 2, 0))
        if isinstance(model, BlockShifted):
            lowest = operands["lowest"][:, -1, 0].astype(np.int64)
            return np.asarray(model.dots(weights, activations, scales, lowest))
        return np.asarray(model.dots(weights, activations, scales))

    @property
    def typical_beats(self) -> int:
        """Beats of typical groups: several blocks."""
        return TYPICAL_BLOCKS * self.beats

    def random_beats(self, seed: int) -> int:
        """Return the beats of random groups; long groups have more than one block."""
        beats = few_beats(seed)
        return beats if beats < LONG_BEATS else max(beats, int(RANDOM_BLOCKS * self.beats))

    def independent(self, groups: int) -> Operands:
        """Return random groups of more than one block."""
        return self.random(groups, seed=0)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the obligations of the multiplier and of the scaling circuit."""
        model, formats = self.model, (self.model.weights, self.model.activations)
        product = Obligation(
            what="product equals decoded values and *",
            circuit=lambda: self.product(*formats),
            reference=lambda: reference_product(*formats),
            input_bits=formats[0].bits + formats[1].bits,
        )
        if isinstance(model, BlockShifted):
            of_total = sum_bits(*formats, model.block) + model.lowest_bits
            shifted = Obligation(
                what="shift equals a case for every shift",
                circuit=lambda: Shifted(model),
                reference=lambda: ShiftedReference(model),
                input_bits=of_total + sum(fmt.bits for fmt in scale_formats(model)),
            )
            return product, shifted, *decoder_obligations(*formats)
        floats = {fmt for fmt in model.scales if isinstance(fmt, FloatFormat)}
        return product, *map(_value_obligation, floats), *decoder_obligations(*formats)


def _value_obligation(fmt: FloatFormat) -> Obligation:
    return Obligation(
        what="parts of a scale equal a case for every exponent",
        circuit=lambda: ScaleValue(fmt),
        reference=lambda: ScaleValueReference(fmt),
        input_bits=fmt.bits,
    )
