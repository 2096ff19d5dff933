"""Cycles of a machine whose PEs follow the weight stream: one schedule for models and circuits.

A machine has ``rows x columns`` PEs: a row is an output channel, a column a token. A beat brings
``lanes`` codes for each row, which meet the same activations; a PE takes ``beat_cycles`` for it.
Weights are stored in reading order, tiles of ``rows`` outputs, beat after beat, and the side data
of a tile (scales, selectors) in equal shares beside its beats, so that ``n`` tiles of ``B`` bytes
are at the PEs ``latency + ceil(n B / bytes_per_cycle)`` cycles after the request. The FIFO of
weights is deep enough to hide the request latency and the states between tiles
(:func:`least_fifo_bytes`), so memory never waits for a PE that is ahead. The schedule of a product:

1. ``start`` states, then the activations are loaded into their buffer;
2. the first tile starts with its first beat; each beat starts when its codes have arrived and the
   beat before has ended, and ``gap`` states follow each tile;
3. results leave while the next tile runs, which takes no longer (:func:`check_drain`); only those
   of the last tile add cycles.

In the steady state a tile takes ``max(beats x beat_cycles + gap, bytes / bytes_per_cycle)``. Tokens
beyond the columns read the weights again, unless the weight buffer holds two whole tiles: then all
tokens in the activation buffer use a tile before the next one.

All amounts may be NumPy arrays, which broadcast. In a memory without stalls the cycles are exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

#: A number, or a NumPy array of them.
Amount = Any
#: Bits of a result that leaves the machine, an FP32 number.
RESULT_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """States of the controller, in cycles; assumed until a generated circuit is held to them."""

    #: Cycles from a command to its first request.
    start: int = 4
    #: Cycles from a request to the first bytes: a DRAM access and the bus, about 60 ns at 500 MHz.
    latency: int = 32
    #: Cycles between the last beat of a tile and the first of the next one.
    gap: int = 1
    #: Cycles from the last beat of a tile to its first result at the output.
    drain: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Sizes of a machine."""

    #: Output channels and tokens at once.
    rows: Amount
    columns: Amount = 1
    #: Codes of a row in a beat, and cycles of a beat.
    lanes: Amount
    beat_cycles: Amount = 1
    #: Mean bytes that memory delivers in a cycle.
    bytes_per_cycle: Amount
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product of (tokens, inputs) and (inputs, outputs)."""

    tokens: Amount
    inputs: Amount
    outputs: Amount
    #: Bits of a weight's code and of the side data of one group.
    code_bits: Amount
    side_bits: Amount = 0
    #: Values that share side data; 0 for a whole row.
    group: Amount = 0
    activation_bits: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Cycles and amounts of one product."""

    cycles: Amount
    #: Cycles in which beats are in the PEs.
    busy_cycles: Amount
    #: Cycles that weights and activations need at the memory's rate.
    memory_cycles: Amount
    #: Bytes read (weights, side data, activations) and written (results).
    read_bytes: Amount
    written_bytes: Amount


