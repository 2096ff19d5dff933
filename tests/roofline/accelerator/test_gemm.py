"""Cycles of one GEMM on an accelerator."""

from dataclasses import replace

import pytest

from hw.accelerator import load_accelerator
from roofline.accelerator.gemm import Gemm, gemm_cost
from roofline.accelerator.systolic import run_gemm

BITMOD = load_accelerator("bitmod")
INT8 = load_accelerator("int8-28nm")


def product(tokens, inputs, outputs, **more):
    return Gemm(
        name="x", tokens=tokens, inputs=inputs, outputs=outputs, **{"weight_bits": 4} | more
    )


def test_one_mac_a_cycle_is_a_systolic_array_with_results_that_stay():
    for tokens, inputs, outputs in [(1, 300, 70), (64, 64, 64), (33, 5, 100)]:
        cost = gemm_cost(product(tokens, inputs, outputs), INT8, "prefill")
        run = run_gemm(outputs, inputs, tokens, rows=32, columns=32, timing="double-buffered")
        waits = max(0, 32 - inputs)
        assert cost.compute_cycles == run.cycles + waits


def test_cycles_follow_the_bits_of_the_weights_and_the_lanes():
    assert [BITMOD.cycles_per_step(bits) for bits in (3, 4, 5, 6, 8)] == [2, 2, 3, 3, 4]
    one = gemm_cost(product(1, 4096, 4096), BITMOD, "decode")
    # 64 tiles of 1024 steps of 2 cycles, 78 to fill, 64 to drain.
    assert one.compute_cycles == 64 * 1024 * 2 + 78 + 64


def test_scaling_hides_behind_the_next_group_unless_it_takes_longer():
    plain = gemm_cost(product(1, 512, 64), BITMOD, "decode").compute_cycles
    grouped = gemm_cost(product(1, 512, 64, group=128), BITMOD, "decode").compute_cycles
    assert grouped == plain + 8
    # Groups of 8 take 4 cycles, 4 less than scaling, 63 times.
    small = gemm_cost(product(1, 512, 64, group=8), BITMOD, "decode").compute_cycles
    assert small == plain + 8 + 63 * 4


def test_traffic_counts_side_data_and_reads_again_what_does_not_fit():
    once = gemm_cost(product(1, 4096, 4096, weight_bits=3, side_bits=0.0625), BITMOD, "decode")
    assert once.traffic_bytes == 4096 * 4096 * 3.0625 / 8 + 2 * 4096 + 2 * 4096
    assert once.dram_cycles == 201216
    assert once.limiter == "memory"
    many = gemm_cost(product(256, 4096, 4096), BITMOD, "prefill")
    # 8 MiB of weights for each of 8 half buffers of inputs, or 2 MiB of inputs 32 times.
    assert many.traffic_bytes == 8 * 2**23 + 2**21 + 2**21
    assert many.limiter == "memory"
    assert gemm_cost(product(64, 4096, 4096), INT8, "prefill").limiter == "compute"


def test_partial_sums_in_a_buffer_of_their_own_save_reads():
    # 64 KiB hold the sums of 64 tokens for 256 channels: inputs are read 16 times.
    cost = gemm_cost(product(64, 16384, 4096), INT8, "prefill")
    assert cost.traffic_bytes == 2**25 + 16 * 2**20 + 2**19
    without = replace(INT8, output_buffer_bytes=0)
    again = gemm_cost(product(64, 16384, 4096), without, "prefill")
    assert again.traffic_bytes == 8 * 2**25 + 2**20 + 2**19


def test_utilization_is_one_only_for_endless_full_tiles():
    full = gemm_cost(product(32, 2**20, 32), INT8, "prefill")
    assert 0.99 < full.utilization < 1
    assert gemm_cost(product(1, 2**20, 32), INT8, "prefill").utilization < 1 / 32


def test_energy_follows_cycles_and_bytes():
    cost = gemm_cost(product(1, 4096, 4096), BITMOD, "decode")
    assert cost.pe_energy_pj == 0.56 * 1024 * cost.compute_cycles
    assert cost.dram_energy_pj == 18.75 * 8 * cost.traffic_bytes
    double = replace(product(1, 4096, 4096), count=2)
    assert gemm_cost(double, BITMOD, "decode").traffic_bytes == 2 * cost.traffic_bytes


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match=r"^tokens of 'x' is 0, less than 1$"):
        product(0, 1, 1)


def stationary(dataflow, **more):
    machine = load_accelerator("int8-28nm")
    return replace(machine, dataflow=dataflow, activation_buffer_bytes=2**30, **more)


@pytest.mark.parametrize("dataflow", ["weight", "input"])
@pytest.mark.parametrize("sizes", [(1, 256, 256), (128, 256, 512), (100, 200, 300), (16, 16, 16)])
def test_other_dataflows_take_the_cycles_of_double_buffered_systolic_arrays(dataflow, sizes):
    tokens, inputs, outputs = sizes
    machine = stationary(dataflow)
    gemm = Gemm(name="g", tokens=tokens, inputs=inputs, outputs=outputs, weight_bits=8)
    run = run_gemm(
        tokens, inputs, outputs, rows=32, columns=32, stationary=dataflow, timing="double-buffered"
    )
    assert gemm_cost(gemm, machine, "prefill").compute_cycles == run.cycles


def test_a_serial_array_that_holds_weights_takes_as_many_cycles_a_token_as_they_have_digits():
    machine = stationary("weight", bits_per_cycle=2)
    gemm = Gemm(name="g", tokens=1000, inputs=32, outputs=32, weight_bits=6)
    # One tile: 32 to load, 3 a token, 62 to fill and drain.
    assert gemm_cost(gemm, machine, "prefill").compute_cycles == 32 + 3000 + 62


def test_partial_sums_that_do_not_fit_cost_passes_over_the_weights():
    gemm = Gemm(name="g", tokens=1024, inputs=64, outputs=32, weight_bits=8)
    roomy, tight = (stationary("weight", output_buffer_bytes=n) for n in (2**20, 4 * 32 * 256))
    costs = [gemm_cost(gemm, machine, "prefill") for machine in (roomy, tight)]
    # Two tiles of 1024 tokens, or eight of 256, each loaded while another streams.
    assert [cost.compute_cycles for cost in costs] == [32 + 2 * 1024 + 62, 32 + 8 * 256 + 62]
    one = Gemm(name="g", tokens=1024, inputs=32, outputs=32, weight_bits=8)
    assert gemm_cost(one, tight, "prefill").compute_cycles == 32 + 1024 + 62
    assert costs[0].buffer_energy_pj < costs[1].buffer_energy_pj * 1.5


def test_holding_weights_reads_them_from_their_buffer_once():
    gemm = Gemm(name="g", tokens=1024, inputs=1024, outputs=1024, weight_bits=8)
    by_flow = {
        flow: gemm_cost(gemm, stationary(flow, output_buffer_bytes=2**30), "prefill")
        for flow in ("output", "weight", "input")
    }
    # An array that holds results reads both operands 32 times; the others read only one of them so
    # often, but write and read partial sums of four bytes.
    assert len({cost.buffer_energy_pj for cost in by_flow.values()}) > 1
    assert len({cost.traffic_bytes for cost in by_flow.values()}) == 1
