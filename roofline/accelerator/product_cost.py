"""Cost of a product on any accelerator: by its dataflow, or on a processor beside the array."""

from math import ceil

from hw.accelerator import Accelerator
from roofline.accelerator.gemm import RESULT_BITS, Gemm, GemmCost, Phase, gemm_cost
from roofline.accelerator.stream_cost import stream_cost


def product_cost(gemm: Gemm, machine: Accelerator, phase: Phase) -> GemmCost:
    """Return cycles, traffic and energy of a product."""
    if gemm.on_host:
        return host_cost(gemm, machine)
    if machine.dataflow == "stream":
        return stream_cost(gemm, machine)
    return gemm_cost(gemm, machine, phase)


def host_cost(gemm: Gemm, machine: Accelerator) -> GemmCost:
    """Return the cost of a product on a processor that shares the machine's memory.

    The processor is assumed to keep up with memory; its energy is not counted.
    """
    bits = gemm.weight_bits + gemm.side_bits
    weights = gemm.inputs * gemm.outputs * bits / 8
    others = gemm.tokens * (gemm.inputs + gemm.outputs) * RESULT_BITS / 8
    traffic = ceil(gemm.count * (weights + others))
    cycles = ceil(traffic / machine.stream_bytes_per_cycle)
    return GemmCost(
        cycles=cycles,
        bound_cycles=gemm.count * weights / machine.peak_bytes_per_cycle,
        compute_cycles=0,
        dram_cycles=cycles,
        traffic_bytes=traffic,
        utilization=0.0,
        pe_energy_pj=0.0,
        buffer_energy_pj=0.0,
        dram_energy_pj=machine.dram_energy.energy_pj(traffic)[1],
    )
