"""Dot products in scaled blocks as a processing element."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from numerics.formats import FloatFormat, Format
from numerics.pe.block_scale import BlockScaled
from numerics.pe.block_shift import BlockShifted
from numerics.pe.exact_dot import integer_table, sum_bits
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
from rtl.element import (
    LONG_BEATS,
    Obligation,
    Operands,
    ProcessingElement,
    few_beats,
    random_codes,
)
from rtl.pe.block_dot.circuit import BlockDot
from rtl.pe.dot_product.circuit import ProductFactory
from rtl.pe.dot_product.element import gaussian_codes
from rtl.verilog.header import in_units, power

#: Blocks that a long group at random has at least, the last cut short.
RANDOM_BLOCKS = 1.5
TYPICAL_BLOCKS = 5
#: Exponents of typical scales vary by as much to both sides.
SCALE_SPREAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDotPe(ProcessingElement):
    """Blocks of products with the scales of a model."""

    model: BlockScaled | BlockShifted
    product: ProductFactory
    length: int
    #: Of the sum; as many as it needs if none.
    accumulator_bits: int | None = None

    @property
    def weight_name(self) -> str:
        """The format of the weights."""
        return self.model.weights.name

    @property
    def activation_name(self) -> str:
        """The format of the activations."""
        return self.model.activations.name

    @property
    def latency(self) -> int:
        """The inner stage and the scales' one."""
        return 2

    @property
    def beats(self) -> int:
        """Beats of a block."""
        return self.model.block // self.lanes

    @property
    def notes(self) -> tuple[str, ...]:
        """Formats, blocks, scales."""
        model = self.model
        scales = " and ".join(fmt.name for fmt in scale_formats(model))
        formats = f"{model.weights.name} weights and {model.activations.name} activations"
        return (
            f"{self.name}: dot products of {formats}; {self.source}",
            f"{self.lanes} lanes, blocks of {model.block}, groups of up to {self.length} values,",
            *self._limits(scales),
        )

    def _limits(self, scales: str) -> tuple[str, ...]:
        """Return what scales are, and where they end."""
        if not isinstance(self.model, BlockShifted):
            return (f"{scales} scales of each block; those that are no number count as 0",)
        most = self.model.shifts - 1
        return (
            f"{scales} scales of each block; a block with code 255 counts as 0. Sums of scales",
            f"below lowest shift right and round down, those above lowest + {most} count as that",
        )

    @property
    def meanings(self) -> dict[str, Format | str]:
        """What fields and results are."""
        model = self.model
        found: dict[str, Format | str] = {
            "weights": model.weights,
            "activations": model.activations,
            "scales": "of the block, the weights' first; read in its last beat",
        }
        if not isinstance(model, BlockShifted):
            return {**found, "result": f"the sum of scaled blocks{in_units(model.unit)}"}
        elements = power(model.unit(127 * model.scales))
        unit = f"{elements} * 2^(lowest - {127 * model.scales})"
        return {
            **found,
            "lowest": "sum of scales that stands for one unit, the same in all beats of a group",
            "result": f"the sum of shifted blocks, in units of {unit}",
        }

    @property
    def sum_bits(self) -> int:
        """Bits of each sum."""
        need = self.model.sum_bits(self.length)
        return accumulator_width(need, self.accumulator_bits, f"{self.length} scaled products")

    def build(self) -> BlockDot:
        """Return a new component."""
        return BlockDot(
            self.model, self.product, lanes=self.lanes, length=self.length, bits=self.sum_bits
        )

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the sums of scaled blocks, of which the last may be cut short."""
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

    def _elements(
        self, pick: Callable[[Format, tuple[int, ...]], np.ndarray], groups: int, beats: int
    ) -> Operands:
        """Return weights and activations of some beats."""
        shape = groups, beats, self.lanes
        formats = {"weights": self.model.weights, "activations": self.model.activations}
        return {name: pick(fmt, shape) for name, fmt in formats.items()}

    def random(self, groups: int, *, seed: int) -> Operands:
        """Return groups of a few beats; long ones have more than a block.

        Scales that are powers of two are in the window, and off it, by turns.
        """
        random = np.random.default_rng(seed)
        beats = few_beats(seed)
        if beats >= LONG_BEATS:
            beats = max(beats, int(RANDOM_BLOCKS * self.beats))
        found = self._elements(
            lambda fmt, shape: random_codes(random, fmt.bits, shape), groups, beats
        )
        formats, (_, beats, _) = scale_formats(self.model), found["weights"].shape
        shape = groups, beats, len(formats)
        if not isinstance(self.model, BlockShifted):
            scales = random_codes(random, formats[0].bits, shape)
            return {**found, "scales": scales}
        base = random.integers(0, 256, (groups, 1, len(formats)))
        scales = np.clip(base + random.integers(-12, 13, shape), 0, 255)
        start = base.sum(axis=-1) - random.integers(-16, self.model.shifts + 16, (groups, 1))
        return {**found, "scales": scales, "lowest": self._lowest(start, beats)}

    def _lowest(self, start: np.ndarray, beats: int) -> np.ndarray:
        """Return one lowest code for all beats of each group, from shape (groups, 1)."""
        assert isinstance(self.model, BlockShifted)
        limited = np.clip(start, 0, (1 << self.model.lowest_bits) - 1)
        return np.broadcast_to(limited[:, None], (len(start), beats, 1))

    def corners(self) -> Operands:
        """Return the longest groups of extreme elements and extreme scales."""
        formats = scale_formats(self.model)
        elements = [_extremes(fmt) for fmt in (self.model.weights, self.model.activations)]
        lowest = [0, 1, 127, 254, 400] if isinstance(self.model, BlockShifted) else [0]
        scales = _scale_extremes(formats[0])
        parts = np.stack(np.meshgrid(*elements, scales, lowest), axis=-1).reshape(-1, 4)
        beats = self.length // self.lanes
        shape = len(parts), beats, self.lanes
        weights, activations, scale, low = (part.reshape(-1, 1, 1) for part in parts.T)
        found = {
            "weights": np.broadcast_to(weights, shape),
            "activations": np.broadcast_to(activations, shape),
            "scales": np.broadcast_to(scale, (*shape[:2], len(formats))),
        }
        if isinstance(self.model, BlockShifted):
            found["lowest"] = self._lowest(low[:, 0], beats)
        return found

    def typical(self, groups: int, *, seed: int) -> Operands:
        """Return Gaussian elements, and scales about 1, or about 100 for integers."""
        random = np.random.default_rng(seed)
        found = self._elements(
            lambda fmt, shape: gaussian_codes(fmt, random, shape),
            groups,
            TYPICAL_BLOCKS * self.beats,
        )
        formats, (_, beats, _) = scale_formats(self.model), found["weights"].shape
        shape = groups, beats, len(formats)
        exponents = random.normal(0.0, SCALE_SPREAD, shape)
        if isinstance(self.model, BlockShifted):
            scales = 127 + np.rint(exponents).astype(np.int64)
            start = np.full((groups, 1), 127 * len(formats) - 8 * SCALE_SPREAD)
            return {**found, "scales": scales, "lowest": self._lowest(start, beats)}
        if isinstance(formats[0], FloatFormat):
            flat = [formats[0].encode(2.0**exponent) for exponent in exponents.ravel().tolist()]
            return {**found, "scales": np.array(flat).reshape(shape)}
        return {**found, "scales": random.integers(64, 128, shape)}

    def obligations(self) -> tuple[Obligation, ...]:
        """Return the product of elements, and what a sum becomes by its scales."""
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


def _extremes(fmt: Format) -> list[int]:
    """Return the codes of the least, the largest and the smallest positive value."""
    table = np.array(integer_table(fmt))
    small = np.where(table > 0, table, table.max() + 1)
    return sorted({int(table.argmin()), int(table.argmax()), int(small.argmin())})


def _scale_extremes(fmt: Format) -> list[int]:
    """Return codes at the ends of both halves of the codes, and those of one and of half."""
    half = 1 << fmt.bits - 1
    ends = {0, 1, half - 2, half - 1, half, half + 1, 2 * half - 2, 2 * half - 1}
    return sorted(ends | {fmt.encode(1.0), fmt.encode(0.5), fmt.encode(fmt.max)})
