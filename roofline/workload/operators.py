"""Operators of a decoder-only transformer: operations and bytes of one step of the model.

A step computes new tokens of some sequences, each after tokens that the KV cache has: ``new`` is
the prompt in prefill, 1 in decode. All counts follow from first principles: a product
of (T, i) and (i, o) is ``2 T i o`` operations, causal attention ``4 h d`` for each pair of a token
and one that it sees. Sizes may be numbers or NumPy arrays, which broadcast.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from roofline.model.model_shape import Experts, ModelShape, latent_linears
from roofline.runtime.serving_format import Recipe

#: A number, or an array of them.
Amount = Any
Kind = Literal["linear", "attention", "vector"]
#: How tokens choose experts: each at random; as badly as they can, no two the same ones and all on
#: one machine; or all the same ones. Activations that are not zero lie likewise.
Routing = Literal["uniform", "worst", "same"]

#: Operations of one value that are no products; conventions, since exponentials count as some.
NORM_OPS = {"rms": 4.0, "layer": 7.0}
ROPE_OPS = 6.0
SOFTMAX_OPS = 5.0
GATED_ACTIVATION_OPS = 5.0
PLAIN_ACTIVATION_OPS = 8.0
SAMPLE_BYTES = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """``batch`` sequences, each with ``new`` tokens after ``context`` that the cache has."""

    batch: Amount
    new: Amount
    context: Amount = 0

    @property
    def tokens(self) -> Amount:
        """New tokens of all sequences."""
        return self.batch * self.new

    def pairs(self, window: int | None = None) -> Amount:
        """Return pairs of a new token and one that it sees, itself included.

        >>> Sequences(batch=2, new=3, context=10).pairs(), float(Sequences(batch=1, new=3).pairs(2))
        (72.0, 5.0)
        """
        if window is None:
            return 1.0 * self.batch * (self.new * self.context + self.new * (self.new + 1) / 2)
        growing = np.clip(window - np.asarray(self.context), 0, self.new)
        seen = growing * self.context + growing * (growing + 1) / 2
        return 1.0 * self.batch * (seen + (self.new - growing) * window)

    def read_tokens(self, window: int | None = None) -> Amount:
        """Return the tokens of all sequences whose keys and values are read at least once."""
        length = self.context + self.new
        if window is None:
            return 1.0 * self.batch * length
        return 1.0 * self.batch * np.minimum(length, window + np.asarray(self.new) - 1)


#: Prefill and decode of different sequences may share a step.
Step = Sequence[Sequences]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Variants of how operators are run; the defaults are what good kernels do."""

    #: One kernel for scores, softmax and values, which keeps scores on the chip.
    fused_attention: bool = True
    #: Products that the causal mask hides are skipped.
    causal: bool = True
    #: Keys and values that heads share are read once.
    shares_kv: bool = True
    #: Q, K, V are one product and so are gate and up; otherwise each reads its inputs.
    fused_products: bool = True
    #: The head computes all positions instead of the last.
    all_logits: bool = False
    routing: Routing = "uniform"
    #: Machines that share the experts; a step has the sequences of one of them.
    expert_machines: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What all layers' operators of one name do in one step; amounts are sums over ``count``."""

    name: str
    kind: Kind
    #: How often it runs.
    count: int
    #: Of matrix products: two for each multiply-add.
    ops: Amount = 0.0
    #: Of everything else.
    vector_ops: Amount = 0.0
    #: Weights read, with their side data.
    weight_bytes: Amount = 0.0
    #: Keys and values read.
    kv_bytes: Amount = 0.0
    #: Activations read and written, keys and values written.
    activation_bytes: Amount = 0.0
    #: Weights that a product uses, each once, for the work of expanding them.
    weights: Amount = 0.0
    #: Columns of what one product writes, those of all experts that it has together.
    outputs: Amount = np.inf
    #: New tokens of the step, of which experts get some each.
    step_tokens: Amount = 0.0
    #: New tokens of a sequence, which share the keys and values that attention reads.
    queries: Amount = np.inf
    #: Scores of all heads that a fused attention keeps on the chip.
    scores: Amount = 0.0

    @property
    def essential_bytes(self) -> Amount:
        """What no run can keep on the chip."""
        return self.weight_bytes + self.kv_bytes

    @property
    def traffic_bytes(self) -> Amount:
        """All bytes, activations between operators included."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes


def operators(
    shape: ModelShape,
    recipe: Recipe,
    step: Step,
    *,
    options: Options | None = None,
    on_chip_bytes: Amount | None = None,
) -> list[Operator]:
    """Return the operators of one step, in the order of the first layer.

    Parameters
    ----------
    on_chip_bytes
        Memory for the rows of a fused attention; a longer prompt reads keys and values again. All
        prompts fit if it is not known.

    Examples
    --------
    >>> from roofline.model.model_shape import load_model
    >>> from roofline.runtime.serving_format import parse_recipe
    >>> step = [Sequences(batch=1, new=1, context=2047)]
    >>> found = operators(load_model("llama-2-7b"), parse_recipe("fp16"), step)
    >>> sum(op.ops for op in found if op.kind == "linear") / 1e9
    13.214154752
    """
    builder = _Builder(shape, recipe, step, options or Options(), on_chip_bytes)
    return [*builder.embedding(), *builder.attention(), *builder.network(), *builder.head()]


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


class _Builder:
    def __init__(
        self,
        shape: ModelShape,
        recipe: Recipe,
        step: Step,
        options: Options,
        on_chip_bytes: Amount | None,
    ) -> None:
        self.shape, self.recipe, self.step, self.options = shape, recipe, step, options
        self.on_chip_bytes = on_chip_bytes
        self.tokens = sum(part.tokens for part in step)
        self.sequences = sum(part.batch for part in step)
        #: What products read; everything else is no narrower than halves.
        self.input_bytes = ACTIVATION_BYTES[recipe.activations]
        self.value_bytes = max(self.input_bytes, ACTIVATION_BYTES["fp16"])

    def embedding(self) -> Iterator[Operator]:
        row = self.recipe.tensor_bytes("embedding", self.shape.hidden, 1)
        written = self.tokens * self.shape.hidden * self.value_bytes
        yield Operator(
            name="embedding", kind="vector", count=1, activation_bytes=self.tokens * row + written
        )

    def attention(self) -> Iterator[Operator]:
        shape = self.shape
        yield self._norm("attention norm")
        if shape.latent is not None:
            names = latent_linears(shape)
            yield from (self._linear(n, [(n, i, o)], shape.layers) for n, i, o in names[:-1])
            yield from self._latent_attention()
        else:
            yield from self._queries_keys_values()
            yield self._rope()
            yield from self._scores_and_values()
            names = [("o", shape.heads * shape.head_dim, shape.hidden)]
        yield self._linear("o", names[-1:], shape.layers)
        yield self._residual("attention add")

    def network(self) -> Iterator[Operator]:
        shape, experts = self.shape, self.shape.experts
        yield self._norm("network norm")
        dense = shape.layers - shape.expert_layers
        if dense:
            yield from self._network("", shape.intermediate, dense)
        if experts:
            router = [("router", shape.hidden, experts.count)]
            yield self._linear("router", router, shape.expert_layers)
            if experts.shared_intermediate:
                yield from self._network(
                    "shared ", experts.shared_intermediate, shape.expert_layers
                )
            yield from self._network("expert ", experts.intermediate, shape.expert_layers)
        yield self._residual("network add")

    def head(self) -> Iterator[Operator]:
        shape = self.shape
        rows = self.tokens if self.options.all_logits else self.sequences
        yield Operator(
            name="final norm",
            kind="vector",
            count=1,
            vector_ops=NORM_OPS[shape.norm] * rows * shape.hidden,
            activation_bytes=2 * rows * shape.hidden * self.value_bytes,
        )
        yield Operator(
            name="lm_head",
            kind="linear",
            count=1,
            ops=2.0 * rows * shape.head_params,
            weight_bytes=self.recipe.tensor_bytes("head", shape.hidden, shape.vocabulary),
            activation_bytes=rows
            * (shape.hidden * self.input_bytes + shape.vocabulary * self.value_bytes),
            weights=shape.head_params,
            outputs=shape.vocabulary,
            step_tokens=rows,
        )
        yield Operator(
            name="sampling",
            kind="vector",
            count=1,
            activation_bytes=self.sequences * shape.vocabulary * SAMPLE_BYTES,
        )

    def _queries_keys_values(self) -> Iterator[Operator]:
        shape = self.shape
        kv = shape.kv_heads * shape.head_dim
        width = shape.heads * shape.head_dim
        parts = [("q", shape.hidden, width), ("k", shape.hidden, kv), ("v", shape.hidden, kv)]
        if self.options.fused_products:
            yield self._linear("qkv", parts, shape.layers)
        else:
            yield from (self._linear(part[0], [part], shape.layers) for part in parts)

    def _network(self, prefix: str, width: int, layers: int) -> Iterator[Operator]:
        shape = self.shape
        first = [("up", shape.hidden, width)]
        if shape.gated:
            first.insert(0, ("gate", shape.hidden, width))
        chosen = prefix == "expert "
        name = f"{prefix}{'gate and up' if shape.gated else 'up'}"
        if self.options.fused_products:
            yield self._linear(name, first, layers, chosen=chosen)
        else:
            for part in first:
                yield self._linear(prefix + part[0], [part], layers, chosen=chosen)
        tokens: Amount = self.tokens
        if chosen and (experts := self.shape.experts):
            _, tokens = expert_load(experts, tokens, self.options)
        values = tokens * width * layers
        yield Operator(
            name=f"{prefix}activation",
            kind="vector",
            count=layers,
            vector_ops=values * (GATED_ACTIVATION_OPS if shape.gated else PLAIN_ACTIVATION_OPS),
            activation_bytes=values * (len(first) * self.value_bytes + self.input_bytes),
        )
        down = [("down", width, shape.hidden)]
        yield self._linear(f"{prefix}down", down, layers, chosen=chosen)

    def _linear(
        self, name: str, parts: list[tuple[str, int, int]], layers: int, *, chosen: bool = False
    ) -> Operator:
        """Return products that share their inputs; ``chosen`` ones are of a mixture of experts."""
        inputs = parts[0][1]
        outputs = sum(part[2] for part in parts)
        tokens: Amount = self.tokens
        copies: Amount = 1.0
        if chosen and (experts := self.shape.experts):
            copies, tokens = expert_load(experts, self.tokens, self.options)
        stored = sum(self.recipe.tensor_bytes(*part) for part in parts)
        return Operator(
            name=name,
            kind="linear",
            count=layers,
            ops=2.0 * tokens * inputs * outputs * layers,
            weight_bytes=copies * stored * layers * self._read_share(tokens),
            activation_bytes=tokens
            * (inputs * self.input_bytes + outputs * self.value_bytes)
            * layers,
            weights=copies * inputs * outputs * layers,
            outputs=copies * outputs,
            step_tokens=self.tokens,
        )

    def _read_share(self, tokens: Amount) -> Amount:
        """Return the share of the weights that tokens with some activations zero read."""
        kept = self.recipe.kept_activations
        if kept == 1.0 or self.options.routing == "same":
            return kept
        return 1.0 - (1.0 - kept) ** np.asarray(tokens, float)

    def _scores_and_values(self) -> Iterator[Operator]:
        shape = self.shape
        pairs, read = self._seen(whole=shape.global_layers)
        head_ops = 2.0 * shape.heads * shape.head_dim
        kv = read * self.recipe.kv_bytes(shape)
        if not self.options.shares_kv:
            kv *= shape.heads / shape.kv_heads
        written = self.tokens * self.recipe.kv_bytes(shape) * shape.layers
        row_bytes = shape.heads * shape.head_dim * (self.value_bytes + self.input_bytes)
        rows = self.tokens * row_bytes * shape.layers
        softmax = SOFTMAX_OPS * shape.heads * pairs
        if self.options.fused_attention:
            yield Operator(
                name="attention",
                kind="attention",
                count=shape.layers,
                ops=2 * head_ops * pairs,
                vector_ops=softmax,
                kv_bytes=kv,
                activation_bytes=rows + written,
                queries=self.tokens / self.sequences,
                scores=shape.heads * pairs,
            )
            return
        scores = shape.heads * self._stored_pairs() * self.value_bytes
        for name, extra in (("scores", written), ("values", 0.0)):
            yield Operator(
                name=name,
                kind="attention",
                count=shape.layers,
                ops=head_ops * pairs,
                kv_bytes=kv / 2,
                activation_bytes=rows / 2 + scores + extra,
                queries=self.tokens / self.sequences,
            )
        yield Operator(
            name="softmax",
            kind="vector",
            count=shape.layers,
            vector_ops=softmax,
            activation_bytes=2 * scores,
        )

    def _seen(self, *, whole: int) -> tuple[Amount, Amount]:
        """Return pairs and tokens read, summed over layers of which ``whole`` see everything."""
        pairs: Amount = 0.0
        read: Amount = 0.0
        for layers, window in ((whole, None), (self.shape.layers - whole, self.shape.window)):
            if layers == 0:
                continue
            for part in self.step:
                pairs = pairs + layers * (
                    part.pairs(window) if self.options.causal else self._full(part)
                )
                read = read + layers * part.read_tokens(window) * self._passes(part)
        return pairs, read

    def _full(self, part: Sequences) -> Amount:
        return 1.0 * part.batch * part.new * (part.context + part.new)

    def _stored_pairs(self) -> Amount:
        """Scores that an attention in three kernels writes, hidden ones too, over all layers."""
        return self.shape.layers * sum(self._full(part) for part in self.step)

    def _passes(self, part: Sequences) -> Amount:
        """Return how often a fused attention reads keys and values: once for each block of rows."""
        if self.on_chip_bytes is None or not self.options.fused_attention:
            return 1.0
        row_bytes = 4 * self.shape.head_dim * self.value_bytes
        rows = np.maximum(1.0, np.floor(np.divide(self.on_chip_bytes, row_bytes)))
        return np.maximum(1.0, np.ceil(part.new / rows))

    def _latent_attention(self) -> Iterator[Operator]:
        """Yield attention on the latent vectors: each head reads them as they are in decode.

        DeepSeek-V2, arXiv:2405.04434, section 2.1.2; prompts expand keys and values first, which
        the product ``kv_b`` counts.
        """
        shape, latent = self.shape, self.shape.latent
        assert latent is not None
        wide = latent.nope_dim + latent.rope_dim + latent.value_dim
        absorbed = 2 * latent.kv_rank + latent.rope_dim
        ops: Amount = 0.0
        for part in self.step:
            width = np.where(np.asarray(part.new) == 1, absorbed, wide)
            ops = ops + 2.0 * shape.heads * width * part.pairs() * shape.layers
        pairs, read = self._seen(whole=shape.layers)
        stored = self.recipe.kv_bytes(shape)
        heads = shape.heads * (latent.value_dim + latent.nope_dim + latent.rope_dim)
        yield Operator(
            name="attention",
            kind="attention",
            count=shape.layers,
            ops=ops,
            vector_ops=SOFTMAX_OPS * shape.heads * pairs,
            kv_bytes=read * stored,
            activation_bytes=self.tokens * shape.layers * (heads * self.value_bytes + stored),
            queries=self.tokens / self.sequences,
        )

    def _norm(self, name: str) -> Operator:
        values = self.tokens * self.shape.hidden * self.shape.layers
        return Operator(
            name=name,
            kind="vector",
            count=self.shape.layers,
            vector_ops=NORM_OPS[self.shape.norm] * values,
            activation_bytes=values * (self.value_bytes + self.input_bytes),
        )

    def _rope(self) -> Operator:
        shape = self.shape
        values = self.tokens * (shape.heads + shape.kv_heads) * shape.head_dim * shape.layers
        return Operator(
            name="rope",
            kind="vector",
            count=shape.layers,
            vector_ops=0.0 if shape.position_vectors else ROPE_OPS * values,
            activation_bytes=2 * values * self.value_bytes,
        )

    def _residual(self, name: str) -> Operator:
        values = self.tokens * self.shape.hidden * self.shape.layers
        return Operator(
            name=name,
            kind="vector",
            count=self.shape.layers,
            vector_ops=1.0 * values,
            activation_bytes=3 * values * self.value_bytes,
        )


#: Bytes of a value between operators.
ACTIVATION_BYTES = {"fp32": 4.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5}
