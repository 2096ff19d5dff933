"""Machine files: a design as the accelerator that ``qsim roofline --hw FILE.toml`` reads."""

from dataclasses import replace

import numpy as np

from hw.accelerator import Accelerator, from_record
from sim.codesign import parts
from sim.codesign.grid import Grid, Sizes
from sim.codesign.pairs import Pair

#: Bits of a number of the KV cache if ``--kv`` names no format: FP16.
KV_BITS = 16


def stand_in(pair: Pair) -> Accelerator:
    """Return a machine with a pair's element, for the products of its work; its sizes say nothing.

    The products of a token depend on the element alone.
    """
    return from_record(
        pair.record.name,
        name="design",
        title=f"{pair.record.name}",
        dram="lpddr4",
        dataflow="stream",
        clock_mhz=1.0,
        prefill_rows=1,
        prefill_columns=1,
        decode_rows=1,
        decode_columns=1,
        kv_bits=KV_BITS,
        weight_buffer_bytes=1,
        activation_buffer_bytes=1,
        output_buffer_bytes=1,
        dram_bits_per_cycle=8,
        dequantize_cycles=0,
    )


def machine_of(grid: Grid, pair: Pair, found: Sizes, *, name: str) -> Accelerator:
    """Return the machine of a grid with one machine, whose parts have the sizes ``found``."""
    (rows,), (columns,), (memory,), (clock,) = (
        grid.rows,
        grid.columns,
        grid.memories,
        grid.clocks_mhz,
    )
    return replace(
        stand_in(pair),
        name=name,
        title=f"{name}: {rows * columns} x {pair.record.name} that follow the weight stream",
        dram=memory.kind,
        clock_mhz=clock,
        prefill_rows=rows,
        prefill_columns=columns,
        decode_rows=rows,
        decode_columns=columns,
        weight_buffer_bytes=_only(found.weight_bytes),
        activation_buffer_bytes=_only(found.input_bytes),
        output_buffer_bytes=_only(found.output_bytes),
        dram_bits_per_cycle=_only(found.bus_bits),
        memory_gb_per_s=memory.gb_per_s,
        memory_efficiency=parts.MEMORY_EFFICIENCY,
        group_scaler=pair.group_scaler,
    )


def _only(value: np.ndarray) -> int:
    return int(np.asarray(value).item())


#: Origin of each number of a machine file.
SOURCES = {
    "clock_mhz": "chosen; the netlist's longest path allows {fastest:.0f} MHz with a margin of"
    " {margin:g} (assumed)",
    "kv_bits": "chosen: {kv}",
    "weight_buffer_bytes": "chosen, or follows: latency of memory x bandwidth",
    "activation_buffer_bytes": "follows: the longest inputs of a token, or the weight buffer",
    "output_buffer_bytes": "follows: two tiles of FP32 results",
    "dram_bits_per_cycle": "follows: the narrowest bus that carries the memory's bandwidth",
    "memory_gb_per_s": "chosen",
    "memory_efficiency": "assumed: reported shares of FPGA machines with overlapped loads, 0.74 to"
    " 0.95",
    "dequantize_cycles": "scales are applied while the next group is summed",
}
KEYS = (
    "clock_mhz", "prefill_rows", "prefill_columns", "decode_rows", "decode_columns", "kv_bits",
    "weight_buffer_bytes", "activation_buffer_bytes", "output_buffer_bytes", "dram_bits_per_cycle",
    "memory_gb_per_s", "memory_efficiency", "dequantize_cycles",
)  # fmt: skip


def machine_toml(machine: Accelerator, pair: Pair) -> str:
    """Return the text of a machine's file."""
    fastest = parts.fastest_mhz(pair.record.delay_ps or 0.0)
    given = {"fastest": fastest, "margin": parts.CLOCK_MARGIN, "kv": pair.kv}
    lines = [
        f'title = "{machine.title}"',
        f'dram = "{machine.dram}"',
        'dataflow = "stream"',
        f'element = "{machine.element}"',
    ]
    if machine.group_scaler:
        lines.append(f'group_scaler = "{machine.group_scaler}"')
    for key in KEYS:
        source = SOURCES.get(key, "chosen").format(**given)
        assumed = ", confirmed = false" if source.startswith("assumed") else ""
        value = getattr(machine, key)
        lines.append(f'{key} = {{ value = {value!r}, source = "{source}"{assumed} }}')
    return "\n".join(lines) + "\n"
