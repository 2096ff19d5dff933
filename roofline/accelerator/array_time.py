"""Cycles of a product on an array that somebody else built, and a bound that no run can beat.

=============  ===================================================================================
plan           tiles
=============  ===================================================================================
``squares``    blocks of held weights; square tiles between two operand slots and a cache
``panels``     strips of results over weights that stay in their buffer
``lanes``      dot products of words, the next tile loaded while one runs
``blocks``     weight blocks from a FIFO; inputs and sums on the chip
``stream``     weights that pass the PEs once for all columns
``layers``     whole layers, arithmetic and transfers at the same time
``resident``   operands in the array's own memory
=============  ===================================================================================
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

from hw.array_machine import ArrayMachine
from roofline.accelerator import array_plans, array_streams
from roofline.accelerator.array_product import ArrayProduct, busy_cycles, weight_bytes
from roofline.accelerator.tile_schedule import Tile, finish

TILES: dict[str, Callable[[ArrayMachine, ArrayProduct], Iterator[Tile]]] = {
    "squares": array_plans.squares,
    "panels": array_plans.panels,
    "lanes": array_plans.lanes,
    "blocks": array_streams.blocks,
    "stream": array_streams.stream,
    "layers": array_streams.layers,
    "resident": array_streams.resident,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayTime:
    """Cycles of a product."""

    cycles: int
    #: Cycles that no run can beat: full PEs, and every weight once at the port's peak.
    bound_cycles: float
    #: Cycles in which PEs work, partly filled blocks included.
    busy_cycles: int

    @property
    def limit(self) -> str:
        """Unit that takes most of the time: ``compute``, or ``memory`` and the controller."""
        return "compute" if 2 * self.busy_cycles > self.cycles else "memory"


def array_time(machine: ArrayMachine, product: ArrayProduct) -> ArrayTime:
    """Return the cycles of a product and their bound.

    Examples
    --------
    A product of one token on Gemmini waits for its weights, whose rows are not aligned:

    >>> from hw.array_machine import load_array_machine
    >>> gemmini = load_array_machine("gemmini")
    >>> found = array_time(gemmini, ArrayProduct(m=1, k=2048, n=1000))
    >>> found.limit, found.cycles > 2 * found.bound_cycles
    ('memory', True)
    """
    ends = finish(
        TILES[machine.plan](machine, product),
        load_slots=machine.load_slots,
        store_slots=machine.store_slots,
    )
    busy = busy_cycles(machine, product)
    weights = weight_bytes(machine, product.k * product.n, side=False)
    bound = max(float(busy), weights / machine.read_bytes_per_cycle)
    return ArrayTime(
        cycles=product.count * ceil(ends + machine.job_cycles),
        bound_cycles=product.count * bound,
        busy_cycles=product.count * busy,
    )
