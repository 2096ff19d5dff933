"""Emitted Verilog has no warning in Verilator, Icarus and Yosys, for every PE and option."""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest

from numerics import FORMATS
from rtl.catalog import PES, find_pe
from rtl.layer.layer import tile_of
from rtl.toolchain import run_yosys
from rtl.verification.compiled import CompiledPe
from rtl.verification.simulated import verilator_program
from rtl.verilog.emit import module_name, verilog_text
from rtl.verilog.netlist import read_netlist, write_netlist

#: Other sizes and formats that ``qsim rtl emit`` and layers ask for.
OPTIONS = {
    "int8-mac": [
        {"lanes": 3, "length": 100, "accumulator_bits": 32},
        {"weights": FORMATS["fp4_e2m1"], "activations": FORMATS["int6"]},
        {"weights": FORMATS["uint1"] if "uint1" in FORMATS else FORMATS["uint2"]},
    ],
    "fp8-dot": [{"weights": FORMATS["fp6_e2m3"], "lanes": 2}],
    "bitmod-fp4": [{"lanes": 1}, {"activations": FORMATS["int8"], "lanes": 2}],
    "booth-w8a8": [{"weights": FORMATS["int5"], "lanes": 2}],
    "mixpe-w4a8-zero": [{"columns": 1, "lanes": 1}],
    "mxfp4-dot": [{"lanes": 32}, {"lanes": 1, "length": 64}],
    "nvfp4-dot": [{"lanes": 1}, {"lanes": 8, "accumulator_bits": 60}],
    "bitmod-fp4-aligned": [{"lanes": 1}, {"accumulator_bits": 18}],
    "bitmod-fp4-special": [{"lanes": 1}],
    "mixpe-w4a16-running": [{"accumulator_bits": 30}],
    "tl2-lookup": [{"columns": 1, "lanes": 3}],
    "binary-columns": [{"columns": 1, "lanes": 1}],
    "nested-planes": [{"lanes": 1}],
    "e8p-dot": [{"lanes": 16}],
    "aqlm-2x4": [{"books": 1}, {"code_bits": 1}],
    "vptq-2x4": [{"rows": 1, "columns": 1, "lanes": 1}],
}
VARIANTS = {
    **PES,
    **{
        f"{name} {' '.join(options)}": dataclasses.replace(PES[name], **options)
        for name, several in OPTIONS.items()
        for options in several
    },
    "int8-mac tile": tile_of(PES["int8-mac"], 2),
}
QUICK = {"mixpe-w4a8", "fp4-dot", "bitmod-dequantizer", "mxfp4-dot lanes"}


def lines_of(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return [line for line in found if not line.startswith("- ")]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in VARIANTS]
)
def test_emitted_verilog_has_no_warning(name, tmp_path):
    pe = VARIANTS[name]
    path = tmp_path / f"{module_name(pe)}.v"
    path.write_text(verilog_text(pe))
    assert lines_of([verilator_program(), "--lint-only", "-Wall", path.name], tmp_path) == []
    if shutil.which("iverilog"):
        assert lines_of(["iverilog", "-Wall", "-tnull", path.name], tmp_path) == []
    top = module_name(pe)
    out = run_yosys(
        [f"read_verilog {path.name}", f"hierarchy -check -top {top}", "check"], tmp_path
    )
    assert "Found and reported 0 problems" in out and "Warning" not in out


@pytest.mark.parametrize("name", ["int8-mac tile", "bitmod-fp4-aligned lanes"])
@pytest.mark.slow
def test_variants_compute_the_golden_model(name):
    pe = VARIANTS[name]
    with CompiledPe(pe) as model:
        for operands in (pe.corners(), pe.random(2000, seed=3)):
            assert np.array_equal(model.run(operands)[0], pe.golden(operands))


def test_a_netlist_is_written_as_it_was_read():
    text = """module \\top
  wire width 4 input 1 \\a
  wire width 2 output 2 \\y
  cell $add $1
    parameter \\A_SIGNED 1
    parameter \\A_WIDTH 4
    connect \\A { 2'x0 \\a [0:0] \\a [3:2] }
    connect \\Y { \\y [1:0] }
  end
  connect { \\y [0:0] } { 1'1 }
end
"""
    netlist = read_netlist(text)
    assert netlist.cells["$1"].connections["A"] == [
        ("\\a", 2), ("\\a", 3), ("\\a", 0), "0", "x"
    ]  # fmt: skip
    assert read_netlist(write_netlist(netlist)) == netlist
    with pytest.raises(ValueError, match="unexpected RTLIL: '  process \\$2'"):
        read_netlist("module \\m\n  process $2\n")


def test_the_high_bits_of_a_right_shift_count():
    # The aligned PE shifts sums to the right and keeps their low bits.
    pe = dataclasses.replace(find_pe("bitmod-int4-aligned"), lanes=1)
    operands = pe.random(300, seed=1)
    with CompiledPe(pe) as model:
        assert np.array_equal(model.run(operands)[0], pe.golden(operands))
