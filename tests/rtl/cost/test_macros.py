"""SRAM macros: a netlist with macros computes the same results as the PE."""

from dataclasses import replace

import numpy as np
import pytest

import rtl.cost.macros
from hw.pe_record import MemoryCost, read_record, write_record
from rtl.catalog import PES
from rtl.cost.cost import Stream, cost
from rtl.cost.macros import Ram, has_macros
from rtl.toolchain import ToolError

#: PE with the smallest codebooks (64 entries) that become macros.
PE = replace(PES["aqlm-2x8"], name="aqlm-2x6", code_bits=6)
NETS = {
    "address": [0, 1],
    "data": [2, 3, 4],
    "write_enable": [5],
    "write_address": [0, 1],
    "write_data": [6, 7, 8],
}
RAM = Ram(name="r", words=4, bits=3, **{name: np.array(nets) for name, nets in NETS.items()})


def test_only_large_memories_are_macros():
    assert has_macros(PE) and not has_macros(replace(PE, code_bits=5))
    assert not has_macros(PES["vptq-2x4"]) and not has_macros(PES["int8-mac"])


def test_a_word_is_read_where_it_was_written_and_in_its_stream_alone():
    contents, nets = np.zeros((4, 3, 2), bool), np.zeros((9, 2), bool)
    nets[0] = True
    nets[5, 1] = True
    nets[6:] = [[True, True], [False, False], [True, True]]
    RAM.write(contents, nets)
    RAM.read(contents, nets)
    assert nets[2:5].T.tolist() == [[False] * 3, [True, False, True]]
    nets[1] = True
    RAM.read(contents, nets)
    assert not nets[2:5].any()


def few(pe):
    return Stream(operands=pe.typical(4, seed=0), source="a few")


@pytest.mark.slow
def test_a_netlist_beside_its_memories_computes_what_the_pe_does(tmp_path, monkeypatch):
    record = cost(PE, stream=few(PE))
    assert [(m.name, m.words, m.bits) for m in record.memories] == [
        ("book_0", 64, 64),
        ("book_1", 64, 64),
    ]
    area, access = sum(m.area_um2 for m in record.memories), record.memories[0].access_ps
    assert record.area_um2 > area > 0 and record.delay_ps > access > 0
    spent = sum(m.energy_fj for m in record.memories) / 8
    assert record.energy_unit_delay_fj_per_mac > record.energy_no_delay_fj_per_mac > spent
    assert read_record(write_record(record, tmp_path)) == record
    # The check detects memories that lose their contents.
    monkeypatch.setattr(rtl.cost.macros.Ram, "write", lambda self, contents, nets: None)
    with pytest.raises(ToolError, match="the netlist of aqlm-2x6 computes"):
        cost(PE, stream=few(PE))


def test_a_record_of_memories_that_lack_something_is_told(tmp_path):
    path = tmp_path / "a.json"
    names = ", ".join(sorted(MemoryCost.__dataclass_fields__))
    path.write_text('{"memories": [{"word": 1}]}')
    with pytest.raises(ValueError, match=f"a record must have the keys {names}$"):
        read_record(path)
    path.write_text('{"memories": 1}')
    with pytest.raises(ValueError, match=r"memories must be a list of records$"):
        read_record(path)
