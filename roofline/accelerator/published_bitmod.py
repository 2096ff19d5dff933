"""The cycle and energy model behind BitMoD's published figures, its simplifications included.

Source: the simulator of BitMoD (HPCA 2025, arXiv:2411.11745) as published in November 2024, which
made figures 7 and 8; written afresh. It reproduces the figures' data to the last cycle and is not
a model of a machine:

- no pipeline fill, no drain and no dequantization is charged, and layers never overlap;
- attention is two matrix products over all heads at once: its scores use a "weight" of
  (tokens, hidden) for ``heads * tokens`` rows of result, and its input is charged for each of them;
- keys and values move as 16 bits, yet run at the speed of the weights' bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal, TypeVar

from roofline.accelerator.systolic import ceil_div

_Entry = TypeVar("_Entry")

#: Tasks: a prompt of 256 tokens, or one token after it; figures 7 and 8 sum a prompt and 20 tokens.
Task = Literal["prefill", "token"]
CONTEXT = 256
GENERATED_TOKENS = 20

BUFFER_BYTES = 512 * 1024
#: Memory bandwidth in bits a cycle of the array: DDR on a bus of 128 bits at its clock.
DRAM_BITS_PER_CYCLE = 256
DRAM_ENERGY_PJ_PER_BIT = 18.75
#: Factor on the energy of PEs for placement and routing.
ROUTED_ENERGY = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """Shape of a model of the figures."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    #: Whether the network has gate, up and down projections; else two linear layers.
    gated: bool

    @property
    def kv_width(self) -> int:
        """Width of one token's keys."""
        return self.hidden * self.kv_heads // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDesign:
    """An array of the figures; weight bits include scales."""

    #: PEs along output channels and along tokens, for each task.
    prefill_array: tuple[int, int]
    token_array: tuple[int, int]
    prefill_bits: float
    #: Weight bits of single tokens: one for all models, or one for each in the order of
    #: :data:`MODELS`.
    token_bits: tuple[float, ...]
    pe_energy_pj_per_cycle: float
    #: Values of a dot product that a PE takes at once, at two weight bits a cycle.
    serial_lanes: int | None = None

    def array(self, task: Task) -> tuple[int, int]:
        """Return the array's shape in a task."""
        return self.prefill_array if task == "prefill" else self.token_array

    def weight_bits(self, model: str, task: Task) -> float:
        """Return the bits that a weight takes in memory."""
        if task == "prefill" or len(self.token_bits) == 1:
            return self.prefill_bits if task == "prefill" else self.token_bits[0]
        return self.token_bits[list(MODELS).index(model)]


def _model(*sizes: int, gated: bool) -> PublishedModel:
    hidden, intermediate, layers, heads, kv_heads, vocabulary = sizes
    return PublishedModel(
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=vocabulary,
        gated=gated,
    )


MODELS = {
    "opt-1.3b": _model(2048, 8192, 24, 32, 32, 50272, gated=False),
    "phi-2": _model(2560, 10240, 32, 32, 32, 51200, gated=False),
    "yi-6b": _model(4096, 11008, 32, 32, 4, 64000, gated=True),
    "llama-2-7b": _model(4096, 11008, 32, 32, 32, 32000, gated=True),
    "llama-2-13b": _model(5120, 13824, 40, 40, 40, 32000, gated=True),
    "llama-3-8b": _model(4096, 14336, 32, 32, 8, 128256, gated=True),
}

