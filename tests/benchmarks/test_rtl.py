"""How fast PEs are verified, costed, and run a layer; run with ``--benchmark-only -o addopts=``.

The compiled harness and cocotb check groups of one PE in the same run, so that a busy machine slows
both; builds are left out of both rates.
"""

import time
from pathlib import Path

import pytest

from rtl.catalog import find_pe
from rtl.cost.cost import cost
from rtl.cost.fpga import FAMILIES, fpga_costs
from rtl.verification.compiled import CompiledPe
from rtl.verification.simulated import simulate, write_vectors
from rtl.verification.verify import _compare
from rtl.verilog.emit import module_name, verilog_text
from sim.errors import UserError
from sim.hardware.run_layer import run_layer
from sim.sources.catalog import open_model

DOTS = 1_000_000
SERIAL_DOTS = 2000
ROUNDS = 3


def serial_rate(pe, folder, monkeypatch):
    """Return the groups a second that cocotb drives and checks one after another."""
    write_vectors(folder, pe, pe.random(SERIAL_DOTS, seed=2))
    monkeypatch.setenv("QSIM_SERIAL", str(folder / "serial"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    text = verilog_text(pe)
    assert simulate("verilator", module_name(pe), text, folder, bench="serial_bench")[:2] == (1, 0)
    count, seconds = (folder / "serial").read_text().split()
    assert int(count) == SERIAL_DOTS
    return SERIAL_DOTS / float(seconds)


@pytest.mark.parametrize("name", ["int8-mac", "mixpe-w4a8", "fp4-dot"])
def test_the_compiled_harness_checks_50_times_as_fast_as_cocotb(
    benchmark, monkeypatch, tmp_path, name
):
    pe = find_pe(name)
    serial = serial_rate(pe, tmp_path, monkeypatch)
    with CompiledPe(pe) as model:
        rates = []
        for seed in range(ROUNDS):
            operands = pe.random(DOTS, seed=seed)
            verdict = _compare(model, "random", [operands])
            assert verdict.is_good and verdict.vectors == DOTS
            rates.append(verdict.rate_per_s)
        benchmark.pedantic(lambda: _compare(model, "random", [operands]), rounds=1)
    benchmark.extra_info |= {
        "checked_groups_per_s": max(rates),
        "checked_operand_pairs_per_s": max(rates) * operands["weights"][0].size,
        "cocotb_groups_per_s": serial,
        "ratio": max(rates) / serial,
    }
    assert max(rates) > 1e6
    assert max(rates) > 50 * serial


@pytest.mark.parametrize("name", ["int8-mac", "mixpe-w4a16"])
def test_the_cost_of_one_pe_takes_less_than_a_minute(benchmark, name):
    started = time.perf_counter()
    record = benchmark.pedantic(cost, args=(find_pe(name),), rounds=1)
    seconds = time.perf_counter() - started
    benchmark.extra_info |= {"time_s": seconds, "area_um2": record.area_um2}
    assert seconds < 60


@pytest.mark.parametrize("family", FAMILIES)
def test_an_fpga_takes_less_than_a_minute(benchmark, family):
    started = time.perf_counter()
    found = benchmark.pedantic(fpga_costs, args=(find_pe("int8-mac"), FAMILIES[family]), rounds=1)
    seconds = time.perf_counter() - started
    benchmark.extra_info |= {"time_s": seconds, "fmax_mhz": [each.fmax_mhz for each in found]}
    assert seconds < 60


def test_a_layer_of_576_by_576_runs_in_two_minutes(benchmark):
    model, layer = "smollm2-135m-instruct", "layers.3.self_attn.o_proj"
    try:
        open_model(model)
    except UserError as error:
        pytest.skip(str(error))
    started = time.perf_counter()
    run = benchmark.pedantic(
        run_layer,
        args=(model, layer, find_pe("mixpe-w4a8")),
        kwargs={"tokens": 16, "lanes": 8},
        rounds=1,
    )
    seconds = time.perf_counter() - started
    benchmark.extra_info |= {"time_s": seconds, "macs_per_s": run.macs / run.time_s}
    assert (run.inputs, run.outputs, run.tokens) == (576, 576, 16)
    assert run.is_equal and seconds < 120
