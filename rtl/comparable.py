"""PEs whose costs compare: as many MACs per cycle, each with its group's scale inside.

A PE of several lanes shares one accumulator and one result register, which a PE of one lane has for
itself; and a PE that returns sums of groups needs a scaler beside it. To compare formats alone,
each exact dot product is built with the same number of MACs per cycle, with an INT8 scale per group
of 128 and an accumulator of scaled groups; PEs that apply scales of their own keep those.
"""

from collections.abc import Iterable
from dataclasses import replace

from numerics.formats import FORMATS
from numerics.pe.block_scale import BlockScaled
from numerics.pe.exact_dot import LARGEST_SUM
from rtl.element import LENGTH, ProcessingElement
from rtl.pe.block_dot.element import BlockDotPe
from rtl.pe.dot_product.element import DotProductPe
from rtl.pe.zero_point.element import ZeroPointPe

#: MACs per cycle at which PEs are compared.
MACS_PER_CYCLE = (1, 16)
#: PE that relative costs are divided by.
BASELINE = "int8-mac"
#: Longest sum of scaled groups, in values; shorter where sums would not fit in 64 bits.
LONGEST = 4096
_SCALE = FORMATS["int8"]
#: PEs by others that differ from them in lanes alone.
_SAME = {"int8-16": "int8-mac", "fp8-16": "fp8-dot"}


def comparable(pe: ProcessingElement, macs: int) -> ProcessingElement:
    """Return a PE of the same arithmetic with ``macs`` MACs per cycle and its scale inside.

    >>> from rtl.catalog import find_pe
    >>> pe = comparable(find_pe("bitmod-fp4"), 16)
    >>> pe.name, pe.lanes, pe.cycles
    ('bitmod-fp4-scaled-x16', 32, 2)

    Raises
    ------
    ValueError
        The structure of the PE has no such variant; the message says why.
    """
    lanes = macs * pe.cycles
    if isinstance(pe, BlockDotPe):
        if pe.model.block % lanes:
            raise ValueError(f"a block of {pe.model.block} is not whole beats of {lanes} lanes")
        return pe if lanes == pe.lanes else replace(pe, name=f"{pe.name}-x{macs}", lanes=lanes)
    if not isinstance(pe, DotProductPe):
        raise ValueError(_why_not(pe))
    model = BlockScaled(
        weights=pe.weights, activations=pe.activations, scales=(_SCALE,), block=LENGTH
    )
    return BlockDotPe(
        name=f"{_SAME.get(pe.name, pe.name)}-scaled-x{macs}",
        source=f"{pe.source}; INT8 scale per group of {LENGTH}",
        model=model,
        product=pe.product,
        serial=pe.serial,
        lanes=lanes,
        length=_longest(model),
        proof_cost="minutes",
    )


def comparables(pes: Iterable[ProcessingElement]) -> dict[str, ProcessingElement]:
    """Return the variants of some PEs at every number of MACs per cycle, by name."""
    found = {}
    for pe in pes:
        for macs in MACS_PER_CYCLE:
            try:
                one = comparable(pe, macs)
            except ValueError:
                continue
            found[one.name] = one
    return found


def _longest(model: BlockScaled) -> int:
    """Return the longest sum of scaled groups, a power of two times a group, that fits."""
    length = LONGEST
    while model.largest_sum(length) >= LARGEST_SUM:
        length //= 2
    return length


def _why_not(pe: ProcessingElement) -> str:
    """Return why a PE is not built with other lanes and a scale inside."""
    if pe.rounding_model is not None:
        return "its sums round, in an order that its lanes set"
    if isinstance(pe, ZeroPointPe):
        return "its scales are applied beside it, after the zero points"
    if pe.dots_per_result > 1 or pe.numbers_per_result > 1:
        return "it computes several outputs from shared activations"
    return "its codes or memories set its lanes"
