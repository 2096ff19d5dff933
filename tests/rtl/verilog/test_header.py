"""The head comment of emitted Verilog: it describes everything needed to use the file."""

import re

import pytest
from amaranth.hdl import Shape

from rtl.catalog import PES, find_pe
from rtl.verilog.emit import verilog_text
from rtl.verilog.header import header_lines


def head_of(pe):
    return list(header_lines(pe, pe.build()))


QUICK = {"mixpe-w4a8", "mxfp4-dot", "tl2-lookup", "bitmod-dequantizer"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in sorted(PES)],
)
def test_every_bit_of_both_payloads_has_a_meaning(name):
    pe, component = PES[name], PES[name].build()
    beat, result = (getattr(component, name).payload.shape() for name in ("operands", "result"))
    assert {"result", *beat.members} == set(pe.meanings)
    lines = list(header_lines(pe, component))
    at = next(i for i, line in enumerate(lines) if line.startswith("result__payload is "))
    for part, shape in ((lines[:at], beat), (lines[at:], result)):
        ranges = re.findall(r"^  \[(\d+)(?::(\d+))?\] ", "\n".join(part), re.MULTILINE)
        places = [range(int(low or high), int(high) + 1) for high, low in ranges]
        assert [bit for bits in places for bit in bits] == list(range(Shape.cast(shape).width))


def test_a_head_says_units_tables_and_the_streams_rules():
    text = "\n".join(head_of(find_pe("bitmod-fp4")))
    assert "in units of 2^-25" in text and "NaN and infinities count as 0" in text
    assert "with 2 above: 0 0.5 1 1.5 2 3 4 6 8 -0.5" in text
    assert "last of 2 cycles" in text and "valid 1 cycle after" in text
    assert "valid 9 cycles after" in " ".join(head_of(find_pe("bitmod-fp4-column")))
    assert "2^-2 * 2^(lowest - 254)" in "\n".join(head_of(find_pe("mxfp4-dot")))


def test_the_head_is_in_the_file_as_comments():
    pe = find_pe("mixpe-w4a8")
    head = [line for line in verilog_text(pe).splitlines() if line.startswith("//")]
    assert head[:-1] == [f"// {line}".rstrip() for line in head_of(pe)]
    assert "[12] last: 1 bit; 1 in the last beat of a group" in "\n".join(head)
    assert all(len(line) <= 100 for line in head)
