"""The accelerator of our own PEs has the numbers that were measured of them."""

import pytest

from hw.accelerator import FOLDER, load_accelerator, read_accelerator
from hw.pe_record import load_record


def test_edge_is_made_of_the_measured_pe():
    machine, record = load_accelerator("edge-8x8"), load_record("mixpe-w4a8")
    assert machine.pe_area_um2 == record.area_um2 and machine.lanes == record.macs_per_cycle
    energy = record.energy
    assert energy.low_pj == pytest.approx(record.energy_no_delay_fj_per_mac / 1000)
    assert energy.low_pj < machine.pe_energy_pj_per_cycle == energy.nominal_pj < energy.high_pj
    assert energy.nominal_pj == pytest.approx(record.energy_gate_delay_fj_per_mac / 1000)
    assert 0 < machine.pe_idle_pj_per_cycle == energy.idle_pj < energy.low_pj
    assert (machine.bits_per_cycle, machine.activation_bits) == (4, 8)
    assert machine.array_area_mm2 == pytest.approx(64 * record.area_um2 / 1e6)
    # A cycle is longer than the longest path.
    assert 1e6 / machine.clock_mhz > record.delay_ps


@pytest.mark.parametrize(
    "old,new,message",
    [
        ('element = "mixpe-w4a8"', 'element = "mixpe"', "line 2: element: unknown PE"),
        ('element = "mixpe-w4a8"', "", "key 'technology_nm' is missing"),
        (
            "dequantize_cycles",
            'lanes = { value = 2, source = "x" }\ndequantize_cycles',
            "lanes comes from the record of mixpe-w4a8; leave it out",
        ),
    ],
)
def test_a_file_takes_the_numbers_of_its_element_from_the_record_alone(tmp_path, old, new, message):
    text = (FOLDER / "edge-8x8.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_accelerator(path)


def test_a_stream_machine_names_its_element(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        (FOLDER / "bitmod.toml")
        .read_text()
        .replace('dram = "ddr4"', 'dram = "ddr4"\ndataflow = "stream"')
    )
    with pytest.raises(ValueError, match="dataflow is 'stream', which needs the key element"):
        read_accelerator(path)
