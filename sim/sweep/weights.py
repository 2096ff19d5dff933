"""The tables of a model outside its blocks, bit-true parameters, and what a plan stores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp

from numerics import QuantizedTensor, Scheme
from numerics.pe.product import PeMatrix
from rtl.catalog import ROUNDING
from sim.errors import UserError
from sim.methods.chain import NEAREST
from sim.methods.measure import quantize_and_measure, sqnr_db
from sim.methods.run import QuantizedBlock
from sim.model.params import Params
from sim.model.tensors import EMBEDDING, HEAD, fused_members, linear_names, tensor_shapes
from sim.sources.source import ModelSource, StoredModel
from sim.sweep.recipe import EXACT, Plan

FLOAT_BITS = 32.0


Tables = tuple[Params, dict[str, float]]


def read_embedding(source: ModelSource, point: Plan) -> Tables:
    """Return the tables that make the first block's input, as the plan quantizes them.

    The second result has the SQNR in dB of those that are quantized.
    """
    return _read(source, point, EMBEDDING)


def read_head(source: ModelSource, point: Plan) -> Tables:
    """Return the final norm and the head; a tied head is the embedding. See read_embedding."""
    tied = {"embed": EMBEDDING["embed"]} if source.config.tie_embeddings else {}
    return _read(source, point, HEAD | tied)


def _read(source: ModelSource, point: Plan, names: Mapping[str, str]) -> Tables:
    shapes = tensor_shapes(source.config)
    params: Params = {}
    levels: dict[str, float] = {}
    for buffer, name in names.items():
        if name not in shapes:
            continue
        matrix, scheme = jnp.asarray(source.read(name)), point.weights.get(layer_of(name))
        if scheme is not None:
            matrix, signal, noise = quantize_and_measure(matrix, scheme=scheme)
            level = sqnr_db(float(signal), float(noise))
            levels |= {} if level is None else {layer_of(name): level}
        params[buffer] = matrix
    return params, levels


def bit_true_params(block: QuantizedBlock, point: Plan) -> Params:
    """Return a block's parameters with its quantized matrices replaced by codes and scales."""
    params = dict(block.params)
    pe = point.recipe.pe
    for buffer, members in fused_members(point.config).items():
        present = [block.codes[member] for member in members if member in block.codes]
        if present and len(present) < len(members):
            raise UserError(
                f"bit-true dot products need one kind of weights in {', '.join(members)}"
            )
        if present:
            weights = [codes for codes in present if isinstance(codes, QuantizedTensor)]
            if len(weights) < len(present):
                raise UserError(
                    "a low-rank repair is a second product, which bit-true dot products lack; "
                    "leave --bit-true and --pe out, or the repair"
                )
            params[buffer] = tuple(
                codes if pe == EXACT else PeMatrix(weight=codes, pe=ROUNDING[pe or ""])
                for codes in weights
            )
    return params


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What the weights of a point take.

    Linear layers count always, embeddings only if they are quantized.
    """

    bits_per_weight: float
    weight_bytes: int
    #: Bytes of all tensors.
    model_bytes: int


def plan_storage(plan: Plan) -> Storage:
    """Return the storage of a plan, with float32 for what is not quantized."""
    return Storage(
        bits_per_weight=bits_per_weight(plan),
        weight_bytes=weight_bytes(plan),
        model_bytes=model_bytes(plan),
    )


def checkpoint_storage(source: StoredModel) -> Storage:
    """Return the storage of a checkpoint as it is in its files."""
    shapes = tensor_shapes(source.config)
    counted = [f"{name}.weight" for name in linear_names(source.config)]
    tables = (EMBEDDING["embed"], HEAD["head"])
    counted += [name for name in tables if name in shapes and source.is_quantized(name)]
    bits = sum(source.stored_bits(name) for name in counted)
    return Storage(
        bits_per_weight=bits / sum(math.prod(shapes[name]) for name in counted),
        weight_bytes=math.ceil(bits / 8),
        model_bytes=math.ceil(sum(map(source.stored_bits, shapes)) / 8),
    )


def bits_per_weight(plan: Plan) -> float:
    """Return the mean bits per weight of the linear layers, including side data and repairs.

    Unquantized layers count 32 bits; embeddings count only if the plan quantizes them.
    """
    bits, weights = _storage(plan)
    return bits / weights


def weight_bytes(plan: Plan) -> int:
    """Return the bytes of the matrices that :func:`bits_per_weight` counts."""
    bits, _ = _storage(plan)
    return math.ceil(bits / 8)


def _storage(plan: Plan) -> tuple[float, int]:
    """Return total bits and number of the weights that :func:`bits_per_weight` counts."""
    shapes = tensor_shapes(plan.config)
    counted = dict.fromkeys((*linear_names(plan.config), *plan.weights))
    bits, weights = 0.0, 0
    for name in counted:
        bits += _matrix_bits(plan, name, shapes[f"{name}.weight"])
        weights += math.prod(shapes[f"{name}.weight"])
    return bits, weights


def model_bytes(plan: Plan) -> int:
    """Return the bytes of all tensors under ``plan``; unquantized tensors are float32."""
    shapes = tensor_shapes(plan.config)
    return math.ceil(sum(_matrix_bits(plan, layer_of(n), s) for n, s in shapes.items()) / 8)


def _matrix_bits(plan: Plan, layer: str, shape: tuple[int, ...]) -> float:
    """Return the bits of a tensor, with those of repairs."""
    scheme: Scheme | None = plan.weights.get(layer)
    if scheme is None:
        return FLOAT_BITS * math.prod(shape)
    repairs = plan.methods.get(layer, NEAREST).extra_bits(shape)
    return math.prod(shape) * scheme.bits_per_weight(shape, kind="full") + repairs


def layer_of(tensor_name: str) -> str:
    """Return the layer's name of a matrix; a bias, which is not quantized, keeps its own name."""
    return tensor_name.removesuffix(".weight")
