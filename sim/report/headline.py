"""The answer of a sweep in a few sentences, computed from its results."""

from collections.abc import Sequence

from sim.report.kinds import is_reference, keeps_weights
from sim.report.ranking import by_kl, candidates, like_bits, ties
from sim.report.table import interval, kl_text, loss_text, shortened, warnings
from sim.sweep.result import PointResult

#: Divergence that is called near: 0.02 nats of loss are about 2 % of perplexity.
NEAR_NATS = 0.02
#: Range of bits per weight in which formats of like bits are compared, side data included.
FOUR_BITS = (4.0, 5.0)
#: Most groups of like bits that are compared, the largest ones.
MAX_GROUPS = 2
#: Most tied formats that are named.
MAX_TIES = 3
#: Characters of a name in a title.
TITLE_NAME = 26


def headline(results: Sequence[PointResult]) -> str:
    """Say in a few sentences what the results show."""
    return " ".join(answers(results))


def answers(results: Sequence[PointResult]) -> list[str]:
    """Return the sentences of the headline, the most important first."""
    points = by_kl(candidates(results))
    doubts = warnings(results)
    return [*doubts, *([_first(points), *_at_like_bits(points)] if points else [_nothing(results)])]


def _first(points: Sequence[PointResult]) -> str:
    least, chosen = points[0], cheapest_near(points)
    if len(points) == 1:
        return _describe(least)
    if keeps_weights(least):
        return f"Nearest to float32, with float32 weights: {_describe(least)}"
    if chosen is not None:
        return f"The fewest bits with a KL of at most {NEAR_NATS} nats: {_describe(chosen)}"
    return f"No format has a KL of at most {NEAR_NATS} nats; nearest: {_describe(least)}"


def finding(results: Sequence[PointResult]) -> str:
    """Return the answer as short as the title of a figure."""
    points = by_kl(candidates(results))
    if not points:
        return "Nothing to compare with float32"
    least, chosen = points[0], cheapest_near(points)
    name, kl = shortened(least.recipe, TITLE_NAME), f"KL {least.kl_mean:.3g} nats"
    if keeps_weights(least):
        return f"Nearest to float32, with float32 weights: {name} ({kl})"
    if len(points) == 1:
        return f"{name}: {kl} at {_bits(least)} per weight"
    if chosen is None:
        return f"No format with a KL of at most {NEAR_NATS} nats; nearest: {name} ({kl})"
    name = shortened(chosen.recipe, TITLE_NAME)
    return f"Fewest bits with a KL of at most {NEAR_NATS} nats: {name} ({_bits(chosen)} per weight)"


def cheapest_near(points: Sequence[PointResult]) -> PointResult | None:
    """Return the point with the fewest bits, of those near float32."""
    near = [p for p in points if p.kl_mean <= NEAR_NATS]
    return min(near, key=lambda p: (p.bits_per_weight, p.kl_mean), default=None)


def _nothing(results: Sequence[PointResult]) -> str:
    reference = next((p for p in results if is_reference(p)), None)
    if len(results) > 1 or reference is None:
        return "No format has a finite KL divergence."
    return f"The float32 model has perplexity {reference.perplexity:,.4g}; nothing to compare."


def _describe(point: PointResult) -> str:
    bits = "" if keeps_weights(point) else f" at {_bits(point)} per weight"
    above = point.kl_mean + (interval(point, "kl_mean_se") or 0.0)
    doubt = point.kl_mean <= NEAR_NATS < above
    return (
        f"{point.recipe} diverges from float32 by {kl_text(point)} nats{bits} "
        f"(loss {loss_text(point)}) and keeps the likeliest token in "
        f"{100 * point.top1_agreement:.1f} % of positions"
        + (f"; its interval reaches above {NEAR_NATS}." if doubt else ".")
    )


def _at_like_bits(points: Sequence[PointResult]) -> list[str]:
    """Compare the 4-bit formats that have equally many bits, so that smaller blocks win nothing."""
    low, high = FOUR_BITS
    groups = groups_of_like_bits([p for p in points if low <= p.bits_per_weight < high])
    largest = sorted(groups, key=len, reverse=True)[:MAX_GROUPS]
    return [_compare(group) for group in groups if group in largest and len(group) > 1]


def groups_of_like_bits(points: Sequence[PointResult]) -> list[list[PointResult]]:
    """Return points in groups whose bits per weight are alike, the fewest bits first."""
    groups: list[list[PointResult]] = []
    for point in sorted(points, key=lambda p: p.bits_per_weight):
        if groups and like_bits(groups[-1][0], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def _compare(group: Sequence[PointResult]) -> str:
    best, *others = by_kl(group)
    tied = ties(best, others)
    names = [p.recipe for p in tied[:MAX_TIES]]
    names += [f"{len(tied) - MAX_TIES} more"] if len(tied) > MAX_TIES else []
    end = f"; within the error: {', '.join(names)}" if names else ""
    low, high = (_bits(end).removesuffix(" bits") for end in (group[0], group[-1]))
    bits = low if low == high else f"{low} to {high}"
    return (
        f"Of {len(group)} formats with {bits} bits per weight, {best.recipe} is nearest to float32 "
        f"({kl_text(best)}){end}."
    )


def _bits(point: PointResult) -> str:
    return f"{point.bits_per_weight:.3g} bits"