def ceil_div(value: Amount, by: Amount) -> Amount:
    """Return the quotient rounded up, for integers and arrays of integers.

    >>> ceil_div(7, 2), ceil_div(8, 2)
    (4, 4)
    """
    return -(-value // by)


def row_beats(inputs: Amount, group: Amount, lanes: Amount) -> Amount:
    """Return the beats of a row; a group begins with a beat of its own.

    >>> int(row_beats(576, 128, 16)), int(row_beats(100, 0, 16)), int(row_beats(40, 20, 16))
    (36, 7, 4)
    """
    length = np.where(np.asarray(group) == 0, inputs, group)
    whole, rest = np.divmod(inputs, length)
    return whole * ceil_div(length, lanes) + ceil_div(rest, lanes)


def tile_bytes(product: Product, geometry: Geometry, rows: Amount) -> Amount:
    """Return the stored bytes of a tile of ``rows`` outputs, codes padded to whole beats."""
    length = np.where(np.asarray(product.group) == 0, product.inputs, product.group)
    beats = row_beats(product.inputs, product.group, geometry.lanes)
    codes = beats * geometry.lanes * product.code_bits
    return np.ceil(rows * (codes + ceil_div(product.inputs, length) * product.side_bits) / 8)


def least_fifo_bytes(geometry: Geometry) -> Amount:
    """Return the bytes of weights in flight that hide the latency and the states between tiles."""
    return np.ceil((geometry.timing.latency + geometry.timing.gap) * geometry.bytes_per_cycle)


def drain_cycles(geometry: Geometry, rows: Amount, tokens: Amount) -> Amount:
    """Return the cycles in which the results of a tile leave."""
    results = rows * tokens * RESULT_BITS / 8
    return geometry.timing.drain + np.ceil(results / geometry.bytes_per_cycle)


def tile_cycles(product: Product, geometry: Geometry) -> Amount:
    """Return the cycles of a tile whose codes are there: its beats, and the states after it."""
    beats = row_beats(product.inputs, product.group, geometry.lanes)
    return beats * geometry.beat_cycles + geometry.timing.gap


def drains_in_time(product: Product, geometry: Geometry) -> Amount:
    """Return whether the results of a tile leave while the next tile runs."""
    tokens = np.minimum(geometry.columns, product.tokens)
    return drain_cycles(geometry, geometry.rows, tokens) <= tile_cycles(product, geometry)


def schedule(
    product: Product,
    geometry: Geometry,
    *,
    holds_tile: Amount = False,
    tokens_held: Amount | None = None,
) -> Schedule:
    """Return the cycles of a product.

    Parameters
    ----------
    holds_tile
        Whether the weight buffer holds two tiles, so that many tokens read the weights once.
    tokens_held
        Tokens in the activation buffer, at least those of the columns, which it holds if ``None``.

    Examples
    --------
    576 outputs in tiles of 16, 36 beats each, one byte of codes a cycle and lane: computing takes
    36 tiles of 36 + 1 cycles after the first beat; the last results leave in 4 + 1.

    >>> product = Product(tokens=1, inputs=576, outputs=576, code_bits=8, activation_bits=8)
    >>> machine = Geometry(rows=16, lanes=16, bytes_per_cycle=256)
    >>> found = schedule(product, machine)
    >>> int(found.cycles), int(found.busy_cycles)
    (1376, 1296)
    """
    at_once = geometry.columns
    if tokens_held is not None:
        together = np.maximum(at_once, tokens_held - tokens_held % at_once)
        at_once = np.where(holds_tile, together, at_once)
    if np.all(product.tokens <= at_once):
        return _pass(product, geometry, product.tokens)
    whole, rest = np.divmod(product.tokens, at_once)
    found = [
        (whole, _pass(product, geometry, np.minimum(product.tokens, at_once))),
        (rest > 0, _pass(product, geometry, np.maximum(rest, 1))),
    ]
    return Schedule(
        **{
            name: sum(count * getattr(each, name) for count, each in found)
            for name in Schedule.__dataclass_fields__
        }
    )


def _pass(product: Product, geometry: Geometry, tokens: Amount) -> Schedule:
    """Return the cycles of tokens that use each weight once, in blocks of the columns."""
    timing, rate, rows = geometry.timing, geometry.bytes_per_cycle, geometry.rows
    beats = row_beats(product.inputs, product.group, geometry.lanes)
    blocks = ceil_div(tokens, geometry.columns)
    of_block = beats * geometry.beat_cycles + timing.gap
    of_tile = blocks * of_block
    whole, edge = np.divmod(product.outputs, rows)
    tiles = whole + (edge > 0)
    first = tile_bytes(product, geometry, np.minimum(rows, product.outputs))
    of_whole = whole * tile_bytes(product, geometry, rows)
    weights = of_whole + tile_bytes(product, geometry, edge)
    # After the last beat of a tile has arrived: its own cycles, then the other blocks of tokens.
    after = geometry.beat_cycles + (blocks - 1) * of_block
    end = np.ceil(first / beats / rate) + tiles * of_tile - timing.gap
    end = np.maximum(end, np.ceil(first / rate) + after + (tiles - 1) * of_tile)
    edge_last = np.ceil(of_whole / rate) + after + (tiles - whole) * of_tile
    end = np.maximum(end, np.where(whole > 0, edge_last, 0))
    end = np.maximum(end, np.ceil(weights / rate) + after)
    inputs = np.ceil(tokens * product.inputs * product.activation_bits / 8)
    loading = np.ceil(inputs / rate)
    last_rows = np.where(edge > 0, edge, np.minimum(rows, product.outputs))
    left = drain_cycles(geometry, last_rows, tokens - (blocks - 1) * geometry.columns)
    return Schedule(
        cycles=timing.start + loading + timing.latency + end + left,
        busy_cycles=tiles * blocks * beats * geometry.beat_cycles,
        memory_cycles=loading + np.ceil(weights / rate),
        read_bytes=weights + inputs,
        written_bytes=product.outputs * tokens * RESULT_BITS / 8,
    )


def check_drain(product: Product, geometry: Geometry) -> None:
    """Raise ValueError if results leave more slowly than a tile runs."""
    if not np.all(drains_in_time(product, geometry)):
        tokens = min(geometry.columns, product.tokens)
        raise ValueError(
            f"the results of {geometry.rows} rows leave in"
            f" {int(drain_cycles(geometry, geometry.rows, tokens))} cycles and a tile of"
            f" {product.inputs} inputs runs for {int(tile_cycles(product, geometry))};"
            " give fewer rows or columns, or a faster memory"
        )
