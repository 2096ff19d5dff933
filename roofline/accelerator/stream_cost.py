"""Cost of a product on an accelerator whose file says ``dataflow = "stream"``."""

from hw.accelerator import Accelerator
from hw.pe_record import load_record
from hw.sram import access_energy_pj_per_byte
from roofline.accelerator.gemm import Gemm, GemmCost
from roofline.accelerator.stream import (
    Geometry,
    Product,
    check_drain,
    least_fifo_bytes,
    schedule,
    tile_bytes,
    tile_cycles,
)
from roofline.accelerator.stream_energy import EnergyRates, product_energy
from roofline.accelerator.systolic import ceil_div


def stream_product(gemm: Gemm, machine: Accelerator) -> Product:
    """Return a product as the schedule takes it."""
    return Product(
        tokens=gemm.tokens,
        inputs=gemm.inputs,
        outputs=gemm.outputs,
        code_bits=gemm.weight_bits,
        side_bits=gemm.side_bits * (gemm.group or gemm.inputs),
        group=gemm.group or 0,
        activation_bits=machine.activation_bits,
    )


def stream_geometry(machine: Accelerator) -> Geometry:
    """Return the sizes of a machine; those for prompts and for single tokens are equal.

    Raises
    ------
    ValueError
        The sizes differ, or the FIFO of weights does not hide the memory's latency.
    """
    prefill, decode = (
        (machine.prefill_rows, machine.prefill_columns),
        (machine.decode_rows, machine.decode_columns),
    )
    if prefill != decode:
        raise ValueError(
            f"{machine.name}: a stream machine has one array, not {prefill[0]} x {prefill[1]} for"
            f" prompts and {decode[0]} x {decode[1]} for single tokens"
        )
    record = machine.record
    assert record is not None  # the file's reader checks it
    geometry = Geometry(
        rows=machine.decode_rows,
        columns=machine.decode_columns,
        lanes=record.lanes,
        beat_cycles=record.cycles_per_beat,
        bytes_per_cycle=machine.stream_bytes_per_cycle,
    )
    least = int(least_fifo_bytes(geometry))
    if machine.weight_buffer_bytes < least:
        raise ValueError(
            f"{machine.name}: weight_buffer_bytes is {machine.weight_buffer_bytes}; the memory's"
            f" latency takes {least}"
        )
    return geometry


def stream_cost(gemm: Gemm, machine: Accelerator) -> GemmCost:
    """Return cycles and energy of a product by :mod:`roofline.accelerator.stream`.

    Raises
    ------
    ValueError
        The activations of one block of tokens do not fit, or results leave too slowly.
    """
    geometry = stream_geometry(machine)
    product = stream_product(gemm, machine)
    check_drain(product, geometry)
    of_token = ceil_div(gemm.inputs * machine.activation_bits, 8)
    held = machine.activation_buffer_bytes // of_token
    if held < min(geometry.columns, gemm.tokens):
        raise ValueError(
            f"{machine.name}: activation_buffer_bytes is {machine.activation_buffer_bytes}; a token"
            f" of {gemm.name!r} takes {of_token}"
        )
    tile = int(tile_bytes(product, geometry, geometry.rows))
    found = schedule(
        product,
        geometry,
        holds_tile=machine.weight_buffer_bytes >= 2 * tile,
        tokens_held=held,
    )
    energy = product_energy(product, geometry, found, energy_rates(machine))
    tiles = ceil_div(gemm.outputs, geometry.rows) * ceil_div(gemm.tokens, geometry.columns)
    macs_per_cycle = geometry.rows * geometry.columns * geometry.lanes / geometry.beat_cycles
    essential = 8 * float(found.read_bytes + found.written_bytes)
    cycles = int(found.cycles)
    return GemmCost(
        cycles=gemm.count * cycles,
        bound_cycles=gemm.count
        * max(
            gemm.macs / gemm.count / macs_per_cycle,
            gemm.inputs * gemm.outputs * (gemm.weight_bits + gemm.side_bits)
            / (8 * machine.peak_bytes_per_cycle),
        ),
        compute_cycles=gemm.count * tiles * int(tile_cycles(product, geometry)),
        dram_cycles=gemm.count * int(found.memory_cycles),
        traffic_bytes=int(gemm.count * essential / 8),
        utilization=gemm.macs / gemm.count / (macs_per_cycle * cycles),
        pe_energy_pj=gemm.count * float(energy.pes_pj),
        buffer_energy_pj=gemm.count * float(energy.buffers_pj),
        dram_energy_pj=gemm.count * float(energy.dram_pj),
    )  # fmt: skip


def energy_rates(machine: Accelerator) -> EnergyRates:
    """Return the nominal energies of a machine's parts."""
    scaler = load_record(machine.group_scaler) if machine.group_scaler else None
    node = machine.technology_nm
    return EnergyRates(
        pe_pj=machine.pe_energy_pj_per_cycle,
        idle_pj=machine.pe_idle_pj_per_cycle or 0.0,
        scaler_pj=scaler.energy.nominal_pj * scaler.cycles_per_beat if scaler else 0.0,
        weights_pj_per_byte=access_energy_pj_per_byte(machine.weight_buffer_bytes, node),
        activations_pj_per_byte=access_energy_pj_per_byte(machine.activation_buffer_bytes, node),
        dram_pj_per_byte=8 * machine.dram_energy.nominal_pj_per_bit,
    )
