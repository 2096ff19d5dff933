"""The answer: one design of the front, and why there is none if the limits exclude all."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sim.codesign.design import Design, make_design
from sim.codesign.options import Objective
from sim.codesign.search import OBJECTIVES, Found, Limits, Outcome, Space, search
from sim.errors import UserError
from sim.report.headline import NEAR_NATS

#: Column of an objective in the points of designs, and its sign.
COLUMNS = {"accuracy": 0, "area": 1, "energy": 2, "speed": 3, "ttft": -1}
#: Words for a limit, its option, and how its number is shown.
NAMES = {
    "tokens_per_s": "--target {:g} tokens/s",
    "area": "--area {:g} mm2",
    "energy_j": "--energy {:g} J",
    "kl_nats": "--kl {:g} nats",
    "ttft_s": "--ttft {:g} s",
}
#: How close the best design without a limit comes to it.
CLOSEST = {
    "tokens_per_s": "the fastest {among} has {tokens_per_s:.3g} tokens/s",
    "area": "the smallest {among} takes {area:.3g} {unit}",
    "energy_j": "the least energy {among} is {energy_j:.3g} J",
    "kl_nats": "the most accurate {among} has {kl_nats:.3g} nats",
    "ttft_s": "the shortest prompt {among} takes {ttft_s:.3g} s",
}


def answer(space: Space, front: Found, objective: Objective) -> int:
    """Return the number of the design with the least of an objective among accurate ones.

    Accurate are designs within 0.02 nats of float32, else those of the most accurate class on the
    front. Of equal ones, the smaller in area, energy and time is taken.
    """
    kl = np.array([space.pairs[int(n) // space.grid.size].accuracy.kl_nats for n in front.numbers])
    classes = front.points[:, 0]
    accurate = kl <= NEAR_NATS if (kl <= NEAR_NATS).any() else classes == classes.min()
    first = COLUMNS[objective]
    others = [column for column in (0, 1, 2, 3) if column != first]
    keys = [front.points[accurate, column] for column in (*reversed(others), first)]
    return int(front.numbers[accurate][np.lexsort(keys)[0]])


def check_feasible(space: Space, limits: Limits, outcome: Outcome) -> None:
    """Raise UserError if no design keeps the limits, with the nearest design to each limit."""
    if len(outcome.front.numbers):
        return
    if not outcome.valid:
        device = f", or nothing fits {space.grid.fpga.name}" if space.grid.fpga else ""
        raise UserError(
            "no machine of the grid is valid: every clock is above those of the PEs, or writing the"
            " results of all rows takes longer than computing the next ones"
            f"{device}; give lower clocks or fewer rows"
        )
    found = [
        nearest(space, limits.without(name), name, "within the other limits")
        for name in limits.given
    ]
    closest = [text for text in found if text]
    if not closest:
        # No limit alone is to blame: the best design for each without any.
        closest = [nearest(space, Limits(), name, "of all") for name in limits.given]
    given = ", ".join(NAMES[name].format(value) for name, value in limits.given.items())
    raise UserError(f"no design keeps {given}: {'; '.join(closest)}")


def nearest(space: Space, limits: Limits, name: str, among: str) -> str:
    """Return how near the designs within other limits come to one; empty if there are none."""
    outcome = search(space, limits)
    if not len(outcome.front.numbers):
        return ""
    column = {"tokens_per_s": 3, "area": 1, "energy_j": 2, "kl_nats": 0, "ttft_s": -1}[name]
    number = int(outcome.front.numbers[np.argmin(outcome.front.points[:, column])])
    design = make_design(space, number)
    numbers: dict[str, Any] = {
        "among": among,
        "unit": space.grid.area_unit,
        "tokens_per_s": design.tokens_per_s,
        "area": design.area,
        "energy_j": design.energy_j[1],
        "kl_nats": design.pair.accuracy.kl_nats,
        "ttft_s": max(design.ttft_s.values(), default=0.0),
    }
    return f"{CLOSEST[name].format_map(numbers)} ({describe(design)})"


def describe(design: Design) -> str:
    """Return a design in one line."""
    pair, grid = design.pair, design.grid
    kib = grid.weight_buffers_kib[0]
    buffer = f", {kib} KiB of weights" if kib else ""
    return (
        f"{pair.weights} weights and {pair.activations} activations on {grid.rows[0]} x"
        f" {grid.columns[0]} {pair.record.name} at {grid.clocks_mhz[0]:g} MHz,"
        f" {design.gb_per_s:g} GB/s {grid.memories[0].kind}{buffer}"
    )


def sorted_front(space: Space, front: Found) -> Found:
    """Return the front by class of accuracy, the cheapest of each class first."""
    keys = [front.points[:, column] for column in (3, 2, 1, 0)]
    order = np.lexsort(keys)
    return replace(front, numbers=front.numbers[order], points=front.points[order])


def shown(front: Found, count: int, *, always: Sequence[int]) -> list[int]:
    """Return the numbers of at most ``count`` designs spread over a sorted front.

    Each class of accuracy gives its cheapest first; the designs ``always`` are among them.
    """
    assert OBJECTIVES[0] == "class"
    _, first = np.unique(front.points[:, 0], return_index=True)
    picked = list(dict.fromkeys([*always, *(int(front.numbers[i]) for i in first)]))[:count]
    rest = [int(number) for number in front.numbers if int(number) not in picked]
    room = count - len(picked)
    if room > 0 and rest:
        places = np.linspace(0, len(rest) - 1, min(room, len(rest))).round().astype(int)
        picked += [rest[place] for place in dict.fromkeys(places.tolist())]
    order = {int(number): place for place, number in enumerate(front.numbers)}
    return sorted(picked, key=lambda number: order[number])
