"""Activations that a format implies on a machine: one rule for every command.

A format such as ``nvfp4`` names weights only. Engines then quantize activations to the type that
the machine multiplies with them, and expand weights to FP16 where it has no such unit.
"""

from dataclasses import replace

from hw.machine import Machine
from roofline.runtime.engine import Engine
from roofline.runtime.serving_format import ServingFormat

#: Activations of weights that name none, where the machine does not multiply those weights.
WIDE = "fp16"
#: Compute capability of NVIDIA's consumer GPUs with FP4 units, on which vLLM multiplies MXFP4
#: weights in Marlin's kernels by activations in BF16 (``MXFP4_LINEAR``, version 0.33).
CONSUMER_BLACKWELL = 12.0


def as_run(fmt: ServingFormat, machine: Machine, engine: Engine) -> ServingFormat:
    """Return a format with the activations that an engine multiplies on a machine.

    >>> from hw.machine import load_machine
    >>> from roofline.runtime.engine import TENSOR_LIBRARY
    >>> from roofline.runtime.serving_format import parse_format
    >>> def activations(format_name, machine):
    ...     fmt = parse_format(format_name)
    ...     return as_run(fmt, load_machine(machine), TENSOR_LIBRARY).activations
    >>> [activations("nvfp4", name) for name in ("b200", "h100-sxm", "rtx-5090")]
    ['fp4', 'fp16', 'fp4']
    >>> [activations("mxfp4", name) for name in ("b200", "h100-sxm", "rtx-5090")]
    ['fp8', 'fp16', 'fp16']
    """
    native = fmt.native_activations
    if native is None:
        return fmt
    return replace(fmt, activations=native if _multiplies(machine, engine, native) else WIDE)


def _multiplies(machine: Machine, engine: Engine, native: str) -> bool:
    if not engine.narrows_activations or machine.ops_per_s("fp4") is None:
        return False
    capability = machine.compute_capability
    is_consumer = capability is not None and capability.value >= CONSUMER_BLACKWELL
    return native == "fp4" or not is_consumer


def possible_activations(fmt: ServingFormat) -> tuple[str, ...]:
    """Return the activations that a run of a format may have: those of a bound.

    >>> from roofline.runtime.serving_format import parse_format
    >>> possible_activations(parse_format("nvfp4")), possible_activations(parse_format("w4a16"))
    (('fp16', 'fp8', 'fp4'), ('fp16',))
    """
    if fmt.native_activations is None:
        return (fmt.activations,)
    return (WIDE, "fp8", "fp4")
