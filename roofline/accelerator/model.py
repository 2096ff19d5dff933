"""Cycles and energy of a model on an accelerator: linear layers, and attention head by head.

In attention the queries of heads that share keys and values are the tokens of one product whose
weights are the keys (or values); masked tiles are computed too. Norms, softmax and activation
functions are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hw.accelerator import Accelerator
from roofline.accelerator.gemm import Gemm, Phase
from roofline.accelerator.product_cost import product_cost
from roofline.model.model_shape import ModelShape
from roofline.runtime import gguf_mixes
from roofline.runtime.serving_format import ServingFormat
from roofline.runtime.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightBits:
    """Bits of one weight, equal in all linear layers of a model."""

    code_bits: float
    #: Bits of scale and selector of a group; 0 if there are no groups.
    group_bits: int = 0
    group: int | None = None

    @property
    def side_bits(self) -> float:
        """Bits of one weight's share of its group's scale and selector.

        >>> WeightBits(code_bits=3, group_bits=10, group=128).side_bits
        0.078125
        """
        return self.group_bits / self.group if self.group else 0.0


def head_bits(fmt: ServingFormat, width: int) -> WeightBits:
    """Return the bits of a format's head; a GGUF mix has a type of its own for it.

    >>> from roofline.runtime.serving_format import parse_format
    >>> [head_bits(parse_format(name), 4096).code_bits for name in ("w4a16", "gguf-q4_k_m")]
    [16.0, 6.5625]
    """
    if fmt.mix is None:
        return _storage_bits(fmt.head, width)
    return WeightBits(code_bits=fmt.size_factor * gguf_mixes.head_bits(fmt.mix, width))


def weight_bits(fmt: ServingFormat, width: int) -> WeightBits:
    """Return the bits of a format's weights in rows of ``width``.

    >>> from roofline.runtime.serving_format import parse_format
    >>> bits = weight_bits(parse_format("bitmod-fp3"), 4096)
    >>> bits.code_bits, bits.side_bits
    (3.0, 0.140625)
    """
    return _storage_bits(fmt.weights, width)


def _storage_bits(storage: Storage, width: int) -> WeightBits:
    scheme = storage.scheme
    if scheme is None:
        return WeightBits(code_bits=storage.bits_per_weight(width, width))
    code_bits = scheme.bits_per_weight((width, width), kind="index")
    group = scheme.group_size or width
    side_bits = scheme.bits_per_weight((width, width), kind="full") - code_bits
    return WeightBits(code_bits=code_bits, group_bits=round(side_bits * group), group=group)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """Cycles, traffic and energy of all GEMMs of a phase."""

    cycles: int
    compute_cycles: int
    traffic_bytes: int
    pe_energy_pj: float
    dram_energy_pj: float


def model_gemms(
    model: ModelShape,
    weights: WeightBits,
    machine: Accelerator,
    *,
    tokens: int,
    context: int,
    batch: int = 1,
    kv_bits: float | None = None,
    head: WeightBits | None = None,
) -> Iterator[Gemm]:
    """Yield the GEMMs of ``tokens`` new tokens, the last of which sees ``context`` tokens.

    ``batch`` sequences share the linear layers; each has its own attention. ``kv_bits`` are the
    bits of a number in the KV cache with its share of a scale, by default the machine's own;
    ``head`` are the bits of lm_head if they differ. What the element of an accelerator cannot read
    runs on a processor beside the array: a head of other bits, and attention where weights stream.

    Raises
    ------
    ValueError
        The model has latent attention or experts, which are left out.
    """
    if model.latent is not None or model.experts is not None:
        raise ValueError(f"{model.name}: an accelerator runs no experts and no latent attention")
    hidden, wide, layers = model.hidden, model.intermediate, model.layers
    width, kv_width = model.heads * model.head_dim, model.kv_heads * model.head_dim
    sizes = [("q", hidden, width, 1), ("k and v", hidden, kv_width, 2)]
    sizes += [("o", width, hidden, 1), ("up", hidden, wide, 2 if model.gated else 1)]
    sizes += [("down", wide, hidden, 1)]
    counted = [(name, k, n, each * layers) for name, k, n, each in sizes]
    for name, inputs, outputs, count in [*counted, ("head", hidden, model.vocabulary, 1)]:
        bits = head if head and name == "head" else weights
        yield Gemm(
            name=name,
            # The head is computed for the last token of each sequence of a prompt.
            tokens=batch if head and name == "head" else tokens * batch,
            inputs=inputs,
            outputs=outputs,
            weight_bits=bits.code_bits,
            side_bits=bits.side_bits,
            group=bits.group,
            count=count,
            on_host=name == "head" and not _is_read(machine, weights, bits),
        )
    kept = machine.kv_bits if kv_bits is None else kv_bits
    queries = tokens * model.heads // model.kv_heads
    wide = model.head_dim
    for count, seen in _layers_by_context(model, tokens=tokens, context=context):
        for name, inputs, outputs in (("scores", wide, seen), ("values", seen, wide)):
            yield Gemm(
                name=name,
                tokens=queries,
                inputs=inputs,
                outputs=outputs,
                weight_bits=int(kept),
                side_bits=kept - int(kept),
                count=count * model.kv_heads * batch,
                on_host=machine.dataflow == "stream",
            )


def _is_read(machine: Accelerator, weights: WeightBits, other: WeightBits) -> bool:
    """Return whether the PEs that read ``weights`` read the codes of another tensor, by its bits.

    An accelerator that names no element takes weights of any bits, in more cycles.
    """
    return not machine.element or other.code_bits == weights.code_bits


def _layers_by_context(
    model: ModelShape, *, tokens: int, context: int
) -> Iterator[tuple[int, int]]:
    """Yield a number of layers and the tokens that they attend to: full attention, then windows.

    >>> from roofline.model.model_shape import load_model
    >>> list(_layers_by_context(load_model("gemma-3-1b"), tokens=1, context=4096))
    [(4, 4096), (22, 512)]
    """
    local = model.layers - model.global_layers
    window = min(context, (model.window or context) + tokens - 1)
    for count, seen in ((model.global_layers, context), (local, window)):
        if count:
            yield count, seen


def model_cost(
    model: ModelShape,
    weights: WeightBits,
    machine: Accelerator,
    phase: Phase,
    *,
    context: int = 256,
) -> ModelCost:
    """Return the cost of a prompt of ``context`` tokens, or of one generated token after them.

    Examples
    --------
    A token reads each weight once, so that memory takes most of the time:

    >>> from hw.accelerator import load_accelerator
    >>> from roofline.model.model_shape import load_model
    >>> bits = WeightBits(code_bits=3, group_bits=10, group=128)
    >>> cost = model_cost(load_model("llama-2-7b"), bits, load_accelerator("bitmod"), "decode")
    >>> round(cost.compute_cycles / cost.cycles, 2)
    0.65
    """
    tokens = context if phase == "prefill" else 1
    gemms = model_gemms(model, weights, machine, tokens=tokens, context=context)
    costs = [product_cost(gemm, machine, phase) for gemm in gemms]
    return ModelCost(
        cycles=sum(cost.cycles for cost in costs),
        compute_cycles=sum(cost.compute_cycles for cost in costs),
        traffic_bytes=sum(cost.traffic_bytes for cost in costs),
        pe_energy_pj=sum(cost.pe_energy_pj for cost in costs),
        dram_energy_pj=sum(cost.dram_energy_pj for cost in costs),
    )
