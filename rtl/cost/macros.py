"""SRAM macros: which memories of a PE become macros, their function and their cost.

Memories of thousands of bits are built as SRAM, not of flip-flops. A memory of at least
:data:`hw.sram.LEAST_BITS` bits stays one Yosys memory cell in the netlist. The cell has a read
port, whose word is valid in the cycle of the address, and a write port, which stores at the end of
a cycle. A PE that never reads and writes in the same cycle, and has one address for both, needs a
single port.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw.pe_record import MemoryCost
from hw.sram import (
    LEAST_BITS,
    MACRO_MODEL,
    access_energy_pj_per_byte,
    macro_access_ps,
    macro_area_um2,
)
from rtl.element import ProcessingElement
from rtl.pe.codebook.element import AdditivePe, ColumnBooksPe

#: Type given to Yosys' memory cells, so that no later step maps them to gates.
CELL = "ram"


def has_macros(pe: ProcessingElement) -> bool:
    """Return whether a PE has memories large enough for SRAM macros.

    >>> from rtl.catalog import PES
    >>> [name for name, pe in PES.items() if has_macros(pe)]
    ['aqlm-2x8']
    """
    return (
        isinstance(pe, AdditivePe)
        and not isinstance(pe, ColumnBooksPe)
        and (8 * pe.lanes << pe.code_bits) >= LEAST_BITS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ram:
    """One memory: the nets of its ports, lowest bit first."""

    name: str
    words: int
    bits: int
    address: np.ndarray
    data: np.ndarray
    write_enable: np.ndarray
    write_address: np.ndarray
    write_data: np.ndarray

    @property
    def access_ps(self) -> float:
        """Time from an address to its word, in ps."""
        return macro_access_ps(self.words, self.bits)

    def write(self, contents: np.ndarray, nets: np.ndarray) -> None:
        """Write at the end of a cycle, by the values of all nets, shape (net, stream)."""
        streams = np.flatnonzero(nets[self.write_enable[0]])
        words = _numbers(nets[self.write_address])[streams]
        contents[words, :, streams] = nets[self.write_data][:, streams].T

    def read(self, contents: np.ndarray, nets: np.ndarray) -> None:
        """Drive the nets of the read port with the word at each stream's address."""
        streams = np.arange(nets.shape[1])
        nets[self.data] = contents[_numbers(nets[self.address]), :, streams].T


def memory_cost(name: str, words: int, bits: int) -> MemoryCost:
    """Return the cost of a memory by the laws of :mod:`hw.sram`."""
    return MemoryCost(
        name=name,
        words=words,
        bits=bits,
        area_um2=round(macro_area_um2(words, bits), 3),
        access_ps=round(macro_access_ps(words, bits), 3),
        energy_fj=round(access_energy_pj_per_byte(words * bits / 8) * bits / 8 * 1e3, 3),
        model=MACRO_MODEL,
    )


def _numbers(bits: np.ndarray) -> np.ndarray:
    return np.asarray((bits << np.arange(len(bits))[:, None]).sum(axis=0))


def ram_of(name: str, cell: dict[str, Any], net: Any) -> Ram:
    """Return the memory of a netlist's cell; ``net`` returns the number of a wire."""
    size, wires = cell["parameters"], cell["connections"]
    ports = {
        "address": "RD_ADDR",
        "data": "RD_DATA",
        "write_enable": "WR_EN",
        "write_address": "WR_ADDR",
        "write_data": "WR_DATA",
    }
    return Ram(
        name=name,
        words=int(size["SIZE"], 2),
        bits=int(size["WIDTH"], 2),
        **{ours: np.array([net(bit) for bit in wires[theirs]]) for ours, theirs in ports.items()},
    )
