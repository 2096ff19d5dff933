"""Proof that a combinational circuit equals its reference for every input.

Yosys joins both to a miter, whose output is 1 where they differ; bitwuzla proves that it is always
0. As a check of the proof itself, a reference that is wrong for one input has to be refuted.
Results may be cached in a folder, keyed by circuits and tools.
"""

import hashlib
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Cat, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from numerics.native.kept import put_whole
from rtl.element import Obligation
from rtl.toolchain import ToolError, need_module, run_yosys

#: Time limit of a proof, in ms.
LIMIT_MS = 240_000
QUERY = "(declare-const s |miter_s|)(assert (|miter_n trigger| s))(check-sat)"
#: Cached results of a proof.
EQUAL, DIFFERENT = "equal\n", "different\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A solver's result for a pair of circuits."""

    is_equal: bool
    time_s: float
    is_remembered: bool = False


class _WrongOnce(wiring.Component):
    """A wrong reference: its first output is off by one where all input bits are 1."""

    def elaborate(self, platform: object) -> Module:
        """Return the circuit, which instantiates the module ``ref``."""
        m = Module()
        names = {Out: [], In: []}  # type: ignore[var-annotated]
        for name, member in self.signature.members.items():
            names[member.flow].append(name)
        right = {name: Signal.like(getattr(self, name)) for name in names[Out]}
        m.submodules.right = Instance(
            "ref",
            **{f"i_{name}": getattr(self, name) for name in names[In]},
            **{f"o_{name}": signal for name, signal in right.items()},
        )
        is_last = Cat(getattr(self, name) for name in names[In]).all()
        first, *rest = names[Out]
        m.d.comb += getattr(self, first).eq(Mux(is_last, right[first] ^ 1, right[first]))
        for name in rest:
            m.d.comb += getattr(self, name).eq(right[name])
        return m


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """RTLIL of two circuits: ``dut``, and the module named ``top``, its reference."""

    dut: str
    reference: str
    top: str
    signature: wiring.Signature


def prove(obligation: Obligation, *, memory: Path | None = None) -> Proof:
    """Prove that a circuit equals its reference, or return the result cached in ``memory``."""
    return _prove(_pair(obligation), memory)


def refute_wrong(obligation: Obligation, *, memory: Path | None = None) -> Proof:
    """Compare a circuit with a reference that is wrong for one input; the two must differ."""
    return _prove(_wrong(_pair(obligation)), memory)


def prove_and_refute(obligation: Obligation, *, memory: Path | None = None) -> tuple[Proof, Proof]:
    """Return :func:`prove` and :func:`refute_wrong`, from circuits that are built once."""
    pair = _pair(obligation)
    return _prove(pair, memory), _prove(_wrong(pair), memory)


def _pair(obligation: Obligation) -> _Pair:
    reference = obligation.reference()
    return _Pair(
        dut=_rtlil(obligation.circuit(), "dut"),
        reference=_rtlil(reference, "ref"),
        top="ref",
        signature=reference.signature,
    )


def _wrong(pair: _Pair) -> _Pair:
    around = _rtlil(_WrongOnce(pair.signature), "wrong")
    return replace(pair, reference=f"{pair.reference}{around}", top="wrong")


def _prove(pair: _Pair, memory: Path | None) -> Proof:
    need_module("bitwuzla")
    started = time.perf_counter()
    known = memory / _key(pair) if memory else None
    is_equal = _recall(known) if known else None
    is_remembered = is_equal is not None
    if is_equal is None:
        is_equal = _is_never_one(_miter(pair))
        if known:
            put_whole(known, (EQUAL if is_equal else DIFFERENT).encode())
    time_s = time.perf_counter() - started
    return Proof(is_equal=is_equal, time_s=time_s, is_remembered=is_remembered)


def _key(pair: _Pair) -> str:
    """Return a hash of both circuits, the Yosys script and the versions of the tools."""
    tools = [f"{name} {version(name)}" for name in ("bitwuzla", "pyosys")]
    everything = "\0".join([*tools, *_steps(pair), QUERY, pair.dut, pair.reference])
    return hashlib.sha256(everything.encode()).hexdigest()


def _recall(known: Path) -> bool | None:
    """Return a cached result; ``None`` if the file is missing, unreadable or invalid."""
    with suppress(OSError), known.open(encoding="utf-8", errors="replace") as file:
        return {EQUAL: True, DIFFERENT: False}.get(file.read(32))
    return None


def _miter(pair: _Pair) -> str:
    with tempfile.TemporaryDirectory(prefix="qsim-proof-") as name:
        folder = Path(name)
        for file, text in (("dut.il", pair.dut), ("ref.il", pair.reference)):
            (folder / file).write_text(text, encoding="utf-8")
        run_yosys(_steps(pair), folder)
        return (folder / "miter.smt2").read_text(encoding="utf-8")


def _steps(pair: _Pair) -> list[str]:
    """Return the Yosys commands that join two circuits to a miter.

    Submodules of both have equal names, so each circuit is flattened before the other is read.
    """
    return [
        "read_rtlil dut.il",
        "setattr -mod -unset top *",
        "hierarchy -top dut",
        "proc -norom",
        "flatten",
        "opt_clean",
        "write_rtlil flat_dut.il",
        "design -reset",
        "read_rtlil ref.il",
        "setattr -mod -unset top *",
        f"hierarchy -top {pair.top}",
        "proc -norom",
        "flatten",
        "opt_clean",
        "setattr -mod -unset top *",
        "read_rtlil flat_dut.il",
        "setattr -mod -unset top *",
        f"miter -equiv -flatten -make_outputs {pair.top} dut miter",
        "hierarchy -top miter",
        "write_smt2 -wires miter.smt2",
    ]


def _rtlil(component: wiring.Component, top: str) -> str:
    return str(rtlil.convert(component, name=top))


def _is_never_one(circuit: str) -> bool:
    """Return whether the trigger of a miter is 0 for every input."""
    import bitwuzla

    manager = bitwuzla.TermManager()
    options = bitwuzla.Options()
    options.set(bitwuzla.Option.TIME_LIMIT_PER, LIMIT_MS)
    parser = bitwuzla.Parser(manager, options)
    try:
        parser.parse(f"(set-logic ALL){circuit}{QUERY}", True, False)
    except bitwuzla.BitwuzlaException as error:
        raise ToolError(f"bitwuzla: {error}") from None
    answer = parser.bitwuzla().check_sat()
    if answer == bitwuzla.Result.UNKNOWN:
        raise ToolError(f"bitwuzla gave up after {LIMIT_MS / 1000:g} s")
    return bool(answer == bitwuzla.Result.UNSAT)
