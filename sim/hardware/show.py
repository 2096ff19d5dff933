"""``qsim rtl show``: a PE's computation, streams, stored cost and nearest sweep."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from hw.energy_level import level_note
from hw.pe_record import PeRecord, list_records, load_record
from numerics.names.text import short_name
from numerics.schemes.scheme import Scheme
from rtl.catalog import PES
from rtl.element import ProcessingElement
from rtl.verilog.header import header_lines
from sim.errors import UserError
from sim.formats.lookup import is_format
from sim.hardware.command import find_pes
from sim.hardware.tables import pes_table
from sim.names.gguf_mix import GgufMix
from sim.names.meaning import find_meaning


def pe_text(name: str) -> RenderableType:
    """Return a PE's computation, the bits of its streams, its cost, and how to sweep with it.

    For the name of a format, return the PEs that compute with it.
    """
    if name not in PES and is_format(name):
        return _pes_of(name)
    (pe,) = find_pes([name])
    lines = [*_head(pe), "", *header_lines(pe, pe.build()), "", *_cost(pe), _sweep(pe)]
    return Group(*(Text(line) for line in lines))


def _pes_of(name: str) -> RenderableType:
    """Return the PEs with the weights (and activations, if it has any) of a format's name."""
    meaning = find_meaning(name)
    weights, activations = _elements(meaning.weights, name), _elements(meaning.activations, None)
    found = [
        pe
        for pe in PES.values()
        if pe.weight_name in weights and (not activations or pe.activation_name in activations)
    ]
    if not found:
        raise UserError(f"no PE has weights in {name}; 'qsim rtl' lists the formats of each")
    return pes_table(found)


def _elements(scheme: Scheme | GgufMix | None, name: str | None) -> set[str]:
    """Return the names by which PEs may list a format: format, scheme, element formats."""
    if not isinstance(scheme, Scheme):
        return set()
    own = {name, short_name(scheme), *(fmt.name for fmt in scheme.formats)}
    return {each for each in own if each is not None}


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
