"""A PE as compiled code: Yosys (CXXRTL) turns the emitted Verilog into C++, called by ctypes.

One harness serves every PE, because all have the same two streams. It drives the clock, offers
beats and accepts results by two bit patterns, and records each result transferred.
"""

import ctypes
import os
import tempfile
from dataclasses import InitVar, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

from numerics.native.kept import build_once
from rtl.beats import beat_codes, beat_places
from rtl.element import ProcessingElement
from rtl.fields import Operands
from rtl.toolchain import (
    TIMEOUT_S,
    ToolError,
    ccache_program,
    compiler_version,
    need_module,
    need_program,
    run_program,
    run_yosys,
)
from rtl.verilog.emit import module_name, verilog_text

HARNESS = """
#include "pe.cc"
#include <cstdint>
#include <cstring>
typedef cxxrtl_design::p_@NAME@ Pe;
template <size_t N> const uint32_t *words(const cxxrtl::value<N> &v) { return v.data; }
template <size_t N> const uint32_t *words(const cxxrtl::wire<N> &w) { return w.curr.data; }
// A beat's words are packed when it is offered. Places of fields are compile-time constants, since
// loops and branches over them would take as long as a small circuit. 32 lanes fill whole words.
template <typename Code, int lanes, int start, int width>
inline void put(uint32_t *words, const void *codes, int64_t beat) {
  const Code *code = (const Code *)codes + beat * lanes;
  for (int done = 0; done < lanes; done += 32) {
    uint32_t *to = words + start / 32 + done / 32 * width;
#pragma GCC unroll 32
    for (int lane = 0; lane < 32; ++lane) {
      if (done + lane >= lanes) break;
      const int bit = start % 32 + lane * width;
      const uint64_t bits = (code[done + lane] & ((1ull << width) - 1)) << bit % 32;
      to[bit / 32] |= (uint32_t)bits;
      if (bit % 32 + width > 32) to[bit / 32 + 1] |= (uint32_t)(bits >> 32);
    }
  }
}
static void pack(const void *const *codes, int64_t beat, uint32_t *words) {
@PUTS@
}
// One call of eval per cycle computes outputs and next state; commit is the clock edge. One call
// suffices for a circuit without combinational feedback; eval returns false for others.
// Beats are offered where offers is 1, results accepted where takes is 1, both repeating; the
// payload is noise while valid is low. Returns the number of results, -1 if cycles ran out before
// all beats and results were transferred, or -2 if one evaluation was not enough.
extern "C" int64_t run(const void *const *codes, int64_t count, int bits_in,
    const uint8_t *offers, const uint8_t *takes, int64_t period, int64_t max_cycles,
    uint32_t *results, int64_t room, int words_out, int64_t *cycles) {
  Pe pe;
  pe.p_rst.set<bool>(true); pe.p_clk.set<bool>(false); pe.step();
  pe.p_clk.set<bool>(true); pe.step();
  pe.p_rst.set<bool>(false);
  int64_t next = 0, packed = -1, found = 0, cycle = 0;
  uint32_t *payload = pe.p_operands____payload.data, noise = 1;
  const int words_in = (bits_in + 31) / 32;
  for (; cycle < max_cycles && (next < count || found < room); ++cycle) {
    bool offer = next < count && offers[cycle % period];
    if (offer && packed != next) {
      memset(payload, 0, 4 * words_in);
      pack(codes, packed = next, payload);
    } else if (!offer) {
      for (int i = 0; i < words_in; ++i) payload[i] = noise = noise * 1664525u + 1013904223u;
      if (bits_in % 32) payload[words_in - 1] &= (1u << bits_in % 32) - 1;
      packed = -1;
    }
    pe.p_operands____valid.set<bool>(offer);
    pe.p_result____ready.set<bool>(takes[cycle % period]);
    pe.prev_p_clk.set<bool>(false);
    if (!pe.eval()) return -2;
    bool taken = offer && pe.p_operands____ready.get<bool>();
    if (pe.p_result____valid.get<bool>() && takes[cycle % period]) {
      if (found == room) return -1;
      memcpy(results + found++ * words_out, words(pe.p_result____payload), 4 * words_out);
    }
    pe.commit();
    next += taken;
  }
  *cycles = cycle;
  return next == count && found == room ? found : -1;
}
"""

