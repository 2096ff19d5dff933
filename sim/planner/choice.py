"""The recommendation: which deployment to take, and what would make the others fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from roofline.workload.capacity import capacity
from sim.planner.deployment import Deployment, next_power_of_two
from sim.planner.options import PlanOptions

#: Most machines that an offer names.
MOST_MACHINES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """All deployments, sorted: the recommended one first, then those that serve the load."""

    best: Deployment | None
    #: Whether the recommended format loses no more than was asked for, as far as it was measured.
    is_within_loss: bool
    #: Deployments that fit and meet the limits, the recommended one first.
    feasible: tuple[Deployment, ...]
    #: Deployments that fit and miss a limit on times.
    slow: tuple[Deployment, ...]
    #: Deployments whose memory or server does not hold the users.
    large: tuple[Deployment, ...]


def choose(found: Sequence[Deployment], options: PlanOptions) -> Choice:
    """Return the deployments in order: cheapest first, then fastest; on given machines fastest.

    The best one is the first whose measured loss is at most that of the options; the most accurate
    if there is none.
    """
    is_named = bool(options.machines)
    fitting = [one for one in found if one.fits]
    meets = {id(one): one.meets(ttft_s=options.ttft, tpot_s=options.tpot) for one in fitting}

    def order(one: Deployment) -> tuple[float, float, float]:
        price = 0.0 if is_named else one.usd_per_hour or inf
        # Of equally fast formats the more accurate one comes first.
        return price, -float(f"{one.tokens_per_s:.3g}"), one.loss.nats if one.loss else inf

    feasible = sorted((one for one in fitting if meets[id(one)]), key=order)
    within = [one for one in feasible if one.loss is not None and one.loss.nats <= options.loss]
    measured = [one for one in feasible if one.loss is not None]
    best = next(iter(within), None)
    if best is None and feasible:
        accurate = min(measured, key=lambda one: one.loss.nats if one.loss else 0.0, default=None)
        best = accurate or feasible[0]
    rest = [one for one in feasible if one is not best]
    return Choice(
        best=best,
        is_within_loss=bool(within),
        feasible=(*([best] if best else []), *rest),
        slow=tuple(sorted((one for one in fitting if not meets[id(one)]), key=order)),
        large=tuple(sorted((one for one in found if not one.fits), key=lambda o: o.missing_bytes)),
    )


def best_of_each(found: Sequence[Deployment]) -> list[Deployment]:
    """Return the first deployment of each kind of machine: its smallest number, its best format."""
    kinds: dict[str, Deployment] = {}
    for one in found:
        kinds.setdefault(one.setup.machine.name, one)
    return list(kinds.values())


def offers(one: Deployment) -> list[str]:
    """Return what would fit in place of a deployment that does not."""
    memory, load = one.capacity, one.load
    found = []
    users, tokens = memory.users(load.context), memory.context(load.users)
    if users:
        found.append(f"--users {users}")
    if tokens > load.output:
        found.append(f"--context {tokens}")
    if machines := _machines(one):
        found.append(f"--hw '{machines}x {one.setup.machine.name}'")
    return found


def _machines(one: Deployment) -> int | None:
    """Return the number of GPUs, a power of two, on which a deployment fits."""
    if one.setup.machine.kind != "gpu":
        return None
    count = next_power_of_two(one.setup.machines)
    while count <= MOST_MACHINES:
        setup = replace(one.setup, machines=count)
        if capacity(setup, one.capacity.server).users(one.load.context) >= one.load.users:
            return count
        count *= 2
    return None
