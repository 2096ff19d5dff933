"""Synthesis of a PE's Verilog to a netlist of cells: the smaller result of two recipes."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtl.cost.cells import LIBERTY
from rtl.cost.macros import CELL, has_macros
from rtl.element import ProcessingElement
from rtl.toolchain import ToolError, run_yosys
from rtl.verilog.emit import module_name, verilog_text

#: Yosys steps that keep large memories as macros; the usual check needs a module for every cell.
MACRO_STEPS = ["proc", "flatten", "memory -nomap", "opt_clean", f"chtype -set {CELL} t:$mem_v2"]
#: Options of ``synth`` by recipe: array multipliers, or Booth multipliers.
RECIPES = {"plain": "", "booth": "-booth "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Netlist:
    """Cells and nets of one synthesized module, from Yosys' JSON."""

    recipe: str
    #: Area of the cells in um^2, without macros.
    area_um2: float
    module: dict[str, Any]

    @property
    def cells(self) -> dict[str, int]:
        """Number of cells of each type."""
        counts: dict[str, int] = {}
        for cell in self.module["cells"].values():
            counts[cell["type"]] = counts.get(cell["type"], 0) + 1
        return counts

    @property
    def sha256(self) -> str:
        """Hash of the ports, and of the types, parameters and connections of the cells.

        Names of cells, numbers of nets and attributes are left out: Yosys derives them from
        counters and line numbers of the source, which change with its comments.
        """
        nets: dict[Any, int] = {}
        ports = {
            name: (port["direction"], _numbered(nets, port["bits"]))
            for name, port in sorted(self.module["ports"].items())
        }
        cells = [
            (
                cell["type"],
                cell["parameters"],
                {pin: _numbered(nets, bits) for pin, bits in sorted(cell["connections"].items())},
            )
            for cell in self.module["cells"].values()
        ]
        return hashlib.sha256(json.dumps([ports, cells], sort_keys=True).encode()).hexdigest()


def _numbered(nets: dict[Any, int], bits: list[Any]) -> list[Any]:
    """Return nets numbered by first appearance; constants stay as they are."""
    return [bit if isinstance(bit, str) else nets.setdefault(bit, len(nets)) for bit in bits]


def synthesize(pe: ProcessingElement, liberty: Path = LIBERTY) -> Netlist:
    """Return the smaller netlist of both recipes.

    Raises
    ------
    ToolError
        Yosys cannot read the library; the message is Yosys'.
    """
    found = [_synthesize(pe, liberty, recipe) for recipe in RECIPES]
    return min(found, key=lambda netlist: netlist.area_um2)


def _synthesize(pe: ProcessingElement, liberty: Path, recipe: str) -> Netlist:
    top, is_cut = module_name(pe), has_macros(pe)
    before = [f"hierarchy -check -top {top}", *MACRO_STEPS] if is_cut else []
    part = "-run coarse:check " if is_cut else ""
    with tempfile.TemporaryDirectory(prefix="qsim-synth-") as name:
        folder = Path(name)
        (folder / "pe.v").write_text(verilog_text(pe), encoding="utf-8")
        # Yosys splits its commands at spaces, and a user's path may contain spaces.
        shutil.copyfile(liberty, folder / "cells.lib")
        run_yosys(
            [
                "read_verilog pe.v",
                *before,
                f"synth {part}{RECIPES[recipe]}-flatten -top {top}",
                "dfflibmap -liberty cells.lib",
                "abc -liberty cells.lib",
                "opt_clean -purge",
                "tee -q -o stat.json stat -json -liberty cells.lib",
                "write_json netlist.json",
            ],
            folder,
        )
        area = _area(folder / "stat.json", liberty)
        modules = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))["modules"]
    module = modules[top]
    module["cells"] = {k: c for k, c in module["cells"].items() if not c["type"].startswith("$")}
    return Netlist(recipe=recipe, area_um2=area, module=module)


def _area(path: Path, liberty: Path) -> float:
    found = json.loads(path.read_text(encoding="utf-8"))["design"].get("area")
    if not found:
        raise ToolError(f"{liberty} gives no cell an area")
    return float(found)


def liberty_hash(liberty: Path) -> str:
    """Return a hash of a library's file."""
    with liberty.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
