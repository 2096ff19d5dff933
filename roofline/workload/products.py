"""Matrix products with weights: linear layers, feed-forward networks and mixtures of experts."""

from collections.abc import Iterator

import numpy as np

from roofline.model.model_shape import Experts
from roofline.workload.online import factors, hadamard
from roofline.workload.operator import EXPERT, Amount, Operator
from roofline.workload.step import Options, StepContext

#: Vector operations of a value in a gated and in a plain activation function; conventions, since an
#: exponential counts as several.
GATED_ACTIVATION_OPS = 5.0
PLAIN_ACTIVATION_OPS = 8.0
#: Name, inputs and outputs of one weight.
Part = tuple[str, int, int]


def expert_load(experts: Experts, tokens: Amount, options: Options) -> tuple[Amount, Amount]:
    """Return how many experts of one machine a layer reads, and the tokens that they get.

    Of ``E`` experts, ``k`` a token, on ``N`` machines with ``T`` tokens each, choices at random
    touch ``E (1 - (1 - k / E)^(N T)) / N`` experts of one machine, which get ``k T`` tokens. At
    worst one machine gets all ``k N T``, on ``min(E / N, k N T)`` experts. The same choice of all
    tokens reads ``k / N`` experts a machine.

    >>> from roofline.model.model_shape import load_model
    >>> experts = load_model("mixtral-8x7b").experts
    >>> float(expert_load(experts, 1, Options())[0]), float(expert_load(experts, 2, Options())[0])
    (2.0, 3.5)
    >>> [float(x) for x in expert_load(experts, 2, Options(routing="worst"))]
    [4.0, 4.0]
    """
    machines = options.expert_machines
    everywhere = np.asarray(tokens, float) * machines
    if options.routing == "worst":
        chosen = everywhere * experts.per_token
        return np.minimum(experts.count / machines, chosen), chosen
    if options.routing == "same":
        same = experts.per_token / machines
        return np.broadcast_to(same, np.shape(tokens)), tokens * experts.per_token
    share = experts.per_token / experts.count
    touched = experts.count * (1.0 - (1.0 - share) ** everywhere)
    return touched / machines, tokens * experts.per_token


def linear(
    context: StepContext, name: str, parts: list[Part], layers: int, *, chosen: bool = False
) -> Operator:
    """Return GEMMs that share their inputs; ``chosen`` ones belong to a mixture's experts."""
    inputs = parts[0][1]
    outputs = sum(part[2] for part in parts)
    copies, tokens = _load(context, chosen=chosen)
    stored = sum(context.format.tensor_bytes(*part, context.shape) for part in parts)
    return Operator(
        name=name,
        kind="linear",
        count=layers,
        ops=2.0 * tokens * inputs * outputs * layers,
        weight_bytes=copies * stored * layers * _read_share(context, tokens),
        activation_bytes=tokens
        * (inputs * context.input_bytes + outputs * context.value_bytes)
        * layers,
        weights=copies * inputs * outputs * layers,
        outputs=copies * outputs,
        step_tokens=context.tokens,
    )


def corrected(
    context: StepContext, name: str, parts: list[Part], layers: int, *, chosen: bool = False
) -> Iterator[Operator]:
    """Yield GEMMs that share their inputs, and the products with their low-rank factors."""
    yield linear(context, name, parts, layers, chosen=chosen)
    yield from factors(context, name, parts, layers)


def network(context: StepContext, prefix: str, width: int, layers: int) -> Iterator[Operator]:
    """Yield the operators of feed-forward networks of one width: gate and up, activation, down."""
    shape = context.shape
    first = [("up", shape.hidden, width)]
    if shape.gated:
        first.insert(0, ("gate", shape.hidden, width))
    chosen = prefix == EXPERT
    if context.options.fused_products:
        name = f"{prefix}{'gate and up' if shape.gated else 'up'}"
        yield from corrected(context, name, first, layers, chosen=chosen)
    else:
        for part in first:
            yield from corrected(context, prefix + part[0], [part], layers, chosen=chosen)
    _, tokens = _load(context, chosen=chosen)
    values = tokens * width * layers
    yield Operator(
        name=f"{prefix}activation",
        kind="vector",
        count=layers,
        vector_ops=values * (GATED_ACTIVATION_OPS if shape.gated else PLAIN_ACTIVATION_OPS),
        activation_bytes=values * (len(first) * context.value_bytes + context.input_bytes),
    )
    yield from hadamard(context, "down")
    down = [("down", width, shape.hidden)]
    yield from corrected(context, f"{prefix}down", down, layers, chosen=chosen)


def _load(context: StepContext, *, chosen: bool) -> tuple[Amount, Amount]:
    """Return how many experts a layer reads (1 without experts), and the tokens of all of them."""
    experts = context.shape.experts
    if not chosen or experts is None:
        return 1.0, context.tokens
    return expert_load(experts, context.tokens, context.options)


def _read_share(context: StepContext, tokens: Amount) -> Amount:
    """Return the share of the weights that is read where some activations are zero."""
    kept = context.format.kept_activations
    if kept == 1.0 or context.options.routing == "same":
        return kept
    return 1.0 - (1.0 - kept) ** np.asarray(tokens, float)
