"""Measurements of the energy study, one CSV file each: ``python reports/pe_energy/measure.py``.

``delays.csv`` and ``operators.csv`` take two minutes. ``libraries.csv`` has the rows of the liberty
files that are named on the command line; each takes some minutes:

    python reports/pe_energy/measure.py nangate45_typ.lib sg13g2.lib sky130hd_tt.lib
"""

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rtl.catalog import find_pe
from rtl.cost.cells import LIBERTY
from rtl.cost.cost import cost, simulated_inputs
from rtl.cost.delays import Propagation, gate_delays_ps
from rtl.cost.gates import Gates, read_gates
from rtl.cost.library import read_library
from rtl.cost.synthesis import Netlist, synthesize
from rtl.cost.toggles import energy, run
from rtl.toolchain import run_yosys

HERE = Path(__file__).parent
SAMPLE = ("int8-mac", "int4x8-mac", "mixpe-w4a8", "dint3-mac", "fp4-dot", "ternary-16")
COMPARED = (
    "int8-mac", "booth-w8a8", "int4x8-mac", "mixpe-w4a8", "dint3-mac", "fp4-dot", "ternary-16",
    "int8-16", "int4-16", "mixpe-w4a8-int8", "mxfp4-dot", "nvfp4-dot",
)  # fmt: skip
#: Streams of operands in the comparison of delay models.
STREAMS = 64
#: Operator, width and expression of the bare circuits of Horowitz's table.
OPERATORS = (("add", 8, "+"), ("add", 16, "+"), ("add", 32, "+"), ("mul", 8, "*"), ("mul", 32, "*"))


def write(name: str, rows: Iterable[dict[str, object]]) -> None:
    """Write rows to a CSV file beside this script."""
    rows = list(rows)
    with (HERE / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(HERE / name)


def delay_models(gates: Gates) -> dict[str, Propagation]:
    """Return propagations with other delays than those of records, by what is changed."""
    random, usual = np.random.default_rng(0), gate_delays_ps(gates)
    fixed = np.zeros(gates.nets)
    for array in gates.gates:
        fixed[array.outputs] = array.cell.delay_ps

    def spread(share: float) -> np.ndarray:
        return usual * random.lognormal(0.0, share, gates.nets)

    return {
        "gate_delay": Propagation(gates),
        "fixed_load": Propagation(gates, fixed),
        "spread_20": Propagation(gates, spread(0.2)),
        "spread_40": Propagation(gates, spread(0.4)),
        "transport": Propagation(gates, is_inertial=False),
    }


def delays() -> Iterable[dict[str, object]]:
    """Yield the energies of logic per MAC of some PEs under several models of delay."""
    library = read_library(LIBERTY)
    for name in SAMPLE:
        pe = find_pe(name)
        gates = read_gates(synthesize(pe), library)
        inputs = simulated_inputs(pe, gates, pe.typical(STREAMS, seed=0))
        row: dict[str, object] = {"pe": name}
        macs = pe.lanes / pe.cycles
        for model, timed in delay_models(gates).items():
            spent = energy(gates, run(gates, inputs, timed))
            assert spent is not None and spent.logic_gate_delay_fj is not None
            row["no_delay"] = round(spent.logic_no_delay_fj / macs)
            row["unit_delay"] = round(spent.logic_unit_delay_fj / macs)
            row[model] = round(spent.logic_gate_delay_fj / macs)
        yield row


def operators() -> Iterable[dict[str, object]]:
    """Yield area and energy of bare adders and multipliers on uniform operands, best recipe."""
    library, random = read_library(LIBERTY), np.random.default_rng(0)
    for name, bits, sign in OPERATORS:
        width = 2 * bits if name == "mul" else bits
        text = (
            f"module top(input [{bits - 1}:0] a, input [{bits - 1}:0] b,"
            f" output [{width - 1}:0] y); assign y = a {sign} b; endmodule"
        )
        netlist = min(
            (_netlist(text, option) for option in ("", "-booth ")), key=lambda n: n.area_um2
        )
        gates = read_gates(netlist, library)
        inputs = [
            {port: random.integers(0, 2, (bits, 256)).astype(bool) for port in "ab"}
            for _ in range(24)
        ]
        spent = energy(gates, run(gates, inputs))
        assert spent is not None and spent.logic_gate_delay_fj is not None
        yield {
            "operator": f"{name}{bits}",
            "area_um2": round(netlist.area_um2, 1),
            "no_delay_fj": round(spent.logic_no_delay_fj),
            "gate_delay_fj": round(spent.logic_gate_delay_fj),
        }


def _netlist(text: str, option: str) -> Netlist:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "top.v").write_text(text)
        shutil.copyfile(LIBERTY, folder / "cells.lib")
        run_yosys(
            [
                "read_verilog top.v",
                f"synth {option}-flatten -top top",
                "abc -liberty cells.lib",
                "opt_clean -purge",
                "tee -q -o stat.json stat -json -liberty cells.lib",
                "write_json netlist.json",
            ],
            folder,
        )
        module = json.loads((folder / "netlist.json").read_text())["modules"]["top"]
        area = json.loads((folder / "stat.json").read_text())["design"]["area"]
    module["cells"] = {k: c for k, c in module["cells"].items() if not c["type"].startswith("$")}
    return Netlist(recipe=option, area_um2=float(area), module=module)


def libraries(files: list[Path]) -> Iterable[dict[str, object]]:
    """Yield area, delay and energy of some PEs with each library."""
    for path in (LIBERTY, *files):
        for name in COMPARED:
            found = cost(find_pe(name), path)
            assert found.energy_gate_delay_fj_per_mac is not None
            assert found.delay_ps is not None and found.clock_fj_per_mac is not None
            yield {
                "library": path.stem,
                "pe": name,
                "area_um2_per_mac": round(found.area_um2_per_mac, 2),
                "delay_ps": round(found.delay_ps),
                "no_delay_fj": round(found.energy_no_delay_fj_per_mac or 0.0),
                "gate_delay_fj": round(found.energy_gate_delay_fj_per_mac),
                "clock_fj": round(found.clock_fj_per_mac),
            }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write("libraries.csv", libraries([Path(name) for name in sys.argv[1:]]))
    else:
        write("delays.csv", delays())
        write("operators.csv", operators())