#: Technology map of multiplexers to AND/OR logic. CXXRTL writes multiplexers as branches; a CPU
#: mispredicts every second one on random operands, at the cost of some forty additions.
#: Multiplexers with a constant input are kept: they are priority chains, whose branches end early.
#: The shorter A ^ (A ^ B) & S would be wrong: Yosys makes it undefined where A is, whatever S is.
BRANCHLESS = """
(* techmap_celltype = "$mux" *)
module branchless(A, B, S, Y);
  parameter WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  input [WIDTH-1:0] A, B;
  input S;
  output [WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = WIDTH > 32 || &_TECHMAP_CONSTMSK_B_;
  assign Y = (A & {WIDTH{~S}}) | (B & {WIDTH{S}});
endmodule
"""
UNSETTLED = -2
#: Message of ``write_cxxrtl`` where one bit of a wire depends on another bit of it. Wires of
#: one bit avoid such feedback, but g++ takes up to six times as long to compile them.
FEEDBACK = "Design contains feedback wires"


@dataclass(slots=True)
class CompiledPe:
    """The compiled model of one PE; as a context manager it removes its files.

    ``verilog`` is the PE's Verilog (``None``: emit it), ``memory`` a cache of compiled models,
    ``optimize`` the option of g++: ``-O1`` compiles faster, ``-O3`` pays from some 10^5 dots on.
    """

    pe: ProcessingElement
    verilog: InitVar[str | None] = None
    memory: InitVar[Path | None] = None
    optimize: InitVar[str] = "-O3"
    _folder: tempfile.TemporaryDirectory[str] = field(init=False)
    _run: ctypes._CFuncPtr = field(init=False)  # type: ignore[name-defined]

    def __post_init__(self, verilog: str | None, memory: Path | None, optimize: str) -> None:
        need_module("pyosys")
        text = verilog_text(self.pe) if verilog is None else verilog
        self._folder = tempfile.TemporaryDirectory(prefix="qsim-pe-")
        try:
            library = _compile(self.pe, text, Path(self._folder.name), memory, optimize)
        except BaseException:
            self._folder.cleanup()
            raise
        self._run = ctypes.CDLL(str(library)).run
        self._run.restype = ctypes.c_int64

    def __enter__(self) -> "CompiledPe":
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def run(
        self,
        operands: Operands,
        *,
        offers: np.ndarray | None = None,
        takes: np.ndarray | None = None,
    ) -> tuple[np.ndarray, int]:
        """Return the result of every group, and the number of cycles.

        Parameters
        ----------
        offers, takes
            Repeating bit patterns: cycles in which a beat is offered, or a result accepted.
        """
        layout = self.pe.operand_layout
        rows = beat_codes(layout, operands)
        count = len(rows[0])
        codes = np.array([of_field.ctypes.data for of_field in rows], np.uintp)
        offers, takes = _patterns(offers, takes)
        groups, shape = len(next(iter(operands.values()))), self.pe.result_shape
        words_out = -(-shape.width // 32)
        results = np.zeros((groups, words_out), np.uint32)
        cycles = ctypes.c_int64()
        busy = count * self.pe.cycles + groups * self.pe.latency
        found = self._run(
            _pointer(codes),
            ctypes.c_int64(count),
            layout.size,
            _pointer(offers),
            _pointer(takes),
            ctypes.c_int64(len(offers)),
            ctypes.c_int64(64 + busy * len(offers)),
            _pointer(results),
            ctypes.c_int64(len(results)),
            words_out,
            ctypes.byref(cycles),
        )
        if found == UNSETTLED:
            raise ToolError(f"{self.pe.name} has combinational feedback")
        if found != len(results):
            raise ToolError(f"{self.pe.name} gave no result for some of {len(results)} groups")
        number = self.pe.number_shape
        if self.pe.numbers_per_result == 1:
            return _numbers(results, number), cycles.value
        parts = _split(results, number.width, self.pe.numbers_per_result)
        return np.stack([_numbers(part, number) for part in parts], axis=1), cycles.value


def _puts(layout: data.StructLayout) -> str:
    """Return the C++ calls that pack the fields of a beat into its words."""
    return "\n".join(
        f"  put<uint{8 * place.dtype.itemsize}_t, {place.lanes}, {place.start}, {place.width}>"
        f"(words, codes[{i}], beat);"
        for i, place in enumerate(beat_places(layout))
    )


def _patterns(offers: np.ndarray | None, takes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    length = max(len(p) for p in (offers, takes, np.ones(1)) if p is not None)
    found = [np.ones(length) if p is None else p for p in (offers, takes)]
    if len(found[0]) != len(found[1]) or not all(np.any(p) for p in found):
        raise ValueError("both patterns must have the same length and at least one 1")
    return np.ascontiguousarray(found[0], np.uint8), np.ascontiguousarray(found[1], np.uint8)


def _split(words: np.ndarray, width: int, count: int) -> list[np.ndarray]:
    """Split results of ``count`` numbers of ``width`` bits into words of each number, lowest first.

    >>> [part.tolist() for part in _split(np.array([[0x321]], np.uint32), 4, 3)]
    [[[1, 0]], [[2, 0]], [[3, 0]]]
    """
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    found = []
    for start in range(0, width * count, width):
        of_one = np.zeros((len(words), 64), np.uint8)
        of_one[:, :width] = bits[:, start : start + width]
        found.append(np.packbits(of_one, axis=1, bitorder="little").view(np.uint32))
    return found


def _numbers(words: np.ndarray, shape: Shape) -> np.ndarray:
    """Return words of up to 64 bits as int64."""
    wide = words[:, 0].astype(np.int64)
    if words.shape[1] == 2:
        wide |= words[:, 1].astype(np.int64) << 32
    if not shape.signed:
        return wide
    shift = 64 - shape.width
    signed: np.ndarray = (wide << shift) >> shift
    return signed


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _compile(
    pe: ProcessingElement, text: str, folder: Path, memory: Path | None, optimize: str
) -> Path:
    compiler = need_program("g++", "g++")
    import pyosys

    name = module_name(pe).replace("_", "__")
    harness = HARNESS.replace("@NAME@", name).replace("@PUTS@", _puts(pe.operand_layout))
    include = Path(pyosys.__file__).parent / "share/include/backends/cxxrtl/runtime"
    flags = [optimize, "-std=c++17", "-fPIC", f"-I{include}"]
    files = {"pe.v": text, "branchless.v": BRANCHLESS, "harness.cc": harness}

    def build() -> None:
        for file, content in files.items():
            (folder / file).write_text(content, encoding="utf-8")
        if FEEDBACK in run_yosys(_steps(pe), folder):
            run_yosys(_steps(pe, split=True), folder)
        ccache = ccache_program()
        cached = [ccache, compiler] if ccache else [compiler]
        _build([*cached, *flags, "-c", "-o", "pe.o", "harness.cc"], folder)
        _build([compiler, "-shared", "-o", "pe.so", "pe.o"], folder)

    made_of = [*files.values(), FEEDBACK, *_steps(pe), *_steps(pe, split=True), *flags]
    made_of += [f"pyosys {version('pyosys')}", compiler_version()]
    build_once(folder / "pe.so", made_of, build, memory=memory)
    return folder / "pe.so"


def _steps(pe: ProcessingElement, *, split: bool = False) -> list[str]:
    """Return the Yosys commands that turn ``pe.v`` into ``pe.cc``, perhaps by wires of one bit."""
    # PEs of several cycles keep branches, which skip the logic of other cycles.
    logic = ["techmap -map branchless.v"] if pe.cycles == 1 else []
    splits = ["splitnets"] if split else []
    start = ["read_verilog pe.v", f"hierarchy -top {module_name(pe)}", "proc"]
    return [*start, *splits, *logic, "write_cxxrtl -g0 -O6 pe.cc"]


def _build(command: list[str], folder: Path) -> None:
    environment = os.environ | {"TMPDIR": str(folder)}
    done = run_program("g++", command, folder, timeout_s=TIMEOUT_S, environment=environment)
    if done.returncode != 0:
        raise ToolError(f"g++: {done.stderr.splitlines()[0] if done.stderr else 'failed'}")
