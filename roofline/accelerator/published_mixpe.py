"""The cycle model behind MixPE's published run times, its simplifications included.

Source: the simulator of MixPE (arXiv:2411.16158, repository ``mixpe_simulator``), which builds on
those of ANT and BitFusion; written afresh. It reproduces the ratios of its results file and is not
a model of a machine:

- W4A8 runs both operands at 4 bits, so that a PE of 8 bits does four MACs a cycle, and on 64 x 64
  PEs where the other arrays have 32 columns; W4A16 runs both at 8 bits on a PE of 16;
- dequantization before the product was sized for a batch of 8 and runs at 64, so that it costs an
  eighth of the product instead of a 64th;
- every layer is the best of all tilings by powers of two and all orders of the loops over tiles.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

BATCH = 64
DRAM_BITS_PER_CYCLE = 1024
#: Share of each buffer that holds current operands; the rest is being filled.
HALF_WEIGHT_BITS = 128 * 1024 * 8 // 2
HALF_INPUT_BITS = 256 * 1024 * 8 // 2
HALF_OUTPUT_BITS = 128 * 1024 * 8 // 2
OUTPUT_BITS = 16
#: Batch for which the dequantization of the benchmarks was sized.
DEQUANTIZED_BATCH = 8
GROUP = 128
PATCH = 16
PATCHES = 14
COLORS = 3

#: An array with one number for each tiling.
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixpeModel:
    """A stack of blocks of four linear layers; a convolution embeds images."""

    layers: int
    hidden: int
    has_patches: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MixpeDesign:
    """An array whose PEs do ``(highest / bits)^2`` MACs a cycle, down to ``lowest`` bits."""

    rows: int
    columns: int
    highest_bits: int
    lowest_bits: int
    #: Bits of both operands of matrix products, and of all other values.
    product_bits: int
    other_bits: int
    #: Whether group sums are scaled after the matrix product; if not, weights are before it.
    scales_after: bool = False

    def products_per_side(self, bits: int) -> int:
        """Return the number of operands of ``bits`` that one side of a PE takes at once."""
        return self.highest_bits // max(bits, self.lowest_bits)


MODELS = {
    "vit": MixpeModel(layers=12, hidden=768, has_patches=True),
    "vit-huge": MixpeModel(layers=32, hidden=1280, has_patches=True),
    "opt-6.7b": MixpeModel(layers=32, hidden=4096),
    "llama-2-13b": MixpeModel(layers=40, hidden=5120),
}


def _design(sizes: tuple[int, int], bits: tuple[int, int, int, int], **more: bool) -> MixpeDesign:
    highest, lowest, product, other = bits
    return MixpeDesign(
        rows=sizes[0],
        columns=sizes[1],
        highest_bits=highest,
        lowest_bits=lowest,
        product_bits=product,
        other_bits=other,
        **more,
    )


DESIGNS = {
    "mixpe-w4a8": _design((64, 64), (8, 4, 4, 8), scales_after=True),
    "ant": _design((32, 32), (8, 4, 8, 8)),
    "bitfusion": _design((32, 40), (8, 4, 8, 8)),
    "int8": _design((32, 32), (8, 4, 8, 8)),
    "mixpe-w4a16": _design((32, 32), (16, 8, 8, 16), scales_after=True),
    "fp16": _design((32, 28), (16, 16, 16, 16)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A GEMM of (BATCH * patches^2, inputs) and (inputs, outputs), or a convolution as a GEMM."""

    inputs: int
    outputs: int
    bits: int
    #: Side of the image of results, and of the window of inputs of each result.
    image: int = 1
    window: int = 1


def published_cycles(design: str, model: str) -> int:
    """Return the cycles of a batch of 64 in the simulator.

    Examples
    --------
    >>> round(published_cycles("mixpe-w4a8", "opt-6.7b") / published_cycles("fp16", "opt-6.7b"), 2)
    0.1
    """
    return sum(
        count * _layer_cycles(layer, DESIGNS[design]) for layer, count in _layers(design, model)
    )


def published_time_ratio(design: str, model: str) -> float:
    """Return the run time over that of ``fp16``, the figure of the results file."""
    for name, known in ((design, DESIGNS), (model, MODELS)):
        if name not in known:
            raise ValueError(f"{name!r} is not in MixPE's results; known: {', '.join(known)}")
    return published_cycles(design, model) / published_cycles("fp16", model)


