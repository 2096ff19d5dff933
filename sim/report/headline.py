"""The answer of a sweep in a sentence, computed from its results."""

from collections.abc import Sequence

from sim.report.kinds import is_reference, keeps_weights
from sim.report.pareto import candidates
from sim.report.table import by_loss, loss_text, shortened
from sim.sweep.result import PointResult

#: Losses up to this are called near: about 2 % of perplexity.
NEAR_NATS = 0.02
#: Bits per weight of what is called a 4-bit format, side data included.
FOUR_BITS = (4.0, 5.0)
#: Characters of a name in a title.
TITLE_NAME = 26


def headline(results: Sequence[PointResult]) -> str:
    """Say in a sentence or two what the results show."""
    points = by_loss(candidates(results))
    if not points:
        return _nothing(results)
    least, chosen = points[0], cheapest_near(points)
    if len(points) == 1:
        first = _describe(least)
    elif keeps_weights(least):
        first = f"The least loss, with float32 weights: {_describe(least)}"
    elif chosen is not None:
        first = f"The fewest bits within {NEAR_NATS} nats of float32: {_describe(chosen)}"
    else:
        first = f"No format stays within {NEAR_NATS} nats of float32; nearest: {_describe(least)}"
    return " ".join(filter(None, [first, _best_of_four_bits(points, chosen or least)]))


def finding(results: Sequence[PointResult]) -> str:
    """Return the answer as short as the title of a figure."""
    points = by_loss(candidates(results))
    if not points:
        return "Nothing to compare with float32"
    least, chosen = points[0], cheapest_near(points)
    name, loss = shortened(least.recipe, TITLE_NAME), f"{least.delta_nats:+.3g} nats"
    if keeps_weights(least):
        return f"Least loss, with float32 weights: {name} ({loss})"
    if len(points) == 1:
        return f"{name}: {loss} at {_bits(least)} per weight"
    if chosen is None:
        return f"No format within {NEAR_NATS} nats of float32; nearest: {name} ({loss})"
    name = shortened(chosen.recipe, TITLE_NAME)
    return f"Fewest bits within {NEAR_NATS} nats of float32: {name} ({_bits(chosen)} per weight)"


def cheapest_near(points: Sequence[PointResult]) -> PointResult | None:
    """Return the point with the fewest bits, of those near float32."""
    near = [p for p in points if p.delta_nats <= NEAR_NATS]
    return min(near, key=lambda p: (p.bits_per_weight, p.delta_nats), default=None)


def _nothing(results: Sequence[PointResult]) -> str:
    reference = next((p for p in results if is_reference(p)), None)
    if len(results) > 1 or reference is None:
        return "No format has a finite loss."
    return f"The float32 model has perplexity {reference.perplexity:,.4g}; nothing to compare."


def _describe(point: PointResult) -> str:
    error = point.delta_nats_se or 0.0
    bits = "" if keeps_weights(point) else f" at {_bits(point)} per weight"
    doubt = point.delta_nats <= NEAR_NATS < point.delta_nats + 2 * error
    return (
        f"{point.recipe} costs {loss_text(point)} nats{bits} and keeps the likeliest token in "
        f"{100 * point.top1_agreement:.1f} % of positions"
        + (f"; within two standard errors it may cost more than {NEAR_NATS}." if doubt else ".")
    )


def _best_of_four_bits(points: Sequence[PointResult], named: PointResult) -> str:
    """Say which 4-bit format loses least, where there is a choice and it isn't said already."""
    low, high = FOUR_BITS
    four = [p for p in points if low <= p.bits_per_weight < high]
    if len(four) < 2 or four[0] is named:
        return ""
    first, second = four[:2]
    error = (first.delta_nats_se or 0.0) + (second.delta_nats_se or 0.0)
    tie = second.delta_nats - first.delta_nats <= error
    end = f", {second.recipe} as little within the error" if tie else ""
    return f"Of the 4-bit formats, {first.recipe} loses least ({loss_text(first)}){end}."


def _bits(point: PointResult) -> str:
    return f"{point.bits_per_weight:.3g} bits"
