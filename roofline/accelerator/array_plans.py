"""How machines with operand buffers cut a product into tiles: squares, panels and lanes.

Each plan returns the tiles of one product in the order in which they run, for
:func:`roofline.accelerator.tile_schedule.finish`.
"""

from collections.abc import Iterator
from math import ceil, isqrt, lcm

from hw.array_machine import ArrayMachine
from roofline.accelerator.array_product import ArrayProduct, rows_cycles, weight_bytes
from roofline.accelerator.tile_schedule import Tile

#: Bits of a word of the buffers in the plan ``lanes``.
WORD_BITS = 32


def pieces(total: int, step: int) -> list[tuple[int, int]]:
    """Return start and size of the pieces of a dimension.

    >>> pieces(10, 4)
    [(0, 4), (4, 4), (8, 2)]
    """
    return [(start, min(step, total - start)) for start in range(0, total, step)]


def square_tile(machine: ArrayMachine, product: ArrayProduct) -> tuple[int, int, int]:
    """Return the sizes along m, k and n of tiles that are grown in turn while the buffers hold two.

    The tile starts as the largest square of blocks whose sums fit, as deep as its operands fit;
    then n, m and k grow by a block in turn.

    >>> from hw.array_machine import load_array_machine
    >>> square_tile(load_array_machine("gemmini"), ArrayProduct(m=128, k=3072, n=768))
    (80, 816, 80)
    """
    side = machine.rows
    operands = machine.weight_buffer_bytes // 2 // side**2
    sums = machine.sum_buffer_bytes // 2 // (4 * side**2)
    most = [ceil(size / side) for size in (product.m, product.k, product.n)]
    square = isqrt(sums)
    m, k, n = (
        min(most[0], square),
        min(most[1], operands // 2 // square),
        min(most[2], square),
    )
    grown = True
    while grown:
        grown = False
        if n < most[2] and m * (n + 1) <= sums and k * (m + n + 1) <= operands:
            n, grown = n + 1, True
        if m < most[0] and (m + 1) * n <= sums and k * (m + 1 + n) <= operands:
            m, grown = m + 1, True
        if k < most[1] and (k + 1) * (m + n) <= operands:
            k, grown = k + 1, True
    return m * side, k * side, n * side


def squares(machine: ArrayMachine, product: ArrayProduct) -> Iterator[Tile]:
    """Yield tiles of an array that holds weights, between buffers and a cache.

    Tiles run along k, then n, then m. Inputs and weights are loaded anew for every tile, except
    where two tiles hold all of them; what was loaded before comes from the cache, if all that was
    loaded in between fits.
    """
    m, k, n = product.m, product.k, product.n
    of_m, of_k, of_n = square_tile(machine, product)
    side = machine.rows
    deep = ceil(k / of_k)
    keeps_inputs = ceil(m / of_m) * deep <= 2
    keeps_weights = ceil(n / of_n) * deep <= 2
    panel = min(of_m, m) * k + k * min(of_n, n)
    inputs_cached, weights_cached = (
        panel <= machine.cache_bytes,
        (m * k + k * n <= machine.cache_bytes),
    )
    for at_m, rows in pieces(m, of_m):
        for at_n, columns in pieces(n, of_n):
            for at_k, depth in pieces(k, of_k):
                load = 0.0
                if not (keeps_inputs and at_n):
                    load += rows_cycles(
                        machine,
                        rows=rows,
                        row_bytes=depth,
                        stride=k,
                        offset=at_k,
                        cached=bool(at_n) and inputs_cached,
                    )
                if not (keeps_weights and at_m):
                    load += rows_cycles(
                        machine,
                        rows=depth,
                        row_bytes=columns,
                        stride=n,
                        offset=at_n,
                        cached=bool(at_m) and weights_cached,
                    )
                blocks = ceil(rows / side) * ceil(depth / side) * ceil(columns / machine.columns)
                store = 0.0
                if at_k + depth == k:
                    store = rows_cycles(
                        machine,
                        rows=rows,
                        row_bytes=columns * machine.result_bits // 8,
                        stride=n,
                        offset=at_n,
                        cached=False,
                    )
                yield Tile(
                    load=load + (machine.latency_cycles if load else 0),
                    compute=blocks * max(side, machine.least_block_cycles) + machine.tile_cycles,
                    store=store,
                )


def panels(machine: ArrayMachine, product: ArrayProduct) -> Iterator[Tile]:
    """Yield tiles of an array that holds results, with weights resident in their buffer.

    Strips of ``rows`` tokens run over all outputs; a strip's inputs are loaded before it and its
    results stored after it. Weights that do not fit are taken in panels along n; the first strip
    of a panel of ``split_bytes`` starts after half of it.
    """
    m, k, n = product.m, product.k, product.n
    width = int(machine.weight_buffer_bytes // weight_bytes(machine, k))
    width = min(n, width // machine.columns * machine.columns or machine.columns)
    issue = machine.command_cycles
    for _, columns in pieces(n, width):
        panel = weight_bytes(machine, k * columns)
        weights = panel / machine.dram_rate + machine.latency_cycles
        is_split = 0 < machine.split_bytes <= panel
        yield Tile(load=max(issue, weights / (2 if is_split else 1)), compute=0.0, waits=True)
        block = ceil(k / machine.lanes) + machine.block_cycles
        inputs = machine.rows * k * machine.activation_bits / 8
        results = machine.rows * columns * machine.result_bits / 8
        yield Tile(
            load=(inputs + product.added * results) / machine.dram_rate + machine.latency_cycles,
            compute=max(ceil(columns / machine.columns) * block, issue) + machine.tile_cycles,
            store=results / machine.write_rate + machine.store_cycles,
            count=ceil(m / machine.rows),
        )


def lanes_tile(machine: ArrayMachine, product: ArrayProduct) -> tuple[int, int, int, bool]:
    """Return tokens, depth and outputs of a tile, and whether the inputs stay in their buffer.

    Raises
    ------
    ValueError
        The buffers hold no tile.
    """
    step = lcm(4, int(WORD_BITS // machine.weight_bits), machine.lanes)
    depth = ceil(product.k / step) * step
    slots = machine.load_slots
    weights = int(machine.weight_buffer_bytes // slots * 8 // machine.weight_bits) // machine.rows
    tokens = min(product.m, machine.block_vectors)
    if tokens * depth <= machine.input_buffer_bytes:
        deep = min(depth, weights) // step * step
        if deep >= step:
            return tokens, deep, machine.rows, True
    inputs = machine.input_buffer_bytes // slots
    deep = min(depth, weights, inputs // tokens) // step * step
    while deep < step and tokens > 1:
        tokens //= 2
        deep = min(depth, weights, inputs // tokens) // step * step
    if deep < step:
        raise ValueError(f"{machine.name}: the buffers hold no tile of {machine.rows} x {step}")
    return tokens, deep, machine.rows, False


def lanes(machine: ArrayMachine, product: ArrayProduct) -> Iterator[Tile]:
    """Yield tiles of ``rows`` dot products of ``lanes`` values, whose weights are in words.

    Tiles run along k, then n, then m. Inputs that fit their buffer are loaded once for all n.
    """
    tokens, deep, outputs, is_resident = lanes_tile(machine, product)
    step = lcm(4, int(WORD_BITS // machine.weight_bits), machine.lanes)
    depth = ceil(product.k / step) * step

    def transfer(amount: int, latency: int) -> int:
        return ceil(amount / machine.read_rate) + latency + machine.transfer_cycles

    for _, rows in pieces(product.m, tokens):
        for at_n, columns in pieces(product.n, outputs):
            for at_k, part in pieces(depth, deep):
                is_first = at_n == 0 and at_k == 0
                words = columns * ceil(part * machine.weight_bits / WORD_BITS)
                load = machine.load_cycles + transfer(4 * words, machine.latency_cycles)
                if is_first or not is_resident:
                    inputs = rows * (depth if is_resident else part)
                    load += machine.input_cycles + transfer(inputs, machine.input_latency_cycles)
                store = 0
                if at_k + part == depth:
                    results = ceil(rows * columns * machine.result_bits / 8 / machine.write_rate)
                    store = results + machine.store_cycles
                yield Tile(
                    load=load,
                    compute=rows * (part // machine.lanes) + machine.tile_cycles,
                    store=store,
                    waits=is_resident and is_first,
                )