def _layers(name: str, model_name: str) -> Iterator[tuple[_Layer, int]]:
    """Yield each layer and the number of times that it runs."""
    design, model = DESIGNS[name], MODELS[model_name]
    blocks = model.layers
    if model.has_patches:
        yield _patches(model, design), 1
    for index, (inputs, outputs) in enumerate(_linear(model.hidden)):
        # ANT runs a fifth of the blocks at 8 bits; BitFusion half the output projections at 4.
        low = {"ant": blocks - blocks // 5, "bitfusion": blocks // 2 if index == 1 else 0}
        at_4_bits = low.get(name, 0)
        yield _Layer(inputs=inputs, outputs=outputs, bits=4), at_4_bits
        yield _Layer(inputs=inputs, outputs=outputs, bits=design.product_bits), blocks - at_4_bits
        yield _dequantization(inputs, outputs, design), blocks


def _linear(hidden: int) -> list[tuple[int, int]]:
    """Return inputs and outputs of the projections, in and out, and of the feed-forward layers."""
    return [(hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (4 * hidden, hidden)]


def _patches(model: MixpeModel, design: MixpeDesign) -> _Layer:
    return _Layer(
        inputs=COLORS, outputs=model.hidden, bits=design.other_bits, image=PATCHES, window=PATCH
    )


def _dequantization(inputs: int, outputs: int, design: MixpeDesign) -> _Layer:
    if design.scales_after:
        inputs, outputs = inputs // DEQUANTIZED_BATCH, outputs // GROUP
    else:
        outputs //= DEQUANTIZED_BATCH
    return _Layer(inputs=inputs, outputs=outputs, bits=design.other_bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiling:
    """Sizes of tiles along each loop and their numbers, for all tilings at once."""

    batch: Counts
    image: Counts
    inputs: Counts
    outputs: Counts
    #: Number of tiles of each loop, and the operands whose tile it changes.
    loops: tuple[tuple[Counts, str], ...]


@cache
def _layer_cycles(layer: _Layer, design: MixpeDesign) -> int:
    """Return the cycles of the best tiling and order of loops; results stay in the PEs."""
    tiles = _tilings(layer)
    window = layer.window**2
    side = design.products_per_side(layer.bits)
    rows, columns = design.rows * side, design.columns * side
    # Buffers hold whole lines of the array.
    weight_bits = _round_up(window * tiles.inputs, rows) * tiles.outputs * layer.bits
    points = tiles.image**2 * tiles.batch
    input_bits = points * _round_up(window * tiles.inputs, columns) * layer.bits
    output_bits = points * tiles.outputs * OUTPUT_BITS
    fits = (weight_bits <= HALF_WEIGHT_BITS) & (input_bits <= HALF_INPUT_BITS)
    count = np.prod([number for number, _ in tiles.loops], axis=0)
    compute = count * -(-points // rows) * -(-tiles.outputs // columns) * window * tiles.inputs
    return min(
        int(np.where(fits, compute + stalls, np.iinfo(np.int64).max).min())
        for stalls in (
            _stalls(order, weight_bits, input_bits, output_bits, compute=compute)
            for order in permutations(tiles.loops)
        )
    )


def _stalls(
    order: tuple[tuple[Counts, str], ...],
    weight_bits: Counts,
    input_bits: Counts,
    output_bits: Counts,
    *,
    compute: Counts,
) -> Counts:
    """Return the cycles in which the array stalls, with the first loop of ``order`` innermost."""
    weight_moved, weight_held, _ = _promote(order, weight_bits, "w", HALF_WEIGHT_BITS)
    input_moved, input_held, _ = _promote(order, input_bits, "i", HALF_INPUT_BITS)
    output_moved, _, output_fits = _promote(order, output_bits, "o", HALF_OUTPUT_BITS)
    first = weight_held + input_held
    # The simulator charges no last write where a tile of results fits.
    last = np.where(output_fits, 0, output_bits)
    middle = weight_moved + input_moved + output_moved - first - last
    memory = -(-middle // DRAM_BITS_PER_CYCLE)
    latency = -(-first // DRAM_BITS_PER_CYCLE) + -(-last // DRAM_BITS_PER_CYCLE)
    waits: Counts = np.maximum(0, memory - compute) + latency
    return waits


def _promote(
    order: tuple[tuple[Counts, str], ...], tile_bits: Counts, operand: str, half_bits: int
) -> tuple[Counts, Counts, NDArray[np.bool_]]:
    """Return bits moved, bits held on chip, and whether any loop kept a tile."""
    moved, held = tile_bits.copy(), tile_bits.copy()
    promoted = np.ones(tile_bits.shape, bool)
    ever = np.zeros(tile_bits.shape, bool)
    for number, operands in order:
        grows = (operand in operands) | ~promoted
        moved = np.where(grows, moved * number, moved)
        if operand in operands:
            promoted = promoted & (moved <= half_bits)
            held = np.where(promoted, moved, held)
            ever |= promoted
    return moved, held, ever


def _tilings(layer: _Layer) -> _Tiling:
    sizes = (BATCH, layer.image, layer.inputs, layer.outputs)
    grid = np.meshgrid(*(_powers_of_two(size) for size in sizes), indexing="ij")
    batch, image, inputs, outputs = (axis.reshape(-1) for axis in grid)
    loops = [(-(-BATCH // batch), "io"), (-(-layer.inputs // inputs), "wi")]
    loops.append((-(-layer.outputs // outputs), "wo"))
    if layer.image > 1:
        loops += 2 * [(-(-layer.image // image), "io")]
    return _Tiling(batch=batch, image=image, inputs=inputs, outputs=outputs, loops=tuple(loops))


def _powers_of_two(size: int) -> Counts:
    powers = 1 << np.arange((size - 1).bit_length() + 1, dtype=np.int64)
    sizes: Counts = np.minimum(powers, size)
    return sizes


def _round_up(x: Counts, step: int) -> Counts:
    return -(-x // step) * step
