"""The bench detects every register without reset whose value can reach an output."""

import re
from itertools import count

import pytest

from rtl.catalog import PES
from rtl.element import SHORT_SEED
from rtl.verification.simulated import find_simulator, simulate, write_vectors
from rtl.verilog.emit import module_name, verilog_text

#: Registers whose value after a reset is never read, since they are written before use.
WRITTEN_FIRST = re.compile(r"(inner_|dequantizer_)?(result_*payload\w*|scales?|ends_\w+|lowest)$")
#: Smallest PEs that together have every kind of register.
QUICK = ["bitmod-dequantizer"]


def with_switches(text):
    """Return Verilog in which a switch disables the reset of each register, and their names."""
    place, names = count(), []

    def switched(match):
        names.append(match[1])
        return f"if (rst & ~keep[{next(place)}]) {match[1]} <="

    changed = re.sub(r"if \(rst\) (\S+) <=", switched, text)
    assert text.count("rst)") == len(names)
    head = (
        '  reg [63:0] keep;\n  initial if (!$value$plusargs("keep=%h", keep)) keep = 64\'h0;\n'
        "  wire clk;\n"
    )
    return changed.replace("  wire clk;\n", head, 1), names


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in sorted(PES)],
)
def test_a_lost_reset_of_any_register_fails(name, tmp_path):
    pe, simulator = PES[name], find_simulator()
    write_vectors(tmp_path, pe, pe.random(20, seed=SHORT_SEED))
    text, names = with_switches(verilog_text(pe))
    top, missed = module_name(pe), []
    for place, register in [(None, ""), *enumerate(names)]:
        arguments = () if place is None else (f"+keep={1 << place:x}",)
        tests, failed, _ = simulate(simulator, top, text, tmp_path, arguments=arguments)
        if place is None:
            assert (tests, failed) == (4, 0)
        elif not failed:
            missed.append(register)
    assert [register for register in missed if not WRITTEN_FIRST.match(register)] == []
    assert len(missed) < len(names)
