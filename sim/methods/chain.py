"""Methods as chains of steps: ``awq+gptq(order=natural)+lorc(rank=8)``.

Transforms come first, then at most one solver, then a repair; without a solver, values are rounded
to nearest. A step in the text may have options in brackets.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from numerics import Scheme
from numerics.names.suggest import unknown
from sim.methods.catalog import STEPS
from sim.methods.options import parse_options, split_outside, step_text
from sim.methods.solvers import Rtn
from sim.methods.step import BlockTransform, ModelTransform, Repair, Solver, Step

STEP = re.compile(r"(?P<name>[a-z0-9-]+)(?:\((?P<options>.*)\))?")
#: Kinds of steps in the order of a chain, and their names in messages.
KINDS: tuple[tuple[type[Step], str], ...] = (
    (ModelTransform, "a transform of the model"),
    (BlockTransform, "a transform of a block"),
    (Solver, "a solver"),
    (Repair, "a repair"),
)


RTN = Rtn()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The steps of a method."""

    model: tuple[ModelTransform, ...] = ()
    block: tuple[BlockTransform, ...] = ()
    solver: Solver = RTN
    repair: Repair | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order; rounding to nearest is one only if it is alone."""
        repairs = () if self.repair is None else (self.repair,)
        others = (*self.model, *self.block, *repairs)
        solver = () if self.solver == RTN and others else (self.solver,)
        return (*self.model, *self.block, *solver, *repairs)

    @property
    def is_calibrated(self) -> bool:
        """Whether a step reads a calibration text."""
        return any(step.reads_text for step in self.steps)

    @property
    def needs_statistics(self) -> bool:
        """Whether a step after the transforms of the model reads a calibration text."""
        return any(s.reads_text for s in self.steps if not isinstance(s, ModelTransform))

    def check(self, scheme: Scheme, shape: tuple[int, ...]) -> None:
        """Raise :class:`ValueError` for a matrix whose codes the chain cannot choose."""
        self.solver.check(scheme, shape)
        self.extra_bits(shape)

    def extra_bits(self, shape: tuple[int, ...]) -> int:
        """Return the bits that the repair adds to a matrix."""
        return 0 if self.repair is None else self.repair.extra_bits(shape)


#: Rounding to nearest.
NEAREST = Chain()


def parse_chain(text: str) -> Chain:
    """Return the chain that a text names.

    Raises
    ------
    ValueError
        A step, an option or a value is unknown, or the steps are in a wrong order.

    Examples
    --------
    >>> parse_chain("clip(weight=none)").solver
    Clip(weight='none')
    >>> parse_chain("gptq(clip=maybe)")
    Traceback (most recent call last):
    ValueError: option clip of gptq is 'maybe'; it can be true or false
    """
    steps = [_parse_step(part) for part in split_outside(text.strip().lower(), "+")]
    ranks = [_rank(step) for step in steps]
    for (first, a), (second, b) in pairwise(zip(steps, ranks, strict=True)):
        if b < a:
            raise ValueError(
                f"method '{text}': {second.name} is {KINDS[b][1]} and comes before {first.name}, "
                f"{KINDS[a][1]}; write {second.name}+{first.name}"
            )
    parts = {kind: [s for s in steps if isinstance(s, kind)] for kind, _ in KINDS}
    _check_single(text, steps)
    return Chain(
        model=tuple(parts[ModelTransform]),  # type: ignore[arg-type]
        block=tuple(parts[BlockTransform]),  # type: ignore[arg-type]
        solver=parts[Solver][0] if parts[Solver] else RTN,  # type: ignore[arg-type]
        repair=parts[Repair][0] if parts[Repair] else None,  # type: ignore[arg-type]
    )


def chain_text(chain: Chain) -> str:
    """Return the canonical text of a chain: options that differ from their defaults, in order.

    Examples
    --------
    >>> chain_text(parse_chain("gptq(damping=0.01, order=group)"))
    'gptq(order=group)'
    """
    return "+".join(step_text(step) for step in chain.steps)


def _parse_step(text: str) -> Step:
    match = STEP.fullmatch(text.strip())
    if match is None or text.count("(") != text.count(")"):
        raise ValueError(
            f"method step '{text}' is not of the form NAME or NAME(OPTION=VALUE,...); "
            "a chain is STEP+STEP"
        )
    if match["name"] not in STEPS:
        raise ValueError(unknown("method", match["name"], STEPS, see="qsim methods"))
    step = STEPS[match["name"]]
    return step(**parse_options(step, match["options"] or ""))


def _rank(step: Step) -> int:
    return next(rank for rank, (kind, _) in enumerate(KINDS) if isinstance(step, kind))


def _check_single(text: str, steps: list[Step]) -> None:
    """Refuse a step that is given twice, a second solver and a second repair."""
    rotations = [s.name for s in steps if isinstance(s, ModelTransform) and s.has_online]
    if len(rotations) > 1:
        raise ValueError(
            f"method '{text}': {' and '.join(rotations)} both transform activations at run time; "
            f"leave r3, r4 and heads out of one of them"
        )
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"method '{text}' has {name} twice; give it once")
    for kind, what in ((Solver, "solvers"), (Repair, "repairs")):
        found = [step.name for step in steps if isinstance(step, kind)]
        if len(found) > 1:
            raise ValueError(
                f"method '{text}' has the {what} {' and '.join(found)}; a chain has one, "
                f"such as {found[0]}"
            )
