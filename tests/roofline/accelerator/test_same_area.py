"""Arrays of other elements on the same area."""

from dataclasses import replace

import pytest

from hw.accelerator import load_accelerator
from hw.pe_record import load_record
from roofline.accelerator.gemm import Gemm, gemm_cost
from roofline.accelerator.same_area import with_elements

BASE = load_accelerator("fp16-28nm-500mhz")
RECORD = load_record("bitmod-fp4")


def elements(area_um2, record=RECORD):
    return with_elements(
        BASE, record, area_um2=area_um2, weight_bits=4, activation_bits=16, kv_bits=8
    )


@pytest.mark.parametrize("area_um2", [135_000, 1e6, 3.3e6])
def test_one_more_row_does_not_fit(area_um2):
    machine = elements(area_um2)
    row_mm2 = machine.prefill_columns * RECORD.area_um2 / 1e6
    assert machine.array_area_mm2 <= area_um2 / 1e6 < machine.array_area_mm2 + row_mm2
    assert machine.dram_bits_per_cycle == BASE.dram_bits_per_cycle


def test_a_step_takes_the_cycles_of_a_beat():
    machine = elements(1e6)
    assert machine.cycles_per_step(4) == RECORD.cycles_per_beat == 2
    # 64 tokens on 32 columns, outputs in whole rows; lanes share the inputs.
    gemm = Gemm(name="x", tokens=64, inputs=4096, outputs=7 * machine.prefill_rows, weight_bits=4)
    compute = gemm_cost(gemm, machine, "prefill").compute_cycles
    ideal = gemm.macs / (machine.prefill_rows * 32 * RECORD.macs_per_cycle)
    assert 1 <= compute / ideal < 1.01


def test_energy_of_a_product_is_that_of_its_macs():
    machine = elements(1e6)
    gemm = Gemm(name="x", tokens=64, inputs=4096, outputs=7 * machine.prefill_rows, weight_bits=4)
    cost = gemm_cost(gemm, machine, "prefill")
    pj_per_mac = cost.pe_energy_pj / gemm.macs
    assert pj_per_mac == pytest.approx(RECORD.energy_gate_delay_fj_per_mac / 1000, rel=0.01)


def test_a_row_that_does_not_fit_or_a_record_without_energy_is_refused():
    with pytest.raises(
        ValueError, match="row of 32 bitmod-fp4 takes 134379 um2, more than the 100"
    ):
        elements(100)
    with pytest.raises(ValueError, match="record of bitmod-fp4 has no energy"):
        elements(1e6, replace(RECORD, energy_gate_delay_fj_per_mac=None))
