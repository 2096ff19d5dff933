"""One model on one machine in one format, predicted: what tables, figures and the page show."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from roofline.model.model_shape import ModelShape
from roofline.time.serving import Request
from roofline.workload.memory import MemoryUse
from sim.deployment.roofs import Roof, Slope

#: Contexts in tokens and batches for which a page shows the time of a token.
CONTEXTS = (128, 512, 2048, 8192, 32768)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
#: Seconds of one token of each of ``batch`` sequences after ``context`` tokens.
Tpot = Callable[[int, int], float]
#: Points (tokens of context or sequences in a batch, seconds).
Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPoint:
    """All layers' operators of one name in one phase."""

    name: str
    phase: str
    #: Operations of matrix products and vector units.
    ops: float
    #: Bytes between memory and chip.
    traffic_bytes: float
    time_s: float
    #: Limit of its time: ``compute``, ``memory``, ``ridge``, ``start`` or ``link``.
    bound: str
    #: Operand path of its GEMMs, such as ``native fp16``.
    path: str
    #: Useful MACs of an array over the MACs that it could do in that time; None on a machine.
    utilization: float | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the point as plain data; units are in the names."""
        found = {
            "name": self.name,
            "phase": self.phase,
            "ops": self.ops,
            "traffic_bytes": self.traffic_bytes,
            "time_s": self.time_s,
            "limit": self.bound,
            "path": self.path,
        }
        return found if self.utilization is None else found | {"utilization": self.utilization}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One prediction; seconds are those of all sequences together."""

    model: str
    machine: str
    format: str
    request: Request
    #: Time to the first token, a bound and an expectation; the cycle model of an accelerator.
    ttft_s: tuple[float, float]
    #: Time per output token, a bound and an expectation.
    tpot_s: tuple[float, float]
    #: Shortest and longest time per output token to expect.
    tpot_range_s: tuple[float, float]
    #: Limit of most of the prefill time and of the decode time.
    prefill_bound: str
    decode_bound: str
    #: Operand path of GEMMs with weights, such as ``native fp16``.
    path: str
    memory: MemoryUse
    #: Sequences that the memory holds.
    largest_batch: int
    #: Tokens of a sequence whose KV cache takes as many bytes as the weights.
    equal_context: float
    #: Nominal joules of an output token, by component.
    energy_j: dict[str, float]
    #: Least and most joules of an output token.
    energy_range_j: tuple[float, float]
    cost_usd_per_mtok: float | None
    points: tuple[OperatorPoint, ...]
    roofs: tuple[Roof, ...]
    slope: Slope
    #: Seconds of an output token, by context and by batch.
    tpot_by_context: Curve
    tpot_by_batch: Curve
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the memory holds weights, cache and activations."""
        return self.memory.missing_bytes == 0

    @property
    def tokens_per_s(self) -> float:
        """Expected generated tokens a second while decoding, of all sequences."""
        return self.request.batch / self.tpot_s[1]

    @property
    def output_tokens_per_s(self) -> float:
        """Expected generated tokens a second of whole requests, of all sequences."""
        whole = self.ttft_s[1] + self.tpot_s[1] * self.request.output
        return self.request.batch * self.request.output / whole

    @property
    def energy_per_token_j(self) -> float:
        """Nominal joules of a generated token."""
        return sum(self.energy_j.values())

    @property
    def capacity_bytes(self) -> float | None:
        """Size of the memory; None where the file of an accelerator gives it none."""
        return self.memory.capacity_bytes if self.memory.capacity_bytes < inf else None

    def to_record(self) -> dict[str, Any]:
        """Return the scenario as plain data; units are in the names."""
        request, memory = self.request, self.memory
        return {
            "model": self.model,
            "machine": self.machine,
            "format": self.format,
            "batch": request.batch,
            "prompt_tokens": request.prompt,
            "output_tokens": request.output,
            "fits": self.fits,
            "path": self.path,
            "ttft_s": {"bound": self.ttft_s[0], "expected": self.ttft_s[1]},
            "tpot_s": {
                "bound": self.tpot_s[0],
                "expected": self.tpot_s[1],
                "low": self.tpot_range_s[0],
                "high": self.tpot_range_s[1],
            },
            "prefill_tokens_per_s": request.batch * request.prompt / self.ttft_s[1],
            "decode_tokens_per_s": self.tokens_per_s,
            "output_tokens_per_s": self.output_tokens_per_s,
            "limit": {"prefill": self.prefill_bound, "decode": self.decode_bound},
            "weight_bytes": memory.weight_bytes,
            "kv_bytes": memory.kv_bytes,
            "activation_bytes": memory.activation_bytes,
            "capacity_bytes": self.capacity_bytes,
            "largest_batch": self.largest_batch,
            "equal_context_tokens": self.equal_context if self.equal_context < inf else None,
            "energy_per_token_j": {
                "nominal": self.energy_per_token_j,
                "low": self.energy_range_j[0],
                "high": self.energy_range_j[1],
                **self.energy_j,
            },
            "cost_usd_per_mtok": self.cost_usd_per_mtok,
            "operators": [point.to_record() for point in self.points],
            "notes": list(self.notes),
        }


def by_context(tpot_s: Tpot, request: Request, shape: ModelShape) -> Curve:
    """Return the seconds of an output token by the tokens before it, within a model's context."""
    contexts = [c for c in CONTEXTS if c <= shape.max_context] or [request.prompt]
    return tuple((context, tpot_s(request.batch, context)) for context in contexts)


def by_batch(tpot_s: Tpot, request: Request) -> Curve:
    """Return the seconds of an output token in the middle of the answer, by batch."""
    middle = request.prompt + request.output // 2
    return tuple((batch, tpot_s(batch, middle)) for batch in BATCHES)
