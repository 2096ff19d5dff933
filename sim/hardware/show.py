"""``qsim rtl show``: a PE's computation, streams, stored cost and nearest sweep."""

import warnings
from collections.abc import Iterator

from amaranth.hdl import UnusedElaboratable
from rich.console import Group, RenderableType
from rich.text import Text

from hw.energy_level import level_note
from hw.pe_reads import weight_names, why_not_weights
from hw.pe_record import PeRecord, list_records, load_record
from numerics.formats import FORMATS, Format
from numerics.names.text import short_name
from numerics.schemes.scheme import Scheme
from rtl.catalog import PES
from rtl.element import ProcessingElement
from rtl.verilog.header import header_lines
from sim.errors import UserError
from sim.formats.lookup import is_format
from sim.hardware.command import find_pes
from sim.hardware.tables import pes_table
from sim.names.meaning import find_meaning

#: PE whose formats are replaced to make one for another format.
MADE_FROM = "int8-mac"


def pe_text(name: str) -> RenderableType:
    """Return a PE's computation, the bits of its streams, its cost, and how to sweep with it.

    For the name of a format, return the PEs that compute with it.
    """
    if name not in PES and (is_format(name) or name.lower() in FORMATS):
        return _pes_of(name)
    (pe,) = find_pes([name])
    lines = [*_head(pe), "", *header_lines(pe, pe.build()), "", *_cost(pe), _sweep(pe)]
    return Group(*(Text(line) for line in lines))


def _pes_of(name: str) -> RenderableType:
    """Return the PEs that read a format's weights (and activations, if it has any)."""
    weights, activations = _operands(name)
    names = {name.lower(), *_element_names(weights)}
    # Activations without an element format, such as those of BitNet, rule out no PE.
    read = _element_names(activations) if activations is not None and activations.formats else set()
    pes = [pe for pe in PES.values() if not read or pe.activation_name in read]
    own = [pe for pe in pes if {pe.weight_name, *_names_read(pe)} & names]
    wider = [pe.name for pe in pes if pe not in own and _reads(pe, weights)]
    if not own and not wider:
        raise UserError(_none(name, weights))
    parts: list[RenderableType] = [pes_table(own)] if own else []
    if wider:
        first = "read it too" if own else f"read {name}"
        text = f"PEs of wider codes {first}, with the sign extended: {', '.join(wider)}"
        parts += [Text()] * bool(own) + [Text(text)]
    return Group(*parts)


def _operands(name: str) -> tuple[Scheme | Format, Scheme | None]:
    """Return the weights and activations that a name stands for."""
    if not is_format(name):
        return FORMATS[name.lower()], None
    meaning = find_meaning(name)
    if meaning.weights is None:
        raise UserError(f"no PE reads {name}; 'qsim rtl' lists PEs and their formats")
    if not isinstance(meaning.weights, Scheme):
        raise UserError(
            f"{name} is a mix of formats: {meaning.weights.about}; name one of them, such as q4_k"
        )
    return meaning.weights, meaning.activations


def _element_names(operand: Scheme | Format) -> set[str]:
    """Return the names by which PEs may list a format: scheme and element formats."""
    if not isinstance(operand, Scheme):
        return {operand.name}
    return {short_name(operand), *(fmt.name for fmt in operand.formats)}


def _names_read(pe: ProcessingElement) -> tuple[str, ...]:
    return weight_names(load_record(pe.name)) if pe.name in list_records() else ()


def _reads(pe: ProcessingElement, weights: Scheme | Format) -> bool:
    """Return whether the codes of a scheme are codes of the PE's wider format too."""
    if not isinstance(weights, Scheme) or pe.name not in list_records():
        return False
    return not why_not_weights(load_record(pe.name), weights)


def _none(name: str, weights: Scheme | Format) -> str:
    """Return the message for a format that no PE reads, with the way to make one if there is."""
    formats = weights.formats if isinstance(weights, Scheme) else (weights,)
    if len(formats) == 1 and _can_multiply(formats[0]):
        return (
            f"no PE of the catalog reads {name}; 'qsim rtl emit {MADE_FROM} --weights "
            f"{formats[0].name}' makes an exact dot product with it"
        )
    return f"no PE reads {name}; 'qsim rtl' lists PEs and their formats"


def _can_multiply(fmt: Format) -> bool:
    # Silence Amaranth's unused-elaboratable warning for a rejected PE.
    warnings.simplefilter("ignore", UnusedElaboratable)
    try:
        _ = PES[MADE_FROM].with_formats({"weights": fmt}).result_shape
    except ValueError:
        return False
    return True


def _head(pe: ProcessingElement) -> Iterator[str]:
    lanes = f"{pe.lanes} lane{'s' * (pe.lanes != 1)}"
    beat = f"{pe.cycles} cycle{'s' * (pe.cycles != 1)} per beat"
    yield f"{pe.name}: {pe.weight_name} weights x {pe.activation_name} activations, {lanes}, {beat}"
    yield f"source: {pe.source}"


def _cost(pe: ProcessingElement) -> Iterator[str]:
    if pe.name not in list_records():
        yield f"cost: not measured yet; 'qsim rtl cost {pe.name}' measures it"
        return
    record = load_record(pe.name)
    yield f"cost: {_area(record)}{_energy(record)} in {record.library}"
    yield f"level: {level_note()}"


def _area(record: PeRecord) -> str:
    return f"{record.area_um2:.1f} um2, {record.area_um2_per_mac:.1f} um2 per MAC"


def _energy(record: PeRecord) -> str:
    nominal = record.energy_gate_delay_fj_per_mac
    if nominal is None:
        return ""
    low, high = record.energy_no_delay_fj_per_mac, record.energy_unit_delay_fj_per_mac
    return f", {nominal:.0f} fJ/MAC ({low:.0f} without glitches, {high:.0f} with unit-delay ones)"


def _sweep(pe: ProcessingElement) -> str:
    if pe.rounding_model is not None:
        return f"accuracy: its sums round; 'qsim sweep --pe {pe.name}' measures a model with them"
    return f"accuracy: it {pe.nearest_sweep}"
