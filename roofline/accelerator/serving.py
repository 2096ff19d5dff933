"""Requests on an accelerator: cycles of all GEMMs of a prompt and of a generated token."""

from dataclasses import dataclass, replace

from hw.accelerator import Accelerator
from roofline.accelerator.compatible import activation_bits_of, check_format
from roofline.accelerator.gemm import Gemm, GemmCost, Phase
from roofline.accelerator.model import head_bits, model_gemms, weight_bits
from roofline.accelerator.product_cost import product_cost
from roofline.model.model_shape import ModelShape
from roofline.runtime.serving_format import ServingFormat
from roofline.runtime.storage import kv_bits
from roofline.time.serving import Request

#: Default KV cache of a serving format, and its bits.
FP16_CACHE, FP16_CACHE_BITS = "fp16", 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorStep:
    """All GEMMs of one step with their costs."""

    products: tuple[tuple[Gemm, GemmCost], ...]
    clock_hz: float
    #: Leakage power of all PEs; None if it is not measured.
    leakage_w: float | None = None

    @property
    def static_energy_j(self) -> float:
        """Energy of the PEs' leakage during the step; 0 where it is unknown."""
        return (self.leakage_w or 0.0) * self.time_s

    @property
    def time_s(self) -> float:
        """Seconds of the step."""
        return sum(cost.cycles for _, cost in self.products) / self.clock_hz

    @property
    def bound_s(self) -> float:
        """Lower bound of the seconds of these GEMMs on the array."""
        return sum(cost.bound_cycles for _, cost in self.products) / self.clock_hz

    @property
    def pe_energy_j(self) -> float:
        """Energy of the PEs."""
        return sum(cost.pe_energy_pj for _, cost in self.products) * 1e-12

    @property
    def buffer_energy_j(self) -> float:
        """Energy of the buffers' accesses."""
        return sum(cost.buffer_energy_pj for _, cost in self.products) * 1e-12

    @property
    def dram_energy_j(self) -> float:
        """Nominal energy of the memory's traffic."""
        return sum(cost.dram_energy_pj for _, cost in self.products) * 1e-12

    @property
    def limit(self) -> str:
        """Limit, ``compute`` or ``memory``, of the GEMMs that take most of the cycles."""
        cycles = {"memory": 0, "compute": 0}
        for _, cost in self.products:
            cycles[cost.limiter] += cost.cycles
        return max(cycles, key=lambda name: cycles[name])


def accelerator_step(
    shape: ModelShape,
    fmt: ServingFormat,
    machine: Accelerator,
    phase: Phase,
    *,
    batch: int,
    context: int,
    new: int | None = None,
) -> AcceleratorStep:
    """Return the step of a prompt of ``context`` tokens, or of one generated token after them.

    ``new`` tokens are those of one chunk of a prompt. A format's KV cache is used if it is not the
    default ``fp16``; then the machine's own is.

    Raises
    ------
    ValueError
        The PEs cannot read the codes of the format.

    Examples
    --------
    >>> from hw.accelerator import load_accelerator
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_format
    >>> step = accelerator_step(load_model("llama-2-7b"), parse_format("bitmod-fp3"),
    ...     load_accelerator("bitmod"), "decode", batch=1, context=256)
    >>> step.limit
    'memory'
    """
    check_format(machine, fmt)
    machine = with_activations(machine, fmt)
    gemms = model_gemms(
        shape,
        weight_bits(fmt, shape.hidden),
        machine,
        head=head_bits(fmt, shape.hidden),
        tokens=(new or context) if phase == "prefill" else 1,
        context=context,
        batch=batch,
        kv_bits=None if fmt.kv == FP16_CACHE else kv_bits(fmt.kv, shape.head_dim),
    )
    return AcceleratorStep(
        products=tuple((gemm, product_cost(gemm, machine, phase)) for gemm in gemms),
        clock_hz=machine.clock_mhz * 1e6,
        leakage_w=leakage_w(machine),
    )


def with_activations(machine: Accelerator, fmt: ServingFormat) -> Accelerator:
    """Return a machine whose activations take a format's bits, which may be fewer than its own.

    >>> from hw.accelerator import load_accelerator
    >>> from roofline.runtime.serving_format import parse_format
    >>> bitmod = load_accelerator("bitmod")
    >>> [with_activations(bitmod, parse_format(fmt)).activation_bits for fmt in ("w4a8", "w4a16")]
    [8, 16]
    """
    return replace(machine, activation_bits=activation_bits_of(fmt))


def leakage_w(machine: Accelerator) -> float | None:
    """Return the leakage power of all PEs; None if their record has none."""
    if machine.pe_leakage_uw is None:
        return None
    return machine.prefill_rows * machine.prefill_columns * machine.pe_leakage_uw * 1e-6


def accelerator_prefill(
    shape: ModelShape, fmt: ServingFormat, machine: Accelerator, request: Request
) -> list[AcceleratorStep]:
    """Return the steps of a prompt, one for each chunk."""
    size = request.step_tokens
    ends = [*range(size, request.prompt, size), request.prompt]
    starts = [0, *ends[:-1]]
    return [
        accelerator_step(
            shape, fmt, machine, "prefill", batch=request.batch, context=end, new=end - start
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def accelerator_tpot_s(
    shape: ModelShape, fmt: ServingFormat, machine: Accelerator, request: Request
) -> float:
    """Return the time of a token in the middle of the answer, the mean as cycles grow evenly."""
    middle = request.prompt + request.output // 2
    step = accelerator_step(shape, fmt, machine, "decode", batch=request.batch, context=middle)
    return step.time_s
