"""Verification of a PE in three layers: compiled code, a Verilog simulator, and a proof."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from numerics.formats import Format
from numerics.pe.exact_dot import exact_dots, integer_table
from rtl.catalog import ProcessingElement
from rtl.compiled import CompiledPe
from rtl.proof import prove_product, refute_wrong
from rtl.simulated import run_bench
from rtl.toolchain import ToolError

Layer = Literal["compiled", "simulated", "proved"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
#: Pairs of codes up to which all of them are tried.
EXHAUSTIVE_PAIRS = 2**24
#: Random dot products in compiled code, and in the simulator.
RANDOM_DOTS = 10_000_000
SIMULATED_DOTS = 1000
BEATS_PER_GROUP = 4
CHUNK = 250_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one layer found."""

    pe: str
    layer: Layer
    what: str
    #: Groups whose sums were compared, or pairs of codes that a proof covers.
    vectors: int
    time_s: float
    is_good: bool
    detail: str = ""

    @property
    def rate_per_s(self) -> float:
        """Vectors a second."""
        return self.vectors / self.time_s if self.time_s else 0.0


def verify(
    pe: ProcessingElement, layers: Sequence[Layer] = LAYERS, *, dots: int = RANDOM_DOTS
) -> Iterator[Verdict]:
    """Yield the verdicts of some layers on a PE, in order."""
    for layer in layers:
        try:
            if layer == "compiled":
                yield from _compiled(pe, dots)
            else:
                yield _simulated(pe) if layer == "simulated" else _proved(pe)
        except ToolError as error:
            yield Verdict(pe=pe.name, layer=layer, what="tools", vectors=0, time_s=0.0,
                          is_good=False, detail=str(error))  # fmt: skip


def _compiled(pe: ProcessingElement, dots: int) -> Iterator[Verdict]:
    model, single = CompiledPe(pe), None
    try:
        if 2 ** (pe.weights.bits + pe.activations.bits) <= EXHAUSTIVE_PAIRS:
            single = model if pe.lanes == 1 else CompiledPe(replace(pe, lanes=1))
            yield _compare(single, "every pair of codes, one lane", [all_pairs(pe)])
        corners = corner_groups(pe)
        yield _compare(model, "corners", [corners])
        stalls = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1]), np.array([1, 0, 1, 1, 1, 0, 0])
        few = random_groups(pe, min(dots, CHUNK), seed=1)
        yield _compare(model, "random, with stalls", [few], patterns=_same_length(*stalls))
        counts = [min(CHUNK, dots - start) for start in range(0, dots, CHUNK)]
        rest = (random_groups(pe, n, seed=2 + i) for i, n in enumerate(counts))
        yield _compare(model, "random", rest)
    finally:
        for compiled in {id(m): m for m in (model, single) if m}.values():
            compiled.close()


def _compare(
    model: CompiledPe,
    what: str,
    chunks: Iterator[tuple[np.ndarray, np.ndarray]] | list[tuple[np.ndarray, np.ndarray]],
    patterns: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None),
) -> Verdict:
    pe, started, count, detail = model.pe, time.perf_counter(), 0, ""
    for weights, activations in chunks:
        found, _ = model.dots(weights, activations, offers=patterns[0], takes=patterns[1])
        expected = exact_dots(pe.weights, pe.activations, weights, activations)
        wrong = np.flatnonzero(found != expected)
        count += len(found)
        if len(wrong):
            i = wrong[0]
            detail = (
                f"weights {weights[i].tolist()} and activations {activations[i].tolist()} give"
                f" {found[i]}, not {expected[i]}"
            )
            break
    return Verdict(
        pe=pe.name,
        layer="compiled",
        what=what,
        vectors=count,
        time_s=time.perf_counter() - started,
        is_good=not detail,
        detail=detail,
    )


def all_pairs(pe: ProcessingElement) -> tuple[np.ndarray, np.ndarray]:
    """Return every pair of codes, one a group."""
    weights, activations = np.divmod(
        np.arange(2 ** (pe.weights.bits + pe.activations.bits)), 2**pe.activations.bits
    )
    return weights[:, None], activations[:, None]


def random_groups(pe: ProcessingElement, count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return groups of random codes of all kinds."""
    random = np.random.default_rng(seed)
    shape = (count, BEATS_PER_GROUP * pe.lanes)
    weights = random.integers(0, 2**pe.weights.bits, shape, dtype=np.uint16)
    return weights, random.integers(0, 2**pe.activations.bits, shape, dtype=np.uint16)


def corner_groups(pe: ProcessingElement) -> tuple[np.ndarray, np.ndarray]:
    """Return the longest groups of extreme codes: each of one against each of the other."""
    pairs = [(w, a) for w in _extremes(pe.weights) for a in _extremes(pe.activations)]
    length = pe.length - pe.length % pe.lanes
    weights = np.array([[w] * length for w, _ in pairs])
    return weights, np.array([[a] * length for _, a in pairs])


def _extremes(fmt: Format) -> list[int]:
    """Return the codes of the least, the largest and the smallest values, and of zeros."""
    table = np.array(integer_table(fmt))
    small = np.where(table == 0, table.max() + 1, np.abs(table))
    found = {int(table.argmin()), int(table.argmax()), int(small.argmin()), len(table) - 1}
    return sorted(found | set(np.flatnonzero(table == 0).tolist()))


def _same_length(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.tile(a, len(b)), np.tile(b, len(a))


def _simulated(pe: ProcessingElement) -> Verdict:
    weights, activations = random_groups(pe, SIMULATED_DOTS, seed=3)
    run = run_bench(pe, weights, activations)
    return Verdict(
        pe=pe.name,
        layer="simulated",
        what=f"{run.tests} protocol tests in {run.simulator}",
        vectors=run.vectors,
        time_s=run.time_s,
        is_good=run.failed == 0,
        detail=f"{run.failed} of {run.tests} tests failed" if run.failed else "",
    )


def _proved(pe: ProcessingElement) -> Verdict:
    control = refute_wrong(pe)
    proof = prove_product(pe)
    detail = "" if proof.is_equal else "differs from decoded values and *"
    if control.is_equal:
        detail = "a wrong reference was taken for equal"
    return Verdict(
        pe=pe.name,
        layer="proved",
        what="product equals decoded values and *; a wrong one refuted",
        vectors=2 ** (pe.weights.bits + pe.activations.bits),
        time_s=proof.time_s + control.time_s,
        is_good=not detail,
        detail=detail,
    )
