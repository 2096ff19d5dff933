"""The products of one generated token: on the PEs, and beside them, for one pair of formats.

They are the products of :mod:`roofline.accelerator.model`, so that a machine file of a design gives
the same numbers in ``qsim roofline``. Equal shapes are added up.
"""

from collections import Counter
from dataclasses import dataclass

from hw.accelerator import Accelerator
from roofline.accelerator.gemm import Gemm
from roofline.accelerator.model import head_bits, model_gemms, weight_bits
from roofline.accelerator.product_cost import host_cost
from roofline.accelerator.stream import Product
from roofline.accelerator.stream_cost import stream_product
from roofline.model.model_shape import ModelShape
from roofline.runtime.serving_format import ServingFormat
from roofline.runtime.storage import kv_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Work of one token after ``context`` tokens, or of a whole prompt."""

    #: Distinct products on the PEs, with their number.
    products: tuple[tuple[Product, int], ...]
    #: Bytes of each product that the processor beside the PEs reads and writes.
    host_bytes: tuple[int, ...]

    @property
    def macs(self) -> int:
        """MACs on the PEs."""
        return sum(p.tokens * p.inputs * p.outputs * count for p, count in self.products)

    @property
    def most_inputs(self) -> int:
        """Inputs of the longest product on the PEs."""
        return max(int(p.inputs) for p, _ in self.products)


def token_gemms(
    shape: ModelShape, fmt: ServingFormat, machine: Accelerator, *, context: int, tokens: int = 1
) -> list[Gemm]:
    """Return the products of the last ``tokens`` of a context, as ``qsim roofline`` does."""
    return list(
        model_gemms(
            shape,
            weight_bits(fmt, shape.hidden),
            machine,
            tokens=tokens,
            context=context,
            kv_bits=kv_bits(fmt.kv, shape.head_dim),
            head=head_bits(fmt, shape.hidden),
        )
    )


def workload(
    shape: ModelShape, fmt: ServingFormat, machine: Accelerator, *, context: int, tokens: int = 1
) -> Workload:
    """Return the work of a model's last tokens in a format on machines with one element."""
    counts: Counter[Product] = Counter()
    host: list[int] = []
    for gemm in token_gemms(shape, fmt, machine, context=context, tokens=tokens):
        if gemm.on_host:
            host.append(host_cost(gemm, machine).traffic_bytes)
            continue
        counts[stream_product(gemm, machine)] += gemm.count
    return Workload(products=tuple(counts.items()), host_bytes=tuple(host))
