"""One design in full: its machine, time, area and energy by part, and what bounds it."""

from dataclasses import dataclass

import numpy as np

from hw.accelerator import Accelerator
from roofline.accelerator.serving import AcceleratorStep, accelerator_step
from sim.codesign.grid import Grid, areas, evaluate, evaluate_prompt, sizes
from sim.codesign.machine_file import machine_of
from sim.codesign.pairs import Pair
from sim.codesign.search import Space, serving_format


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A pair of formats and PE on one machine."""

    #: Number in the space of designs.
    number: int
    pair: Pair
    #: Class of accuracy, 0 for the most accurate.
    accuracy_class: int
    grid: Grid
    machine: Accelerator
    step: AcceleratorStep
    #: Area of every part in mm2, or in 1000 look-up tables of an FPGA.
    areas: dict[str, float]
    #: Energy of a token in J: least, nominal, most.
    energy_j: tuple[float, float, float]
    #: Seconds to the first token of each prompt of the space, by its tokens.
    ttft_s: dict[int, float]

    @property
    def area(self) -> float:
        """Area of the whole machine."""
        return sum(self.areas.values())

    @property
    def tokens_per_s(self) -> float:
        """Expected tokens a second."""
        return 1 / self.step.time_s

    @property
    def bound_tokens_per_s(self) -> float:
        """Tokens a second that no schedule exceeds."""
        return 1 / self.step.bound_s

    @property
    def energy_parts_j(self) -> dict[str, float]:
        """Nominal energy of a token by part."""
        return {
            "PEs and scalers": self.step.pe_energy_j,
            "buffers": self.step.buffer_energy_j,
            "memory": self.step.dram_energy_j,
            "leakage": self.step.static_energy_j,
        }

    @property
    def gb_per_s(self) -> float:
        """Bandwidth of its memory."""
        return self.grid.memories[0].gb_per_s


def make_design(space: Space, number: int) -> Design:
    """Return the design with a number."""
    place, machine_number = divmod(number, space.grid.size)
    pair, work = space.pairs[place], space.works[place]
    grid = space.grid.machine(machine_number)
    found = sizes(grid, pair, work)
    machine = machine_of(grid, pair, found, name=f"design-{number}")
    step = accelerator_step(
        space.shape, serving_format(pair), machine, "decode", batch=1, context=space.context
    )
    energies = [
        float(evaluate(grid, pair, work, energy=kind).energy_j.item())
        for kind in ("low", "nominal", "high")
    ]
    by_part = {name: float(np.max(each)) for name, each in areas(pair, found, grid.fpga).items()}
    return Design(
        number=number,
        pair=pair,
        accuracy_class=space.classes[place],
        grid=grid,
        machine=machine,
        step=step,
        areas=by_part,
        energy_j=(energies[0], energies[1], energies[2]),
        ttft_s=_ttft_s(space, place, grid),
    )


def _ttft_s(space: Space, place: int, grid: Grid) -> dict[int, float]:
    """Return the seconds to the first token of each prompt on one machine."""
    works = space.prompt_works[place] if space.prompts else ()
    pair, token = space.pairs[place], space.works[place]
    return {
        tokens: float(evaluate_prompt(grid, pair, token, work).time_s.item())
        for tokens, work in zip(space.prompts, works, strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a neighbouring value of one axis changes."""

    what: str
    tokens_per_s: float
    energy_j: float
    area: float


def one_step(space: Space, design: Design) -> list[Change]:
    """Return what the next value of each axis changes, in both directions, where it is valid."""
    place, machine_number = divmod(design.number, space.grid.size)
    places = [int(p) for p in np.unravel_index(machine_number, space.grid.shape)]
    found = []
    for axis, name in enumerate(("rows", "columns", "weight buffer", "memory", "clock")):
        for step in (-1, 1):
            moved = list(places)
            moved[axis] += step
            if not 0 <= moved[axis] < space.grid.shape[axis]:
                continue
            number = int(np.ravel_multi_index(moved, space.grid.shape))
            grid = space.grid.machine(number)
            designs = evaluate(grid, space.pairs[place], space.works[place])
            if not designs.is_valid.item():
                continue
            found.append(
                Change(
                    what=f"{name} {_value(design.grid, axis)} -> {_value(grid, axis)}",
                    tokens_per_s=1 / designs.time_s.item() - design.tokens_per_s,
                    energy_j=designs.energy_j.item() - design.energy_j[1],
                    area=designs.area.item() - design.area,
                )
            )
    return found


def _value(grid: Grid, axis: int) -> str:
    return (
        f"{grid.rows[0]}",
        f"{grid.columns[0]}",
        f"{grid.weight_buffers_kib[0]} KiB",
        f"{grid.memories[0].gb_per_s:g} GB/s {grid.memories[0].kind}",
        f"{grid.clocks_mhz[0]:g} MHz",
    )[axis]
