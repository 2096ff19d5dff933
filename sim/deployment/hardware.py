"""``qsim hw`` for the terminal: the list, one machine with its sources, and measurements."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hw.accelerator import ACCELERATORS, Accelerator, list_accelerators, load_accelerator
from hw.array_machine import list_array_machines, load_array_machine
from hw.machine import MACHINES, Machine, list_machines, load_machine, numbers_of, peaks_of_cores
from hw.template import template
from hw.toml_reader import Sourced
from sim.deployment.lookup import FILE_SUFFIX, find_device
from sim.deployment.roofs import si
from sim.errors import UserError, os_error_text

if TYPE_CHECKING:
    from hw.measure import Measurement

#: Mark of a number that was not checked against its source.
UNREAD = "?"
#: Kind of memory of a measured machine whose system does not report it.
ASSUMED_DRAM = "ddr4"
SHOWN_PEAKS = ("fp32", "fp16", "fp8", "int8", "fp4", "int4")


def machines_table() -> RenderableType:
    """Return every built-in machine and accelerator, one a line."""
    table = _table("name", "kind", *SHOWN_PEAKS, "GB/s", "GiB", "W")
    for name in list_machines():
        machine = load_machine(name)
        peaks = machine.native_peaks
        table.add_row(
            name,
            machine.kind,
            *(_peak(machine, operand, peaks.get(operand)) for operand in SHOWN_PEAKS),
            *map(_marked, (machine.bandwidth_gb_per_s, machine.capacity_gib, machine.tdp_w)),
        )
    arrays = _table("accelerator", "array", "lanes", "MHz", "nm", "title")
    for name in list_accelerators():
        found = load_accelerator(name)
        size = f"{found.prefill_rows} x {found.prefill_columns}"
        unread = {key: UNREAD for key in found.unconfirmed}
        cells = (
            f"{size}{unread.get('prefill_rows', '')}",
            f"{found.lanes}{unread.get('lanes', '')}",
            f"{found.clock_mhz:g}{unread.get('clock_mhz', '')}",
            f"{found.technology_nm:g}{unread.get('technology_nm', '')}",
        )
        arrays.add_row(name, *cells, found.title)
    built = _table("built by others", "array", "lanes", "MHz", "plan", "title")
    for name in list_array_machines():
        other = load_array_machine(name)
        clock = f"{other.clock_mhz:g}{UNREAD if 'clock_mhz' in other.unconfirmed else ''}"
        size = f"{other.rows} x {other.columns}"
        built.add_row(name, size, str(other.lanes), clock, other.plan, other.title)
    note = "Peaks are dense operations a second, two for each multiply-add; fp16 means bf16 too."
    mark = f"{UNREAD}: not checked against its source; 'qsim hw show NAME' prints the source."
    use = "'qsim roofline validate' scores those built by others; they run no request."
    return Group(table, Text(), arrays, Text(), built, Text(f"\n{note}\n{mark}\n{use}"))


def _marked(number: Sourced | None) -> str:
    """Return a number, with a mark if it was not checked against its source.

    >>> _marked(Sourced(value=72, source="recalled", confirmed=False)), _marked(None)
    ('72?', '')
    """
    if number is None:
        return ""
    return f"{number.value:g}{'' if number.confirmed else UNREAD}"


def _peak(machine: Machine, operand: str, rate: float | None) -> str:
    """Return a peak; that of a CPU is marked with the count and the clock of its cores."""
    if rate is None:
        return ""
    start = "cores." if machine.cores is not None else f"peaks.{operand}x{operand}."
    is_unread = any(name.startswith(start) for name in machine.unconfirmed)
    return si(rate) + (UNREAD if is_unread else "")


def device_table(name: str) -> RenderableType:
    """Return one machine or accelerator: every number with its source."""
    device = find_device(name)
    if isinstance(device, Accelerator):
        return _accelerator_table(device)
    machine = device.machine
    table = _table("number", "value", "source")
    for key, number in numbers_of(machine):
        mark = "" if number.confirmed else " (not confirmed)"
        table.add_row(key, f"{number.value:g}", Text(number.source + mark))
    parts: list[RenderableType] = [_heading(machine), table]
    if machine.cores is not None:
        rates = peaks_of_cores(machine.cores)
        listed = ", ".join(f"{key} {si(rate)}OP/s" for key, rate in rates.items())
        parts.append(Text(f"\nPeaks from {machine.cores.instructions}: {listed}"))
    return Group(*parts)


def device_toml(name: str) -> str:
    """Return the file of a machine or an accelerator with every key explained, to start from."""
    device = find_device(name)
    if name.endswith(FILE_SUFFIX):
        path = Path(name)
    elif isinstance(device, Accelerator):
        path = ACCELERATORS.path(device.name)
    else:
        path = MACHINES.path(device.machine.name)
    return template(path.read_text(encoding="utf-8"))


def _heading(machine: Machine) -> Text:
    mark = "" if machine.dram_confirmed else " (not confirmed)"
    return Text(f"{machine.title}: {machine.kind}, {machine.dram}{mark}\n")


def _accelerator_table(machine: Accelerator) -> RenderableType:
    table = _table("number", "value", "source")
    table.add_row("dram", machine.dram, "")
    table.add_row("dataflow", machine.dataflow, Text("what stays in the PEs"))
    for name, source in machine.sources:
        mark = " (not confirmed)" if name in machine.unconfirmed else ""
        table.add_row(name, f"{getattr(machine, name):g}", Text(source + mark))
    area = machine.array_area_mm2
    ends = f"\nPEs of the array: {area:.3g} mm2" if area else ""
    return Group(Text(f"{machine.title}\n"), table, Text(ends))


def measurement_table(found: "Measurement") -> RenderableType:
    """Return the measured rates with their scatter, and which of them are unstable."""
    table = _table("ceiling", "best", "median / best", "setting")
    for ceiling in (*found.products, found.prompt, found.read, found.vector):
        unit = "B/s" if ceiling in (found.read, found.vector) else "OP/s"
        table.add_row(
            ceiling.name,
            f"{si(ceiling.best)}{unit}",
            f"{ceiling.steadiness:.2f}",
            ceiling.setting,
        )
    parts: list[RenderableType] = [
        Text(f"{found.cpu}, {found.cores} cores, {found.memory_bytes / 1e9:.1f} GB\n"),
        table,
    ]
    if found.unstable:
        parts.append(
            Text(f"\nunstable: {', '.join(found.unstable)}; measure again without other programs")
        )
    return Group(*parts)


def check_machine_path(path: Path) -> None:
    """Refuse a path that ``--hw`` would not read as a machine's file."""
    if path.suffix != ".toml" or path.is_dir():
        raise UserError(f"{path} is not a name for a machine's file, which ends in .toml")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is a file; name a path in a directory")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{nearest} cannot be written to")


