"""The answer of ``qsim plan`` in 80 columns: one recommendation, why, runners-up, what fits not."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from hw.machine import GIB
from sim.deployment.binding import FAR
from sim.planner.choice import Choice, best_of_each, offers
from sim.planner.deployment import Deployment, limiter
from sim.planner.losses import Losses
from sim.planner.options import PlanOptions

WIDTH = 80
#: Columns of the words that begin a line of the answer.
LABEL = 9
#: Runners-up that are listed, and deployments that do not fit.
MOST_ROWS, MOST_LARGE = 12, 6
#: What a deployment that nothing makes fit would need.
NO_OFFER = "no context, and no number of GPUs up to 16,"


def answer(choice: Choice, losses: Losses, options: PlanOptions) -> str:
    """Return the answer as text without lines longer than 80 columns."""
    return "\n".join(_lines(choice, losses, options))


def duration(seconds: float) -> str:
    """Return a time in the unit that people say.

    >>> duration(0.0123), duration(0.46), duration(4.62), duration(75)
    ('12.3 ms', '460 ms', '4.6 s', '75 s')
    """
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def gib(size: float) -> str:
    """Return bytes in GiB.

    >>> gib(5.31 * 2**30)
    '5.3'
    """
    return f"{size / GIB:.1f}"


def _lines(choice: Choice, losses: Losses, options: PlanOptions) -> Iterator[str]:
    every = (*choice.feasible, *choice.slow, *choice.large)
    load, shape = every[0].load, every[0].setup.shape
    users = "1 user" if load.users == 1 else f"{load.users} users"
    yield (
        f"{shape.name}: {users}, {load.context:,} tokens each"
        f" ({load.prompt:,} in, {load.output:,} out)"
    )
    yield ""
    if choice.best is None:
        yield from wrap(_nothing(choice, options), WIDTH)
    else:
        yield from _best(choice, losses, options)
    if options.machines:
        is_wide = len({_machine(one) for one in every}) > 1
        yield from _table("Runners-up", choice.feasible[1:], is_wide=is_wide)
        yield from _table("Too slow", choice.slow, is_wide=is_wide)
        yield from _large(choice.large)
        return
    yield from _table("Runners-up", best_of_each(choice.feasible)[1:], is_wide=True)
    yield ""
    yield from wrap(
        f"Of all {len(every)}, {len(choice.feasible)} serve this load, {len(choice.slow)} are too"
        f" slow and {len(choice.large)} lack memory; --json lists them, --hw NAME says why.",
        WIDTH,
    )


def _nothing(choice: Choice, options: PlanOptions) -> str:
    if choice.slow:
        first = min(choice.slow, key=lambda one: one.tpot_s[1])
        return (
            f"Nothing is fast enough: the fastest, {_title(first)}, takes"
            f" {duration(first.tpot_s[1])} a token and {duration(first.ttft_s)} to the first one;"
            " give fewer users, a shorter context or more machines."
        )
    first = choice.large[0]
    what = " or ".join(offers(first)) or NO_OFFER
    return f"Nothing fits: {_title(first)} lacks {gib(first.missing_bytes)} GiB; {what} would fit."


def _best(choice: Choice, losses: Losses, options: PlanOptions) -> Iterator[str]:
    best = choice.best
    assert best is not None
    memory, load = best.capacity, best.load
    yield from wrap(f"Take {_title(best)}, in {memory.server.name}.", WIDTH)
    yield from _line("why", _why(choice, options))
    low, high = best.tpot_range_s
    yield from _line(
        "speed",
        f"{duration(best.tpot_s[1])} a token for each user ({duration(low)} to {duration(high)};"
        f" no run beats {duration(best.tpot_s[0])}); {best.tokens_per_s:,.0f} tokens/s in all",
    )
    yield from _line(
        "first",
        f"{duration(best.ttft_s)} to the first token while the others get theirs;"
        f" {duration(best.all_at_once_s)} for the last user if all ask at once",
    )
    if best.tpot_s[1] > FAR * best.tpot_s[0]:
        yield from _line("binds", limiter(best))
    yield from _line("loss", _loss(best, losses))
    yield from _line(
        "memory",
        f"{gib(memory.total_bytes)} GiB: weights {gib(memory.weight_bytes)}, KV cache"
        f" {gib(load.users * memory.user_bytes(load.context))}, activations"
        f" {gib(memory.activation_bytes)}, reserve {gib(memory.reserve_bytes)},"
        f" free {gib(memory.total_bytes - memory.needed_bytes(load.users, load.context))}",
    )
    yield from _line(
        "room",
        f"{memory.users(load.context):,} users with {load.context:,} tokens, or"
        f" {memory.context(load.users):,} tokens for {load.users}",
    )
    cost = f"; ${best.usd_per_mtok:.3g} a million of them" if best.usd_per_mtok else ""
    yield from _line("energy", f"{best.energy_j:.3g} J an output token, its prompt included{cost}")
    if best.setup.machine.unconfirmed:
        yield from _line(
            "note",
            f"{len(best.setup.machine.unconfirmed)} numbers of {best.setup.machine.name} are not"
            f" confirmed: 'qsim hw show {best.setup.machine.name}'",
        )


def _why(choice: Choice, options: PlanOptions) -> str:
    best = choice.best
    assert best is not None
    first = "fastest" if options.machines else "cheapest"
    if choice.is_within_loss:
        count = sum(
            1 for one in choice.feasible if one.loss is not None and one.loss.nats <= options.loss
        )
        return f"{first} of {count} that fit and lose at most {options.loss:g} nats a token"
    if best.loss is None:
        return f"{first} of those that fit; no loss of them was measured"
    return f"no format that fits loses at most {options.loss:g} nats; this one loses least"


def _loss(best: Deployment, losses: Losses) -> str:
    model = best.setup.shape.name
    nothing = "" if losses.table.model == model else f"; nothing was measured on {model}"
    if best.loss is None:
        return f"not measured on {losses.sample}{nothing}"
    method = f" by {best.loss.method}" if best.loss.method else ""
    cache = "" if best.loss.is_whole else "; its KV cache was not in that measurement"
    return f"{best.loss.text} nats a token{method} on {losses.sample}{nothing}{cache}"


def _table(title: str, found: Sequence[Deployment], *, is_wide: bool) -> Iterator[str]:
    """Yield one line a deployment; a wide table has machines and prices in place of losses."""
    if not found:
        return
    yield ""
    yield (
        f"{title:<{23 if is_wide else 12}}"
        + ("format   " if is_wide else "")
        + f"{'cache':<7}{'ms/token':>9}{'TTFT s':>8}{'tokens/s':>9}"
        + ("" if is_wide else f"{'loss nats':>15}{'users':>6}{'context':>9}")
        + (f"{'$/hour':>8}{'users':>7}" if is_wide else "")
    )
    for one in found[:MOST_ROWS]:
        yield _row(one, is_wide=is_wide)
    if len(found) > MOST_ROWS:
        yield f"{len(found) - MOST_ROWS} more with --json"


def _row(one: Deployment, *, is_wide: bool) -> str:
    memory, load = one.capacity, one.load
    times = f"{1e3 * one.tpot_s[1]:>9.3g}{one.ttft_s:>8.3g}{one.tokens_per_s:>9,.0f}"
    users = f"{memory.users(load.context):,}"
    if is_wide:
        price = f"{one.usd_per_hour:.2f}" if one.usd_per_hour else "-"
        name = f"{_machine(one):<23.22}{one.name:<9.8}"
        return f"{name}{one.cache:<7.6}{times}{price:>8}{users:>7}"
    loss = "-" if one.loss is None else one.loss.text
    context = f"{memory.context(load.users):,}"
    return f"{one.name:<12.11}{one.cache:<7.6}{times}{loss:>15}{users:>6}{context:>9}"


def _large(found: Sequence[Deployment]) -> Iterator[str]:
    if not found:
        return
    yield ""
    yield "Does not fit (what would)"
    for one in found[:MOST_LARGE]:
        if one.missing_bytes:
            why = f"{gib(one.missing_bytes)} GiB too much"
        else:
            why = f"the server takes {one.capacity.users(one.load.context)} sequences at most"
        what = " or ".join(offers(one)) or NO_OFFER
        yield from wrap(f"{_title(one)}: {why}; {what}", WIDTH, subsequent_indent="  ")
    if len(found) > MOST_LARGE:
        yield f"{len(found) - MOST_LARGE} more with --json"


def _title(one: Deployment) -> str:
    return f"{one.name} with its cache in {one.cache} on {_machine(one)}"


def _machine(one: Deployment) -> str:
    count = one.setup.machines
    return f"{count}x {one.setup.machine.name}" if count > 1 else one.setup.machine.name


def _line(label: str, text: str) -> Iterator[str]:
    yield from wrap(text, WIDTH, initial_indent=f"{label:<{LABEL}}", subsequent_indent=" " * LABEL)
