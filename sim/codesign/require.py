"""What any machine must have to generate tokens at a rate: bandwidth, MACs, memory."""

from dataclasses import dataclass

from roofline.model.model_shape import ModelShape
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.memory import stored
from roofline.workload.operators import operators
from roofline.workload.step import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Least amounts of any machine; counted from the sizes of the model."""

    format: str
    tokens_per_s: float
    #: Bytes of weights, keys and values that one token reads.
    bytes_per_token: float
    macs_per_token: float
    #: Bytes of weights and KV cache that the memory holds.
    stored_bytes: float

    @property
    def gb_per_s(self) -> float:
        """Least bandwidth in 1e9 bytes/s; caches that hold weights on the chip would need less."""
        return self.bytes_per_token * self.tokens_per_s / 1e9

    @property
    def gmac_per_s(self) -> float:
        """Least rate of MACs in 1e9/s."""
        return self.macs_per_token * self.tokens_per_s / 1e9

    @property
    def stored_mib(self) -> float:
        """Least memory in MiB."""
        return self.stored_bytes / 2**20


def requirement(
    shape: ModelShape, fmt: ServingFormat, *, tokens_per_s: float, context: int
) -> Requirement:
    """Return what one sequence after ``context`` tokens needs.

    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> found = requirement(load_model("llama-3.2-1b"), parse_format("w4a16"), tokens_per_s=10,
    ...     context=512)
    >>> round(found.gb_per_s, 1), round(found.gmac_per_s, 1)
    (10.4, 12.7)
    """
    step = [Sequences(batch=1, new=1, context=context)]
    found = operators(shape, fmt, step)
    use = stored(shape, fmt, batch=1, length=context + 1, new=1)
    return Requirement(
        format=fmt.name,
        tokens_per_s=tokens_per_s,
        bytes_per_token=float(sum(op.essential_bytes for op in found)),
        macs_per_token=float(sum(op.ops for op in found)) / 2,
        stored_bytes=use.weight_bytes + use.kv_bytes,
    )