def write_machine(found: "Measurement", path: Path) -> None:
    """Write a measured machine as a file that ``--hw`` reads."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(machine_text(found), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(os_error_text(error, path)) from None


def machine_text(found: "Measurement") -> str:
    """Return the TOML text of a measured machine; its own best rates are its peaks."""
    source = f"measured with {found.libraries}, best of {len(found.read.rates)}"
    operands = {"float32": "fp32", "bfloat16": "fp16", "int8": "int8"}
    lines = [
        f"title = {_quoted(f'{found.cpu}, {found.cores} cores')}",
        'vendor = "measured"',
        'kind = "cpu"',
        f'dram = "{found.dram or ASSUMED_DRAM}"',
        *([] if found.dram else ["# Not reported by the system.", "dram_confirmed = false"]),
        f"bandwidth_gb_per_s = {_number(found.read.best / 1e9, source)}",
        f"capacity_gb = {_number(found.memory_bytes / 1e9, 'the system')}",
        "",
        "[efficiency]",
        f"compute = {_number(found.compute_share, f'{source}, {found.prompt.setting}')}",
        f"memory = {_number(found.memory_share, f'{source}, {found.vector.setting}')}",
    ]
    for ceiling in found.products:
        if ceiling.name in operands:
            operand = operands[ceiling.name]
            accumulate = "int32" if operand == "int8" else "fp32"
            lines += ["", "[[peaks]]", f'weights = "{operand}"', f'activations = "{operand}"']
            lines += [f'accumulate = "{accumulate}"']
            lines += [f"tops = {_number(ceiling.best / 1e12, f'{source}, {ceiling.setting}')}"]
    return "\n".join(lines) + "\n"


def _number(value: float, source: str) -> str:
    return f"{{ value = {value:.6g}, source = {_quoted(source)} }}"


def _quoted(text: str) -> str:
    clean = "".join(c for c in text if c.isprintable() and c not in '"\\')
    return f'"{clean}"'


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(
            heading,
            justify="left" if heading in TEXTS else "right",
            overflow="fold",
            no_wrap=heading != "source",
        )
    return table


TEXTS = ("name", "kind", "number", "source", "title", "setting", "accelerator", "ceiling", "")
