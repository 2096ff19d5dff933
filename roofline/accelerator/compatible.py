"""Whether the PEs of an accelerator read a format's codes."""

from hw.accelerator import Accelerator
from hw.pe_reads import OPERANDS, why_not_activations, why_not_weights
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.step import ACTIVATION_BYTES


def activation_bits_of(fmt: ServingFormat) -> int:
    """Return the bits of a format's activations.

    >>> from roofline.runtime.serving_format import parse_format
    >>> activation_bits_of(parse_format("w4a8"))
    8
    """
    return int(8 * ACTIVATION_BYTES[fmt.activations])


def check_format(machine: Accelerator, fmt: ServingFormat) -> None:
    """Raise ValueError if the PEs cannot read a format's activations or weights.

    Any weights suit an accelerator that names no element, as far as is known.
    """
    record = machine.record
    if record is None:
        wide = activation_bits_of(fmt)
        if wide > machine.activation_bits:
            raise ValueError(
                f"{machine.name} takes activations of {machine.activation_bits} bits, and"
                f" {fmt.name} has {fmt.activations}; give --activations {_operand(machine)}"
            )
        return
    if why := why_not_activations(record, fmt.activations):
        own = next(name for name, known in OPERANDS.items() if known == record.activations)
        raise ValueError(f"{machine.name}: {why}; give --activations {own}")
    if fmt.mix is not None or (fmt.weights.scheme is None and fmt.weights.operand is None):
        raise ValueError(
            f"{machine.name}: {record.name} reads codes of {record.weights}, not those of"
            f" {fmt.name}"
        )
    if why := why_not_weights(record, fmt.weights.scheme):
        raise ValueError(f"{machine.name}: {why}; 'qsim rtl' lists the formats of each PE")


def _operand(machine: Accelerator) -> str:
    """Return the widest integer operand that an accelerator takes."""
    return "int8" if machine.activation_bits >= 8 else "int4"
