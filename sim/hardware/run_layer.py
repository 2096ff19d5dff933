"""A whole linear layer of a real model through a compiled tile of PEs, compared bit for bit.

Every group's sum comes out of the emitted Verilog and has to equal the golden model's; scaled and
added, the outputs have to equal those that :mod:`numerics` computes without any PE: ``grouped_dot``
where sums are exact, ``aligned_product`` for BitMoD's.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from rtl.compiled import CompiledPe
from rtl.element import ProcessingElement
from rtl.toolchain import ToolError
from sim.errors import UserError
from sim.hardware.layer_operands import Layer, layer_of
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
    #: PEs side by side.
    tile: int
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
    lanes: int | None = None,
    tile: int | None = None,
    codes: Path | None = None,
) -> LayerRun:
    """Stream a layer's activations and weights through a tile of PEs of some lanes.

    The codes that it ran are written to a file if one is named.

    Raises
    ------
    UserError
        The model or the layer is unknown, or the PE's formats are no formats of schemes.
    """
    source = open_model(model)
    weight, x = _operands(source, layer, tokens)
    of_pe = layer_of(pe, weight, x, lanes=lanes, tile=tile)
    if codes is not None:
        about = f"{layer} of {source.name}, {len(x)} tokens"
        pair = {"weights": of_pe.weights, "activations": of_pe.activations}
        write_codes(LayerCodes(source=about, formats=of_pe.formats, **pair), codes)
    started = time.perf_counter()
    try:
        sums, golden, cycles = _sums(of_pe)
    except ToolError as error:
        raise UserError(str(error)) from None
    found = of_pe.outputs(sums)
    expected = of_pe.outputs(golden) if of_pe.expected is None else of_pe.expected
    outputs, inputs = weight.shape
    return LayerRun(
        model=source.name,
        layer=layer,
        pe=pe.name,
        tokens=len(x),
        tile=of_pe.columns,
        inputs=inputs,
        outputs=outputs,
        sums=sums.size,
        macs=len(x) * inputs * outputs,
        cycles=cycles,
        wrong_sums=int((sums != golden).sum()),
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


def _sums(layer: Layer) -> tuple[np.ndarray, np.ndarray, int]:
    """Return every group's sums by the PE and by its golden model, and the cycles.

    Sums have shape (groups, tokens, outputs).
    """
    (outputs, inputs), count = layer.weights.shape, len(layer.activations)
    starts = range(0, inputs, layer.group)
    blocks = -(-outputs // layer.columns)
    # A last result of fewer outputs has the last one in the place of others.
    of_block = np.minimum(np.arange(blocks * layer.columns), outputs - 1).reshape(blocks, -1)
    sums, golden = (np.empty((len(starts), count, outputs), np.int64) for _ in range(2))
    cycles = 0
    with CompiledPe(layer.pe) as model:
        for i, start in enumerate(starts):
            group = slice(start, start + layer.group)
            pairs = np.indices((count, blocks)).reshape(2, -1)
            for at in range(0, pairs.shape[1], CHUNK):
                token, block = pairs[:, at : at + CHUNK]
                output = of_block[block]
                operands = layer.operands(
                    layer.weights[:, group][output], layer.activations[:, group][token], i, output
                )
                found, spent = model.run(operands)
                place = (i, token[:, None], output)
                sums[place] = layer.split(found)
                golden[place] = layer.split(layer.pe.golden(operands))
                cycles += spent
    return sums, golden, cycles