#: ``bitmod-ll`` is the lossless one of six bits, ``bitmod-ly`` the lossy one of four and three.
DESIGNS = {
    "fp16": PublishedDesign(
        prefill_array=(32, 24),
        token_array=(64, 12),
        prefill_bits=16,
        token_bits=(16,),
        pe_energy_pj_per_cycle=0.77,
    ),
    "bitmod-ll": PublishedDesign(
        prefill_array=(32, 32),
        token_array=(64, 16),
        prefill_bits=6.0625,
        token_bits=(6.0625,),
        pe_energy_pj_per_cycle=0.56,
        serial_lanes=4,
    ),
    "bitmod-ly": PublishedDesign(
        prefill_array=(32, 32),
        token_array=(64, 16),
        prefill_bits=4.0625,
        token_bits=(3.0625,),
        pe_energy_pj_per_cycle=0.56,
        serial_lanes=4,
    ),
    "ant": PublishedDesign(
        prefill_array=(32, 32),
        token_array=(64, 16),
        prefill_bits=5.5,
        token_bits=(5, 5, 5.25, 5, 5, 4.5),
        pe_energy_pj_per_cycle=0.56,
    ),
    "olive": PublishedDesign(
        prefill_array=(36, 32),
        token_array=(72, 16),
        prefill_bits=4.5,
        token_bits=(3.875, 4, 4.25, 3.75, 3.75, 3.5),
        pe_energy_pj_per_cycle=0.613,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCost:
    """Cycles and energy of a task."""

    cycles: int
    #: Cycles of the array alone, and of memory alone.
    compute_cycles: int
    dram_bytes: int
    pe_energy_pj: float
    dram_energy_pj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """One matrix product: a weight of (outputs, inputs), rows of results and of inputs."""

    outputs: int
    inputs: int
    rows: int
    #: Input values that are read for each row of results.
    input_row: int
    is_attention: bool = False


def published_cost(design: str, model: str, task: Task) -> PublishedCost:
    """Return the figures' data of one prompt or one token.

    Examples
    --------
    >>> published_cost("fp16", "llama-2-7b", "prefill").cycles
    3156574208
    >>> published_cost("bitmod-ly", "llama-2-7b", "token").cycles
    79493200
    """
    array, shape = _lookup(DESIGNS, design, "design"), _lookup(MODELS, model, "model")
    bits = array.weight_bits(model, task)
    tokens = CONTEXT if task == "prefill" else 1
    cycles = compute_cycles = dram_bytes = 0
    for product in _products(shape, tokens):
        busy = _compute_cycles(product, array, bits=bits, task=task)
        moved = _dram_bytes(product, bits=bits)
        cycles += max(busy, moved * 8 // DRAM_BITS_PER_CYCLE)
        compute_cycles += busy
        dram_bytes += moved
    along_outputs, along_rows = array.array(task)
    pe_energy_pj = array.pe_energy_pj_per_cycle * along_outputs * along_rows * compute_cycles
    return PublishedCost(
        cycles=cycles,
        compute_cycles=compute_cycles,
        dram_bytes=dram_bytes,
        pe_energy_pj=ROUTED_ENERGY * pe_energy_pj,
        dram_energy_pj=DRAM_ENERGY_PJ_PER_BIT * 8 * dram_bytes,
    )


def published_speedup(design: str, model: str, *, generated: int = 0) -> float:
    """Return the speedup over ``fp16`` of a prompt and ``generated`` tokens after it.

    >>> round(published_speedup("bitmod-ll", "opt-1.3b"), 3)
    1.99
    """

    def cycles(of: str) -> int:
        prompt = published_cost(of, model, "prefill").cycles
        return prompt + generated * published_cost(of, model, "token").cycles

    return cycles("fp16") / cycles(design)


def _products(model: PublishedModel, tokens: int) -> Iterator[_Product]:
    hidden, wide = model.hidden, model.intermediate
    linear = [
        (hidden, hidden),
        (model.kv_width, hidden),
        (model.kv_width, hidden),
        (hidden, hidden),
    ]
    linear += [(wide, hidden)] * (2 if model.gated else 1) + [(hidden, wide)]
    for _ in range(model.layers):
        for outputs, inputs in linear:
            yield _Product(outputs=outputs, inputs=inputs, rows=tokens, input_row=inputs)
        score_rows = model.heads * tokens
        for outputs, inputs, rows in (
            (tokens, hidden, score_rows),
            (score_rows, CONTEXT, tokens),
        ):
            yield _Product(
                outputs=outputs,
                inputs=inputs,
                rows=rows,
                input_row=model.kv_width,
                is_attention=True,
            )
    yield _Product(outputs=model.vocabulary, inputs=hidden, rows=tokens, input_row=hidden)


def _compute_cycles(product: _Product, design: PublishedDesign, *, bits: float, task: Task) -> int:
    along_outputs, along_rows = design.array(task)
    lanes = design.serial_lanes or 1
    tiles = (
        ceil_div(product.inputs, lanes)
        * ceil_div(product.outputs, along_outputs)
        * ceil_div(product.rows, along_rows)
    )
    return tiles * (ceil(floor(bits) / 2) if design.serial_lanes else 1)


def _dram_bytes(product: _Product, *, bits: float) -> int:
    weight_bits = 16 if product.is_attention else bits
    weight = ceil(product.inputs * weight_bits / 8) * product.outputs
    inputs = 2 * product.input_row * product.rows
    results = 2 * product.outputs * product.rows
    return min(_refetched(weight, inputs)) + results


def _refetched(weight: int, inputs: int) -> list[int]:
    """Return the bytes read if one operand is read once for each buffer of the other."""
    if weight <= BUFFER_BYTES or inputs <= BUFFER_BYTES:
        return [weight + inputs]
    return [
        weight + inputs * ceil_div(weight, BUFFER_BYTES),
        weight * ceil_div(inputs, BUFFER_BYTES) + inputs,
    ]


def _lookup(table: dict[str, _Entry], name: str, kind: str) -> _Entry:
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r} of BitMoD's figures; known: {', '.join(table)}")
    return table[name]
