"""The results of LLM-Viewer (commit 472f71f, July 2024), with its defects, for comparison.

Its formulas are those of arXiv:2402.16363. They count one operation for each multiply-add of the
head and its activations for one sequence, the activation function at the hidden width, attention
without the causal mask, fused attention with a KV cache for every query head and with results as
large as the scores; a head is as wide as hidden size over heads; weights have no scales; one peak
serves all widths up to 8 bits. :mod:`roofline.workload.operators` has none of these defects, and
tests show each difference.
"""

import math
from dataclasses import dataclass

from numerics.names.suggest import unknown
from roofline.model.model_shape import ModelShape

#: Bandwidth in bytes/s, FP16 and INT8 peaks in operations/s, on-chip bytes: its ``hardware_params``
#: unchanged, including 3072 GB/s for the H100.
HARDWARE: dict[str, tuple[float, float, float | None, float]] = {
    "nvidia_V100": (900e9, 112e12, 62e12, 20480e3),
    "nvidia_A6000": (768e9, 154.8385e12, 309.7e12, 21504e3),
    "nvidia_A100": (1555e9, 312e12, 624e12, 27648e3),
    "nvidia_A100_40G": (1555e9, 312e12, 624e12, 27648e3),
    "nvidia_A100_80G": (2039e9, 312e12, 624e12, 27648e3),
    "nvidia_A800_80G_SXM": (2039e9, 312e12, 624e12, 27648e3),
    "nvidia_A40": (696e9, 149.7e12, 299.3e12, 21504e3),
    "nvidia_H100": (3072e9, 989.5e12, 1979e12, 33792e3),
    "nvidia_H100_SXM": (3072e9, 989.5e12, 1979e12, 33792e3),
    "nvidia_H100_PCIe": (2048e9, 756.5e12, 1513e12, 29184e3),
    "nvidia_L40": (864e9, 181e12, 362e12, 36352e3),
    "intel_13900k": (89.6e9, 1.3824e12, None, 36000e3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Bits of weights, activations and KV cache."""

    weights: int = 16
    activations: int = 16
    kv: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatOperator:
    """One operator of one layer."""

    name: str
    ops: float
    weight_bytes: float = 0.0
    #: Bytes of activations read and written.
    read_bytes: float = 0.0
    written_bytes: float = 0.0
    #: Bytes of keys and values read and written.
    kv_read_bytes: float = 0.0
    kv_written_bytes: float = 0.0

    @property
    def traffic_bytes(self) -> float:
        """Bytes of weights, activations, keys and values."""
        moved = self.weight_bytes + self.read_bytes + self.written_bytes
        return moved + self.kv_read_bytes + self.kv_written_bytes

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.ops / self.traffic_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatStage:
    """Prefill or decode of the whole model."""

    #: Operators of one layer, and the head.
    operators: tuple[CompatOperator, ...]
    head: CompatOperator
    layers: int
    bytes_per_s: float
    ops_per_s: float
    #: Bytes of the KV cache after the prefill.
    kv_cache_bytes: float

    def time_s(self, operator: CompatOperator) -> float:
        """Return the time of one operator of one layer."""
        return operator.ops / min(self.ops_per_s, operator.intensity * self.bytes_per_s)

    def bound(self, operator: CompatOperator) -> str:
        """Return what limits one operator."""
        is_memory = operator.intensity < self.ops_per_s / self.bytes_per_s
        return "memory" if is_memory else "compute"

    @property
    def ops(self) -> float:
        """Operations of all layers and the head."""
        return self.layers * sum(op.ops for op in self.operators) + self.head.ops

    @property
    def traffic_bytes(self) -> float:
        """Bytes of all layers and the head."""
        layer = sum(op.traffic_bytes for op in self.operators)
        return self.layers * layer + self.head.traffic_bytes

    @property
    def total_s(self) -> float:
        """Seconds of all layers and the head."""
        return self.layers * sum(map(self.time_s, self.operators)) + self.time_s(self.head)

    @property
    def memory_bytes(self) -> float:
        """Bytes of the layers' weights, the KV cache, and all results of one layer."""
        weights = self.layers * sum(op.weight_bytes for op in self.operators)
        return weights + self.kv_cache_bytes + sum(op.written_bytes for op in self.operators)


def llm_viewer(
    shape: ModelShape,
    hardware: str,
    *,
    length: int,
    batch: int = 1,
    widths: Widths | None = None,
    fused: bool = False,
) -> dict[str, CompatStage]:
    """Return the results of LLM-Viewer's ``analyze`` for ``prefill`` and ``decode``.

    Examples
    --------
    >>> from roofline.model.model_shape import load_model
    >>> stages = llm_viewer(load_model("llama-2-7b"), "nvidia_A100_80G", length=2048)
    >>> round(stages["decode"].total_s * 1e3, 7)
    7.0196915
    """
    if hardware not in HARDWARE:
        raise ValueError(unknown("hardware", hardware, HARDWARE))
    for name, size in (("length", length), ("batch", batch)):
        if size < 1:
            raise ValueError(f"{name} is {size}; at least 1")
    widths = widths or Widths()
    bandwidth, fp16, int8, on_chip = HARDWARE[hardware]
    peak = fp16
    if max(widths.weights, widths.activations, widths.kv) <= 8:
        if int8 is None:
            raise ValueError(f"{hardware} has no INT8 peak in LLM-Viewer; use wider formats")
        peak = int8
    counter = _Counter(shape, length, batch, widths, on_chip)
    cache = shape.layers * sum(op.kv_written_bytes for op in counter.stage("prefill", fused=fused))
    return {
        stage: CompatStage(
            operators=tuple(counter.stage(stage, fused=fused)),
            head=counter.head(),
            layers=shape.layers,
            bytes_per_s=bandwidth,
            ops_per_s=peak,
            kv_cache_bytes=cache,
        )
        for stage in ("prefill", "decode")
    }


class _Counter:
    """Formulas of ``model_analyzer.py``, by its names of operators."""

    def __init__(
        self, shape: ModelShape, length: int, batch: int, widths: Widths, on_chip: float
    ) -> None:
        self.shape, self.length, self.batch, self.on_chip = shape, length, batch, on_chip
        self.w, self.a, self.kv = widths.weights / 8, widths.activations / 8, widths.kv / 8
        self.head_dim = shape.hidden // shape.heads

    def head(self) -> CompatOperator:
        """Return lm_head, which both stages count for one token of each sequence."""
        hidden, vocabulary = self.shape.hidden, self.shape.vocabulary
        return CompatOperator(
            name="lm_head",
            ops=float(self.batch * hidden * vocabulary),
            weight_bytes=hidden * vocabulary * self.w,
            read_bytes=hidden * self.a,
            written_bytes=vocabulary * self.a,
        )

    def stage(self, stage: str, *, fused: bool) -> list[CompatOperator]:
        """Return the operators of one layer."""
        tokens = self.batch * (self.length if stage == "prefill" else 1)
        attention = self._fused(stage) if fused else self._attention(stage)
        return [*self._linear(tokens), *attention, *self._small(tokens)]

    def _linear(self, tokens: int) -> list[CompatOperator]:
        shape = self.shape
        kv = self.head_dim * shape.kv_heads
        sizes = {
            "q_proj": (shape.hidden, shape.hidden),
            "k_proj": (shape.hidden, kv),
            "v_proj": (shape.hidden, kv),
            "out_proj": (shape.hidden, shape.hidden),
            "gate_proj": (shape.hidden, shape.intermediate),
            "up_proj": (shape.hidden, shape.intermediate),
            "down_proj": (shape.intermediate, shape.hidden),
        }
        found = []
        for name, (inputs, outputs) in sizes.items():
            is_kv = name in ("k_proj", "v_proj")
            found.append(
                CompatOperator(
                    name=name,
                    ops=2.0 * inputs * outputs * tokens,
                    weight_bytes=inputs * outputs * self.w,
                    read_bytes=inputs * tokens * self.a,
                    written_bytes=0.0 if is_kv else outputs * tokens * self.a,
                    kv_written_bytes=outputs * tokens * self.kv if is_kv else 0.0,
                )
            )
        return found

    def _attention(self, stage: str) -> list[CompatOperator]:
        shape, d, batch = self.shape, self.head_dim, self.batch
        new = self.length if stage == "prefill" else 1
        scores = new * self.length * batch * shape.heads
        # In prefill it counts the queries of as many heads as there are key heads.
        query_heads = shape.kv_heads if stage == "prefill" else shape.heads
        kv = self.length * d * shape.kv_heads * batch * self.kv
        return [
            CompatOperator(
                name="qk_matmul",
                ops=2.0 * scores * d,
                kv_read_bytes=kv,
                read_bytes=new * d * query_heads * batch * self.a,
                written_bytes=scores * self.a,
            ),
            CompatOperator(
                name="sv_matmul",
                ops=2.0 * scores * d,
                kv_read_bytes=kv,
                read_bytes=scores * self.a,
                written_bytes=new * d * shape.heads * batch * self.a,
            ),
            CompatOperator(
                name="softmax",
                ops=5.0 * scores,
                read_bytes=scores * self.a,
                written_bytes=scores * self.a,
            ),
        ]

    def _fused(self, stage: str) -> list[CompatOperator]:
        shape, d, batch = self.shape, self.head_dim, self.batch
        new = self.length if stage == "prefill" else 1
        scores = new * self.length * batch * shape.heads
        rows = min(math.ceil(self.on_chip / (self.kv * d)), d)
        passes = math.ceil(new / rows)
        return [
            CompatOperator(
                name="fused_attention",
                ops=4.0 * scores * d + 5.0 * scores,
                read_bytes=new * d * batch * shape.heads * self.a,
                written_bytes=2 * scores * self.a,
                kv_read_bytes=2 * passes * self.length * d * batch * shape.heads * self.kv,
            )
        ]

    def _small(self, tokens: int) -> list[CompatOperator]:
        values = tokens * self.shape.hidden
        one = values * self.a
        counts = {
            "attn_norm": (7, 1),
            "mlp_norm": (7, 1),
            "attn_add": (1, 1),
            "mlp_add": (1, 1),
            "mlp_act": (2, 2),
        }
        return [
            CompatOperator(
                name=name, ops=float(ops * values), read_bytes=reads * one, written_bytes=one
            )
            for name, (ops, reads) in counts.items()
        ]
