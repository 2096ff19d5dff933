"""Quantize a model's weights into the buffers that the forward pass reads."""

import itertools
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from numerics import QuantizedTensor, Scheme, fake_quantize, quantize
from numerics.pe.product import PeMatrix
from rtl.catalog import ROUNDING
from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.methods.run import quantize_model
from sim.methods.steps import Rtn
from sim.model.config import ModelConfig
from sim.model.params import ModelBuffers, Params
from sim.model.tensors import fused_members, linear_names, tensor_shapes
from sim.sources.source import ModelSource
from sim.sweep.recipe import EXACT, Plan

FLOAT_BITS = 32.0


@partial(jax.jit, static_argnames="scheme")
def quantize_and_measure(
    matrix: Float32[Array, "out in"], *, scheme: Scheme
) -> tuple[Float32[Array, "out in"], Float32[Array, ""], Float32[Array, ""]]:
    """Return the fake-quantized matrix, its signal power and its error power (sums of squares)."""
    return measure(matrix, fake_quantize(matrix, scheme))


def measure(
    matrix: Float32[Array | np.ndarray, "out in"], rounded: Float32[Array, "out in"]
) -> tuple[Float32[Array, "out in"], Float32[Array, ""], Float32[Array, ""]]:
    """Return the rounded matrix, its signal power and its error power (sums of squares)."""
    error = rounded - matrix
    return rounded, jnp.sum(jnp.square(matrix)), jnp.sum(error * error)


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to quantization-noise ratio in decibels."""
    return 10.0 * math.log10(signal / noise)


@dataclass(slots=True)
class WeightLoader:
    """Fills one set of buffers with one quantized copy of a model after another.

    The float weights stay on disk; a matrix is read again when its scheme changes, the next one
    while the last is being quantized. A matrix whose scheme stays is not touched.
    """

    source: ModelSource
    buffers: ModelBuffers
    #: Text that calibrated methods read; plans without them need none.
    calibration: Calibration | None = None
    #: Codes that calibrated methods chose for the plan loaded last, by layer.
    _chosen: dict[str, QuantizedTensor] = field(default_factory=dict)
    _schemes: dict[str, Scheme | None] = field(default_factory=dict)
    _sqnr_db: dict[str, float] = field(default_factory=dict)

    def load(self, plan: Plan) -> dict[str, float]:
        """Write the weights of ``plan``; return the SQNR of each quantized matrix in dB."""
        wanted = {
            name: plan.weights.get(_layer(name)) for name in tensor_shapes(self.source.config)
        }
        self._chosen = calibrated_codes(self.source, plan, self.calibration)
        changed = [
            n
            for n, s in wanted.items()
            if n not in self._schemes or self._schemes[n] != s or _layer(n) in self._chosen
        ]
        with ThreadPoolExecutor(max_workers=1) as pool:
            reading = pool.submit(self.source.read, changed[0]) if changed else None
            for name, following in itertools.zip_longest(changed, changed[1:]):
                assert reading is not None
                matrix = reading.result()
                reading = pool.submit(self.source.read, following) if following else None
                self._write(name, matrix, wanted[name])
        return {n: self._sqnr_db[n] for n in plan.weights if n in self._sqnr_db}

    def params(self, point: Plan) -> Params:
        """Return the parameters of the plan loaded last."""
        params = self.buffers.params()
        if point.recipe.pe is None:
            return params
        return bit_true_params(self.source, params, point, self._chosen)

    def _write(self, name: str, matrix: np.ndarray, scheme: Scheme | None) -> None:
        self._schemes.pop(name, None)
        self._sqnr_db.pop(_layer(name), None)
        chosen = self._chosen.get(_layer(name))
        if scheme is None:
            self.buffers.write(name, matrix)
        else:
            if chosen is None:
                rounded, signal, noise = quantize_and_measure(matrix, scheme=scheme)
            else:
                rounded, signal, noise = measure(matrix, chosen.dequantize())
            self.buffers.write(name, np.asarray(rounded))
            if float(noise) > 0:
                self._sqnr_db[_layer(name)] = sqnr_db(float(signal), float(noise))
        if chosen is None:
            # Calibrated codes depend on the whole plan, so that no other plan may keep them.
            self._schemes[name] = scheme


def calibrated_codes(
    source: ModelSource, plan: Plan, calibration: Calibration | None
) -> dict[str, QuantizedTensor]:
    """Return the codes of all layers that have a calibrated method, by layer name."""
    if not plan.methods:
        return {}
    if calibration is None:
        raise ValueError(f"recipe {plan.recipe.name} needs a calibration text")
    solvers = {name: plan.methods.get(name, Rtn()) for name in plan.weights}
    solved = quantize_model(source, calibration.tokens, plan.weights, solvers, plan.numerics)
    return {name: codes for name, codes in solved if name in plan.methods}


def bit_true_params(
    source: ModelSource,
    params: Params,
    point: Plan,
    chosen: Mapping[str, QuantizedTensor] | None = None,
) -> Params:
    """Return ``params`` with codes and scales in place of the matrices that ``point`` quantizes.

    Layers in ``chosen`` have those codes, others the nearest.
    """
    layers = dict(params["layers"])
    for buffer, members in fused_members(source.config).items():
        stacks = [_stack(source, point, member, chosen or {}) for member in members]
        present = [stack for stack in stacks if stack is not None]
        if present and len(present) < len(stacks):
            raise UserError(f"bit-true products need one kind of weights in {', '.join(members)}")
        if present:
            layers[buffer] = tuple(present)
    return params | {"layers": layers}


def _stack(
    source: ModelSource, point: Plan, member: str, chosen: Mapping[str, QuantizedTensor]
) -> QuantizedTensor | PeMatrix | None:
    """Quantize one linear layer of every block; leaves have a leading layer axis."""
    names = [f"layers.{i}.{member}" for i in range(source.config.layers)]
    schemes = {point.weights.get(name) for name in names}
    if len(schemes) > 1:
        raise UserError(f"bit-true products need one weight format for every layer's {member}")
    scheme = next(iter(schemes))
    if scheme is None:
        return None
    tensors = [
        chosen[name]
        if name in chosen
        else quantize(jnp.asarray(source.read(f"{name}.weight")), scheme)
        for name in names
    ]
    stacked: QuantizedTensor = jax.tree.map(lambda *leaves: jnp.stack(leaves), *tensors)
    pe = point.recipe.pe
    return stacked if pe in (None, EXACT) else PeMatrix(weight=stacked, pe=ROUNDING[pe])


def bits_per_weight(plan: Plan, config: ModelConfig) -> float:
    """Mean storage of a weight, side data included, over the linear layers.

    Layers kept as they are count 32 bits; embeddings count only where the plan quantizes them.
    """
    bits, weights = _storage(plan, config)
    return bits / weights


def weight_bytes(plan: Plan, config: ModelConfig) -> int:
    """Bytes of the matrices that :func:`bits_per_weight` counts."""
    bits, _ = _storage(plan, config)
    return math.ceil(bits / 8)


def _storage(plan: Plan, config: ModelConfig) -> tuple[float, int]:
    """Return the bits and the number of the weights of the linear layers and the plan."""
    shapes = tensor_shapes(config)
    counted = dict.fromkeys((*linear_names(config), *plan.weights))
    bits, weights = 0.0, 0
    for name in counted:
        size = math.prod(shapes[f"{name}.weight"])
        bits += size * _matrix_bits(plan.weights.get(name), shapes[f"{name}.weight"])
        weights += size
    return bits, weights


def model_bytes(plan: Plan, config: ModelConfig) -> int:
    """Bytes of all tensors of the model under ``plan``; what is not quantized is float32."""
    bits = sum(
        math.prod(shape) * _matrix_bits(plan.weights.get(_layer(name)), shape)
        for name, shape in tensor_shapes(config).items()
    )
    return math.ceil(bits / 8)


def _matrix_bits(scheme: Scheme | None, shape: tuple[int, ...]) -> float:
    return FLOAT_BITS if scheme is None else scheme.bits_per_weight(shape, kind="full")


def _layer(tensor_name: str) -> str:
    """Name of the layer whose matrix this is; a bias keeps its own name and is not quantized."""
    return tensor_name.removesuffix(".weight")
