"""Every pair on every machine: limits, and the exact front of accuracy, area, energy and time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int64

from roofline.model.model_shape import ModelShape
from roofline.runtime.serving_format import ServingFormat, parse_format
from sim.codesign.classes import tie_classes
from sim.codesign.front import Front
from sim.codesign.grid import Grid, evaluate, evaluate_prompt
from sim.codesign.pairs import Pair
from sim.codesign.workload import Workload, workload
from sim.errors import user_errors

#: Objectives of the front, all minimized: class of accuracy, mm2 (or 1000 look-up tables), J and s
#: per token; then seconds to the first token of each prompt.
OBJECTIVES = ("class", "area", "energy_j", "time_s")
#: Points of the cloud that a page shows, about.
CLOUD = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of designs; ``None`` for none."""

    tokens_per_s: float | None = None
    area: float | None = None
    energy_j: float | None = None
    kl_nats: float | None = None
    #: Seconds to the first token of the longest prompt.
    ttft_s: float | None = None

    def without(self, name: str) -> "Limits":
        """Return the limits without one of them."""
        values = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return Limits(**values | {name: None})

    @property
    def given(self) -> Mapping[str, float]:
        """The limits that are set."""
        values = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All designs: pairs of formats and PE, with the work of a token, on all machines of a grid."""

    shape: ModelShape
    context: int
    pairs: tuple[Pair, ...]
    works: tuple[Workload, ...]
    grid: Grid
    #: Class of accuracy of each pair.
    classes: tuple[int, ...] = field(default=())
    #: Tokens of each prompt, rising, and each pair's work for it.
    prompts: tuple[int, ...] = ()
    prompt_works: tuple[tuple[Workload, ...], ...] = ()

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives, which rise with the prompts."""
        return (*OBJECTIVES, *(f"ttft_{tokens}_s" for tokens in self.prompts))

    @property
    def size(self) -> int:
        """Number of designs."""
        return len(self.pairs) * self.grid.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Designs of a search: their numbers and objectives."""

    #: Number of a design: that of its pair times the size of the grid, plus that of its machine.
    numbers: Int64[np.ndarray, " n"]
    #: Values of :attr:`Space.objectives`, one row a design.
    points: Float64[np.ndarray, "n objectives"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The front within the limits, and a regular sample of all designs for figures."""

    front: Found
    cloud: Found
    #: Designs with a clock that the PE reaches and results that leave in time; those in the limits.
    valid: int
    within: int


def serving_format(pair: Pair) -> ServingFormat:
    """Return a pair's formats as ``qsim roofline`` names them."""
    with user_errors(ValueError):
        return parse_format(pair.weights, activations=pair.activations, kv=pair.kv)


def make_space(
    shape: ModelShape,
    pairs: Sequence[Pair],
    grid: Grid,
    *,
    context: int,
    prompts: Sequence[int] = (),
) -> Space:
    """Return the designs of a model, with prompts of some lengths as further objectives."""
    lengths = tuple(sorted(prompts))
    works = [token_work(shape, pair, context=context) for pair in pairs]
    return Space(
        shape=shape,
        context=context,
        pairs=tuple(pairs),
        works=tuple(works),
        grid=grid,
        classes=tuple(tie_classes([pair.accuracy for pair in pairs])),
        prompts=lengths,
        prompt_works=tuple(
            tuple(token_work(shape, pair, context=length, tokens=length) for length in lengths)
            for pair in pairs
        ),
    )


def token_work(shape: ModelShape, pair: Pair, *, context: int, tokens: int = 1) -> Workload:
    """Return the work of the last tokens of a context in a pair's formats."""
    from sim.codesign.machine_file import stand_in

    with user_errors(ValueError):
        return workload(shape, serving_format(pair), stand_in(pair), context=context, tokens=tokens)


def search(space: Space, limits: Limits) -> Outcome:
    """Return the front of all designs within limits."""
    found, stride = Front(len(space.objectives)), max(1, space.size // CLOUD)
    cloud_numbers: list[np.ndarray] = []
    cloud_points: list[np.ndarray] = []
    valid = within = 0
    for numbers, points, is_valid in evaluated(space):
        ok = is_valid & keep_limits(points, limits, space, numbers)
        valid, within = valid + int(is_valid.sum()), within + int(ok.sum())
        found.add(points[ok], numbers[ok])
        sampled = is_valid & (numbers % stride == 0)
        cloud_numbers.append(numbers[sampled])
        cloud_points.append(points[sampled])
    order = np.argsort(found.numbers)
    return Outcome(
        front=Found(numbers=found.numbers[order], points=found.points[order]),
        cloud=Found(numbers=np.concatenate(cloud_numbers), points=np.concatenate(cloud_points)),
        valid=valid,
        within=within,
    )


Block = tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, "n objectives"], Bool[np.ndarray, " n"]]


def evaluated(space: Space) -> Iterator[Block]:
    """Yield numbers, objectives and validity of all designs, block by block."""
    for place, (pair, work) in enumerate(zip(space.pairs, space.works, strict=True)):
        for start, grid in space.grid.blocks():
            designs = evaluate(grid, pair, work)
            points = np.empty((grid.size, len(space.objectives)))
            points[:, 0] = space.classes[place]
            points[:, 1] = designs.area.ravel()
            points[:, 2] = designs.energy_j.ravel()
            points[:, 3] = designs.time_s.ravel()
            is_valid = designs.is_valid
            for column, prompt in enumerate(_prompts(space, place), len(OBJECTIVES)):
                found = evaluate_prompt(grid, pair, work, prompt)
                points[:, column] = found.time_s.ravel()
                is_valid = is_valid & found.is_valid
            first = place * space.grid.size + start
            numbers = np.arange(first, first + grid.size)
            yield numbers, points, is_valid.ravel()


def _prompts(space: Space, place: int) -> tuple[Workload, ...]:
    """Return the prompts of a pair."""
    return space.prompt_works[place] if space.prompts else ()


def keep_limits(
    points: Float64[np.ndarray, "n objectives"],
    limits: Limits,
    space: Space,
    numbers: Int64[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """Return which designs keep the limits."""
    ok = np.ones(len(points), bool)
    if limits.area is not None:
        ok &= points[:, 1] <= limits.area
    if limits.energy_j is not None:
        ok &= points[:, 2] <= limits.energy_j
    if limits.tokens_per_s is not None:
        ok &= points[:, 3] <= 1 / limits.tokens_per_s
    if limits.ttft_s is not None:
        ok &= points[:, -1] <= limits.ttft_s
    if limits.kl_nats is not None:
        # A block has one pair.
        pair = space.pairs[int(numbers[0]) // space.grid.size]
        ok &= pair.accuracy.kl_nats <= limits.kl_nats
    return ok
