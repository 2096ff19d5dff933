"""Files to start from: a machine's or an accelerator's file, with what each key means above it."""

import re

from hw.accelerator import is_accelerator_text

HEAD = (
    "A file of qsim to start from: edit it, and name it with --hw FILE.toml.",
    'A number is { value = ..., source = "its origin" }; add confirmed = false to any that',
    "you have not read in its source. Units are in the keys; peaks are dense, two operations for",
    "each multiply-add. Keys after # may be added.",
)
#: Meaning and unit of each key of a machine's file, by table.
MACHINE: dict[str, dict[str, str]] = {
    "": {
        "title": "name for people",
        "vendor": "maker; decides which GEMM library and kernels engines have",
        "kind": "gpu, cpu or npu",
        "dram": "kind of memory, for its energy: hbm2 hbm2e hbm3 gddr6 gddr6x ddr4 ddr5 lpddr4"
        " lpddr5",
        "dram_confirmed": "false if the kind of memory is assumed",
        "aliases": "other names of the machine",
        "bandwidth_gb_per_s": "memory bandwidth, 1e9 bytes/s",
        "capacity_gib": "memory size, 2**30 bytes; or capacity_gb",
        "capacity_gb": "memory size, 1e9 bytes; or capacity_gib",
        "sparse_speedup": "speedup of matrix products with 2:4 structured sparsity over dense ones",
        "vector_tops": "peak FP32 rate of everything but matrix products, 1e12 operations/s",
        "multiprocessors": "SMs of NVIDIA, compute units (pairs since RDNA) of AMD, cores of Apple",
        "clock_ghz": "clock of a GPU, 1e9 cycles/s",
        "compute_capability": "NVIDIA's number of the instruction set, such as 9.0 for Hopper",
        "on_chip_kb": "shared on-chip memory such as L2, 1000 bytes",
        "link_gb_per_s": "link to other machines, both directions together, 1e9 bytes/s",
        "link_latency_us": "latency of a message over the link, microseconds",
        "bridged_machines": "machines that the link connects, where it is a bridge",
        "tdp_w": "power limit, watts",
        "idle_w": "power when nothing runs, watts",
        "process_nm": "technology node of the chip, nanometers",
        "price_usd_per_hour": "price of an hour, US dollars",
    },
    "peaks": {
        "weights": "type of one operand: fp32 fp16 fp8 int8 fp4 int4; fp16 means bf16 too",
        "activations": "type of the other operand",
        "accumulate": "type of the sum",
        "tops": "dense matrix products, 1e12 operations/s",
    },
    "cores": {
        "count": "performance cores, which take the threads first",
        "clock_ghz": "clock with all cores at work, 1e9 cycles/s",
        "instructions": "instruction set, a key of hw/cpu.py",
        "bandwidth_gb_per_s": "most that one core reads from memory, 1e9 bytes/s",
        "last_cache_mb": "last-level cache, 2**20 bytes",
        "memory_channels": "memory channels",
    },
    "cores.small": {
        "count": "efficiency cores; they count in bounds only",
        "clock_ghz": "clock of one of them, 1e9 cycles/s",
        "instructions": "instruction set, a key of hw/cpu.py",
    },
    "efficiency": {
        "compute": "share of the peak that matrix products were measured to reach",
        "memory": "share of the bandwidth that was measured to be reached",
    },
}
#: Meaning and unit of each key of an accelerator's file.
ACCELERATOR: dict[str, dict[str, str]] = {
    "": {
        "title": "name for people",
        "dram": MACHINE[""]["dram"],
        "dataflow": "what stays in the PEs: output, weight or input; or stream, where nothing does;"
        " output if not given",
        "element": "PE of the array, one of 'qsim rtl': its record gives node, lanes, bits, energy,"
        " area and leakage, and the file leaves them out",
        "group_scaler": "PE that scales the sums of groups where the element does not",
        "technology_nm": "technology node, nanometers",
        "clock_mhz": "clock, 1e6 cycles/s",
        "prefill_rows": "rows of PEs for prompts: output channels where outputs stay",
        "prefill_columns": "columns of PEs for prompts: tokens where outputs stay",
        "decode_rows": "rows of PEs for single tokens",
        "decode_columns": "columns of PEs for single tokens",
        "lanes": "values of a dot product that a PE takes in one step",
        "bits_per_cycle": "bits of a weight that a PE takes in one cycle",
        "activation_bits": "bits of an activation",
        "kv_bits": "bits of a key or value in the cache",
        "weight_buffer_bytes": "on-chip buffer of weights, bytes",
        "activation_buffer_bytes": "on-chip buffer of activations, bytes",
        "output_buffer_bytes": "on-chip buffer of partial sums, bytes; 0 if they stay in the PEs",
        "dram_bits_per_cycle": "memory bandwidth, bits a cycle",
        "pe_energy_pj_per_cycle": "energy of one PE, picojoules a cycle",
        "dequantize_cycles": "cycles to scale the sum of a group; the next group runs meanwhile",
        "pe_area_um2": "area of one PE, square micrometers",
        "pe_leakage_uw": "leakage of one PE, microwatts",
        "pe_idle_pj_per_cycle": "energy of one PE in a cycle without work, picojoules",
        "memory_gb_per_s": "memory bandwidth where the bus is wider, 1e9 bytes/s; stream only",
        "memory_efficiency": "share of the memory bandwidth that is reached; stream only",
    },
}
#: Example value in the comments for keys that a file does not have.
EXAMPLE = '{ value = 1, source = "..." }'
NOT_NUMBERS = frozenset(
    [
        "title",
        "vendor",
        "kind",
        "dram",
        "dram_confirmed",
        "aliases",
        "dataflow",
        "element",
        "group_scaler",
        "instructions",
    ]
)


def template(text: str) -> str:
    """Return the text of a machine's or an accelerator's file with every key explained.

    A key is explained where it first stands; keys that the first table lacks follow as comments.
    """
    about = ACCELERATOR if is_accelerator_text(text) else MACHINE
    table, seen = "", set[tuple[str, str]]()
    lines = [f"# {line}" for line in HEAD]
    for line in text.splitlines():
        if match := re.match(r"\s*\[+\s*([\w.]+)\s*\]+", line):
            lines += _missing(about, table, seen)
            table = match[1]
        elif (match := re.match(r"\s*(\w+)\s*=", line)) and (table, match[1]) not in seen:
            seen.add((table, match[1]))
            lines.append(f"# {match[1]}: {about.get(table, {}).get(match[1], 'unknown key')}")
        lines.append(line)
    return "\n".join([*lines, *_missing(about, table, seen)]) + "\n"


def _missing(about: dict[str, dict[str, str]], table: str, seen: set[tuple[str, str]]) -> list[str]:
    """Return the keys of the first table that a file does not have, as comments; once."""
    if table or ("", "") in seen:
        return []
    seen.add(("", ""))
    keys = [key for key in about[""] if ("", key) not in seen and key not in NOT_NUMBERS]
    return [f"# {key} = {EXAMPLE}  # {about[''][key]}" for key in keys]
