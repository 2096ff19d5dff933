"""A whole linear layer of a real model through compiled PEs, compared bit for bit.

Weights and activations are quantized to the PE's formats: weights in groups as long as the PE's,
activations with one scale a token. Every group's sum comes out of the emitted Verilog; scaled and
added in float32 as :mod:`numerics.dot` defines, the outputs have to equal ``grouped_dot``'s.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, grouped_dot, parse_scheme, quantize
from rtl.compiled import CompiledPe
from rtl.dot_product_pe import DotProductPe
from rtl.element import ProcessingElement
from rtl.toolchain import ToolError
from sim.errors import UserError
from sim.hardware.operands import LayerCodes, write_codes
from sim.model.capture import layer_inputs
from sim.model.params import ModelBuffers
from sim.model.tensors import tensor_shapes
from sim.sources.catalog import open_model
from sim.sources.embedded import held_out_text
from sim.sources.source import ModelSource
from sim.sweep.windows import take_windows

#: Sums that go through the compiled PE at a time.
CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRun:
    """What came out."""

    model: str
    layer: str
    pe: str
    tokens: int
    #: Inputs and outputs of the layer.
    inputs: int
    outputs: int
    sums: int
    macs: int
    cycles: int
    wrong_sums: int
    wrong_outputs: int
    time_s: float

    @property
    def is_equal(self) -> bool:
        """Whether every sum and every output has the bits of the golden model."""
        return self.wrong_sums == 0 and self.wrong_outputs == 0


def run_layer(
    model: str,
    layer: str,
    pe: ProcessingElement,
    *,
    tokens: int,
    lanes: int,
    codes: Path | None = None,
) -> LayerRun:
    """Stream a layer's activations and weights through a PE of some lanes.

    The codes that it ran are written to a file if one is named.

    Raises
    ------
    UserError
        The model or the layer is unknown, or the PE's formats are no formats of schemes.
    """
    if not isinstance(pe, DotProductPe):
        raise UserError(f"{pe.name} can't run a layer: it makes no dot products of two formats")
    source = open_model(model)
    weight, x = _operands(source, layer, tokens)
    pe = replace(pe, lanes=lanes)
    w, a = _quantized(pe, weight, x)
    if codes is not None:
        about = f"{layer} of {source.name}, {len(x)} tokens"
        pair = {"weights": np.asarray(w.codes), "activations": np.asarray(a.codes)}
        write_codes(LayerCodes(source=about, **pair), codes)
    started = time.perf_counter()
    try:
        sums, cycles, wrong = _sums(pe, w, a)
    except ToolError as error:
        raise UserError(str(error)) from None
    found = _outputs(pe, sums, w, a)
    expected = np.asarray(grouped_dot(a, w))
    outputs, inputs = weight.shape
    return LayerRun(
        model=source.name,
        layer=layer,
        pe=pe.name,
        tokens=len(x),
        inputs=inputs,
        outputs=outputs,
        sums=sums.size,
        macs=len(x) * inputs * outputs,
        cycles=cycles,
        wrong_sums=wrong,
        wrong_outputs=int((found.view(np.uint32) != expected.view(np.uint32)).sum()),
        time_s=time.perf_counter() - started,
    )


def _operands(source: ModelSource, layer: str, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's weight and what it reads of the first tokens of the held-out text."""
    windows = take_windows(
        held_out_text(), source.tokenizer(), tokens=tokens, context=tokens, spread=False
    )
    buffers = ModelBuffers(source.config)
    for name in tensor_shapes(source.config):
        buffers.write(name, source.read(name))
    try:
        x = layer_inputs(buffers.params(), jnp.asarray(windows.tokens[0]), source.config, layer)
    except ValueError as error:
        raise UserError(str(error)) from None
    return np.asarray(source.read(f"{layer}.weight")), np.asarray(x)


def _quantized(
    pe: DotProductPe, weight: np.ndarray, x: np.ndarray
) -> tuple[QuantizedTensor, QuantizedTensor]:
    group = pe.length - pe.length % pe.lanes
    try:
        weights = parse_scheme(f"{pe.weights.name}:g{group}")
        activations = parse_scheme(f"{pe.activations.name}:token:fp32")
    except ValueError as error:
        raise UserError(f"{pe.name} can't run a layer: {error}") from None
    return quantize(jnp.asarray(weight), weights), quantize(jnp.asarray(x), activations)


def _sums(pe: DotProductPe, w: QuantizedTensor, a: QuantizedTensor) -> tuple[np.ndarray, int, int]:
    """Return the sums of every group, token and output, the cycles, and how many are wrong."""
    (outputs, inputs), count = w.shape, len(a.codes)
    group = pe.length - pe.length % pe.lanes
    starts = range(0, inputs, group)
    weights, activations = np.asarray(w.codes), np.asarray(a.codes)
    sums = np.empty((len(starts), count, outputs), np.int64)
    cycles = wrong = 0
    with CompiledPe(pe) as model:
        for i, start in enumerate(starts):
            rows = _padded(weights[:, start : start + group], pe)
            columns = _padded(activations[:, start : start + group], pe)
            pairs = np.indices((count, outputs)).reshape(2, -1)
            for at in range(0, pairs.shape[1], CHUNK):
                token, output = pairs[:, at : at + CHUNK]
                operands = pe.beats(rows[output], columns[token])
                found, spent = model.run(operands)
                sums[i, token, output] = found
                cycles += spent
                wrong += int((found != pe.golden(operands)).sum())
    return sums, cycles, wrong


def _padded(codes: np.ndarray, pe: DotProductPe) -> np.ndarray:
    """Return codes as whole beats; code 0 of an activation is the number 0."""
    missing = -codes.shape[1] % pe.lanes
    return np.pad(codes, ((0, 0), (0, missing)))


def _outputs(
    pe: DotProductPe, sums: np.ndarray, w: QuantizedTensor, a: QuantizedTensor
) -> np.ndarray:
    """Scale and add sums in float32, in the order that :mod:`numerics.dot` says."""
    assert pe.weights.unit is not None and pe.activations.unit is not None
    units = np.float32(pe.weights.unit * pe.activations.unit)
    scales = np.asarray(w.scales).astype(np.float32).reshape(w.shape[0], -1)
    total = np.zeros(sums.shape[1:], np.float32)
    for segment, scale in zip(sums, scales.T, strict=True):
        total = total + segment.astype(np.float32) * units * scale[None, :]
    result: np.ndarray = total * np.asarray(a.scales).astype(np.float32).reshape(-1, 1)
    return result
