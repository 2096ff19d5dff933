"""An accelerator with other PEs on the same area: rates and energies of measured netlists.

Buffers, memory, clock and the array's side along tokens stay as they are, so that all arrays split
tokens alike; as many rows along outputs as fit are taken. This is an approximation: records count
neither wires nor clock tree, and one clock for all assumes that longer paths are pipelined.
"""

from dataclasses import replace

from hw.accelerator import Accelerator
from hw.pe_record import PeRecord


def with_elements(
    base: Accelerator,
    record: PeRecord,
    *,
    area_um2: float,
    weight_bits: int,
    activation_bits: int,
    kv_bits: int,
) -> Accelerator:
    """Return ``base`` with an array of the PEs of a record, as many as fit on an area.

    ``rows = floor(area / (columns * area of a PE))``, for prompts and for single tokens. A step of
    ``lanes`` values takes the cycles of the record's beat.

    Raises
    ------
    ValueError
        No row fits, or the record has no energy.

    Examples
    --------
    28 x 32 MACs of INT8 have 773 um2 each; on 896 x 773 um2 fit 38 x 32 of 562 um2.

    >>> from hw.accelerator import load_accelerator
    >>> from hw.pe_record import load_record
    >>> base, int8 = load_accelerator("fp16-28nm-500mhz"), load_record("int8-mac")
    >>> mixpe = with_elements(
    ...     base, load_record("mixpe-w4a8"), area_um2=896 * int8.area_um2,
    ...     weight_bits=4, activation_bits=8, kv_bits=8,
    ... )
    >>> mixpe.prefill_rows, mixpe.prefill_columns
    (38, 32)
    """
    energy_fj = record.energy_gate_delay_fj_per_mac
    if energy_fj is None:
        raise ValueError(
            f"the record of {record.name} has no energy; measure it with the built-in library"
        )
    rows = [
        int(area_um2 / (columns * record.area_um2))
        for columns in (base.prefill_columns, base.decode_columns)
    ]
    if not min(rows):
        widest = max(base.prefill_columns, base.decode_columns)
        raise ValueError(
            f"a row of {widest} {record.name} takes {widest * record.area_um2:g} um2,"
            f" more than the {area_um2:g} um2 of the array"
        )
    return replace(
        base,
        name=f"{base.name}, {record.name}",
        title=f"{base.title} with PEs {record.name}",
        prefill_rows=rows[0],
        decode_rows=rows[1],
        lanes=record.lanes,
        bits_per_cycle=-(-weight_bits // record.cycles_per_beat),
        activation_bits=activation_bits,
        kv_bits=kv_bits,
        pe_energy_pj_per_cycle=energy_fj * record.macs_per_cycle / 1000,
        pe_area_um2=record.area_um2,
    )
