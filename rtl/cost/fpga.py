"""FPGA resources and clock rate of a PE, from placing and routing it.

A PE has more ports than a chip has pins, and paths from pins to flip-flops do not count for a clock
rate. So the PE is placed between two shift registers: every path of the PE starts and ends at a
flip-flop, and five pins suffice for any width. Yosys maps the PE as a separate module, so that the
names of its cells differ from those of the shift registers; only the PE's cells are counted.
"""

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw.pe_record import FpgaCost
from hw.sram import LEAST_BITS
from rtl.cost.macros import has_macros
from rtl.cost.verilog_hash import verilog_hash
from rtl.element import ProcessingElement
from rtl.toolchain import (
    EXTRA,
    TIMEOUT_S,
    ToolError,
    has_module,
    need_module,
    run_program,
    run_yosys,
)
from rtl.verilog.emit import module_name, verilog_text

SEED = 1
#: Target clock of the placement, in MHz; the record holds the clock reached.
TARGET_MHZ = 200
#: Prefixes of the names of a PE's cells; the second is that of carry-chain ends.
OWN_CELLS = ("pe.", "$nextpnr_")
WRAPPER = """
module harness (input clk, input rst, input scan, input load, output out);
  reg [{ins}:0] in_bits = 0;
  reg [{outs}:0] out_bits = 0;
  wire [{outs}:0] found;
  always @(posedge clk) in_bits <= {{in_bits[{ins} - 1:0], scan}};
  always @(posedge clk) out_bits <= load ? found : {{out_bits[{outs} - 1:0], 1'b0}};
  assign out = out_bits[{outs}];
  {module} pe (.clk(clk), .rst(rst),
    .operands__payload(in_bits[{ins}:2]), .operands__valid(in_bits[1]), .operands__ready(found[1]),
    .result__payload(found[{outs}:2]), .result__valid(found[0]), .result__ready(in_bits[0]));
endmodule
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One FPGA: Yosys and nextpnr commands, and the names of its cells."""

    name: str
    device: str
    synth: str
    #: Options of ``synth`` that enable (``True``) or disable (``False``) DSP blocks.
    dsp_flags: dict[bool, str]
    arguments: tuple[str, ...]
    #: Names of the types of placed cells, as nextpnr writes them.
    lut: str
    flip_flop: str
    dsp: str
    #: Parameter that says whether a cell's flip-flop is used; ``None`` if flip-flops are cells.
    flip_flop_parameter: str | None = None

    @property
    def package(self) -> str:
        """The Python package that places and routes."""
        return f"yowasp-nextpnr-{self.name}"

    @property
    def module(self) -> str:
        """The importable module of :attr:`package`."""
        return self.package.replace("-", "_")


FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="ecp5",
            device="LFE5U-25F, speed grade 6",
            synth="synth_ecp5",
            dsp_flags={True: "", False: "-nodsp"},
            arguments=(
                "--25k",
                "--package",
                "CABGA256",
                "--speed",
                "6",
                "--lpf-allow-unconstrained",
            ),
            lut="TRELLIS_COMB",
            flip_flop="TRELLIS_FF",
            dsp="MULT18X18D",
        ),
        Family(
            name="ice40",
            device="iCE40UP5K",
            synth="synth_ice40 -device u",
            dsp_flags={True: "-dsp", False: ""},
            arguments=("--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
            lut="ICESTORM_LC",
            flip_flop="ICESTORM_LC",
            dsp="ICESTORM_DSP",
            flip_flop_parameter="DFF_ENABLE",
        ),
    )
}


