"""How machines whose operands stream cut a product: weight blocks, weight streams, whole layers."""

from collections.abc import Iterator
from math import ceil

from hw.array_machine import ArrayMachine
from roofline.accelerator.array_product import (
    ArrayProduct,
    block_count,
    busy_cycles,
    input_bytes,
    output_bytes,
    weight_bytes,
)
from roofline.accelerator.tile_schedule import Tile


def blocks(machine: ArrayMachine, product: ArrayProduct) -> Iterator[Tile]:
    """Yield the weight blocks of an array whose inputs and results stay on the chip.

    A block is loaded whole even if it is partly used, behind the block that streams its vectors.
    """
    most = machine.block_vectors or product.m
    load = weight_bytes(machine, machine.rows * machine.columns * machine.lanes)
    for start in range(0, product.m, most):
        vectors = min(most, product.m - start)
        yield Tile(
            load=load / machine.dram_rate + machine.load_cycles,
            compute=max(vectors, machine.least_block_cycles) + machine.block_cycles,
            count=block_count(machine, product),
        )


def stream(machine: ArrayMachine, product: ArrayProduct) -> Iterator[Tile]:
    """Yield the pieces of a weight stream that passes the array once for ``columns`` tokens.

    A piece has the bytes of the weight buffer and its own request.
    """
    whole = weight_bytes(machine, product.k * product.n)
    piece = min(machine.weight_buffer_bytes or whole, whole)
    passes = ceil(product.m / machine.columns)
    count = max(1, round(whole / piece))
    busy = busy_cycles(machine, product) / passes / count
    yield Tile(
        load=max(whole / count / machine.dram_rate, busy) + machine.latency_cycles,
        compute=machine.tile_cycles,
        count=passes * count,
    )


def layers(machine: ArrayMachine, product: ArrayProduct) -> Iterator[Tile]:
    """Yield a layer: its first inputs, then arithmetic and the other transfers at the same time.

    A layer's inputs are the results of the one before, so nothing hides the load of those that the
    buffer's half holds. Weights and inputs that both exceed their half are read again for each part
    of the other one, whichever costs less. An addition is an operation of its own, which reads the
    results and the added values and writes the sums.
    """
    weights = weight_bytes(machine, product.k * product.n)
    inputs = input_bytes(machine, product)
    half = machine.weight_buffer_bytes / 2
    again = 0.0
    if weights > half and inputs > half:
        again = min(weights * (ceil(inputs / half) - 1), inputs * (ceil(weights / half) - 1))
    first = min(inputs, half)
    results = output_bytes(machine, product)
    other = weights + inputs - first + again + results * (1 + 3 * product.added)
    busy = block_count(machine, product) * max(product.m, machine.least_block_cycles)
    yield Tile(
        load=first / machine.dram_rate,
        compute=max(other / machine.dram_rate, busy) + machine.tile_cycles,
    )


def resident(machine: ArrayMachine, product: ArrayProduct) -> Iterator[Tile]:
    """Yield the blocks of an array that holds results, whose operands are in its own memory."""
    across = ceil(product.m / machine.rows) * ceil(product.n / machine.columns)
    yield Tile(
        load=0.0,
        compute=ceil(product.k / machine.lanes) + machine.block_cycles,
        count=across,
    )
