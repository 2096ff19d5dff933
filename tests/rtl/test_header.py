"""The head of emitted Verilog: it has to be enough to use the file."""

import re

import pytest

from rtl.catalog import PES, find_pe
from rtl.emit import verilog_text
from rtl.header import header_lines


def head_of(pe):
    return list(header_lines(pe, pe.build()))


@pytest.mark.parametrize("name", sorted(PES))
def test_every_bit_of_both_payloads_has_a_meaning(name):
    pe = PES[name]
    assert {"result", *pe.operand_layout.members} == {*pe.meanings, "last"}
    lines = head_of(pe)
    at = next(i for i, line in enumerate(lines) if line.startswith("result__payload is "))
    for part, width in (
        (lines[:at], pe.operand_layout.size),
        (lines[at:], pe.result_shape.width),
    ):
        ranges = re.findall(r"^  \[(\d+)(?::(\d+))?\] ", "\n".join(part), re.MULTILINE)
        places = [range(int(low or high), int(high) + 1) for high, low in ranges]
        assert [bit for bits in places for bit in bits] == list(range(width))


def test_a_head_says_units_tables_and_the_streams_rules():
    text = "\n".join(head_of(find_pe("bitmod-fp4")))
    assert "in units of 2^-25" in text and "NaN and infinities count as 0" in text
    assert "with 2 above: 0 0.5 1 1.5 2 3 4 6 8 -0.5" in text
    assert "last of 2 cycles" in text and "comes 1 cycle after" in text
    assert "comes 9 cycles after" in " ".join(head_of(find_pe("bitmod-fp4-column")))
    assert "2^-2 * 2^(lowest - 254)" in "\n".join(head_of(find_pe("mxfp4-dot")))


def test_the_head_is_in_the_file_as_comments():
    pe = find_pe("mixpe-w4a8")
    head = [line for line in verilog_text(pe).splitlines() if line.startswith("//")]
    assert head[:-1] == [f"// {line}".rstrip() for line in head_of(pe)]
    assert "[12] last: 1 bit; 1 in the last beat of a group" in "\n".join(head)
    assert all(len(line) <= 100 for line in head)