def fpga_costs(pe: ProcessingElement, family: Family) -> tuple[FpgaCost, FpgaCost]:
    """Place and route a PE with and without DSP blocks; return the costs of both.

    Raises
    ------
    ToolError
        A tool is missing, or the PE does not fit the chip. PEs with large memories do not fit: the
        memories are read in the cycle of the address, block RAM is read a cycle later, and the
        chip has too few flip-flops.
    """
    if has_macros(pe):
        raise ToolError(
            f"{pe.name} reads memories of {LEAST_BITS} bits or more in the cycle of their address,"
            f" but block RAM of {family.name} is read a cycle later; use a PE with smaller"
            " memories, such as aqlm-2x4"
        )
    need_module("pyosys")
    if not has_module(family.module):
        raise ToolError(f"{family.package} is not installed; {EXTRA}")
    return _fpga_cost(pe, family, uses_dsp=True), _fpga_cost(pe, family, uses_dsp=False)


def _fpga_cost(pe: ProcessingElement, family: Family, *, uses_dsp: bool) -> FpgaCost:
    with tempfile.TemporaryDirectory(prefix="qsim-fpga-") as name:
        folder = Path(name)
        _map(pe, f"{family.synth} {family.dsp_flags[uses_dsp]}", folder)
        _place(pe, family, folder)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        placed = json.loads((folder / "placed.json").read_text(encoding="utf-8"))
    (module,) = placed["modules"].values()
    cells = [cell for name, cell in module["cells"].items() if name.startswith(OWN_CELLS)]
    # nextpnr may route a constant on a clock net too.
    (clock,) = [rate for net, rate in report["fmax"].items() if "clk" in net.split("$glb_clk")[0]]
    return FpgaCost(
        family=family.name,
        device=family.device,
        uses_dsp=uses_dsp,
        luts=sum(cell["type"] == family.lut for cell in cells),
        flip_flops=sum(_is_flip_flop(cell, family) for cell in cells),
        dsps=sum(cell["type"] == family.dsp for cell in cells),
        fmax_mhz=round(float(clock["achieved"]), 1),
        seed=SEED,
        verilog_sha256=verilog_hash(pe),
        versions={name: version(name) for name in ("amaranth", "pyosys", family.package)},
    )


def _is_flip_flop(cell: dict[str, Any], family: Family) -> bool:
    if cell["type"] != family.flip_flop:
        return False
    parameter = family.flip_flop_parameter
    return parameter is None or int(cell["parameters"][parameter], 2) == 1


def _map(pe: ProcessingElement, synth: str, folder: Path) -> None:
    """Write ``mapped.json``, the PE between its shift registers in cells of the chip."""
    top = module_name(pe)
    text = verilog_text(pe) + WRAPPER.format(
        module=top, ins=pe.operand_layout.size + 1, outs=pe.result_shape.width + 1
    )
    (folder / "pe.v").write_text(text, encoding="utf-8")
    run_yosys(
        [
            "read_verilog pe.v",
            # Some wires of the PE have names that ABC also gives to new wires.
            f"rename -hide {top}/w:*",
            # Keep the PE's cells apart from the shift registers around it.
            f"setattr -mod -set keep_hierarchy 1 {top}",
            f"{synth} -top harness",
            f"setattr -mod -unset keep_hierarchy {top}",
            "flatten",
            "opt_clean",
            "write_json mapped.json",
        ],
        folder,
    )


def _place(pe: ProcessingElement, family: Family, folder: Path) -> None:
    run = f"run_nextpnr_{family.name}"
    program = f"import sys, {family.module} as it; sys.exit(it.{run}(sys.argv[1:]))"
    done = run_program(
        f"{pe.name} on {family.device}",
        [sys.executable, "-c", program, *family.arguments, "--json", "mapped.json",
         "--write", "placed.json", "--report", "report.json", "--seed", str(SEED),
         "--freq", str(TARGET_MHZ), "--timing-allow-fail", "--quiet"],
        folder, timeout_s=TIMEOUT_S,
    )  # fmt: skip
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        said = errors[0] if errors else "nextpnr ended without a message"
        if full := re.search("no BELs remaining to implement cell type '(.*)'", said):
            said = f"ERROR: does not fit, no {full[1]} is left"
        raise ToolError(f"{pe.name} on {family.device}: {said}")
