"""Run a linear layer of a real model on a compiled tile of PEs, and compare bit for bit.

Every group's sum is computed by the emitted Verilog and has to equal the golden model's. The
outputs, from the scaled sums, have to equal those that :mod:`numerics` computes without the PE:
``grouped_dot``, ``exact_product`` where a sum has several scales, ``pe_product`` where sums round.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from rtl.element import ProcessingElement
from rtl.fields import Operands
from rtl.layer.choose import layer_of
from rtl.layer.layer import Layer
from rtl.toolchain import ToolError
from rtl.verification.compiled import CompiledPe
from sim.errors import UserError, user_errors
from sim.hardware.operands import LayerCodes, write_codes
from sim.model.capture import layer_inputs
from sim.model.params import ModelBuffers
from sim.model.tensors import tensor_shapes
from sim.sources.catalog import open_model
from sim.sources.embedded import held_out_text
from sim.sources.source import ModelSource
from sim.sweep.windows import take_windows

#: Dots from which on a slower compilation pays.
MANY_DOTS = 100_000
#: Number of results per run of the compiled PE.
CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRun:
    """Size, time and differences of a layer's run."""

    model: str
    layer: str
    pe: str
    tokens: int
    #: Number of PEs of the tile.
    tile: int
    #: Numbers of inputs and outputs of the layer.
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
    """Run a layer's activations and weights through a tile of PEs.

    The codes are also written to the file ``codes``, if one is named.

    Raises
    ------
    UserError
        The model or the layer is unknown, or the PE does not run layers.
    """
    source = open_model(model)
    weight, x = _operands(source, layer, tokens)
    with user_errors(ValueError):
        of_pe = layer_of(pe, weight, x, lanes=lanes, tile=tile)
    if codes is not None:
        write_codes(_codes_of(of_pe, pe.name, f"{layer} of {source.name}, {len(x)} tokens"), codes)
    started = time.perf_counter()
    with user_errors(ToolError):
        sums, golden, cycles = _sums(of_pe)
    found, expected = of_pe.results(sums), of_pe.expected
    return LayerRun(
        model=source.name,
        layer=layer,
        pe=pe.name,
        tokens=len(x),
        tile=of_pe.columns,
        inputs=of_pe.inputs,
        outputs=of_pe.outputs,
        sums=sums.size,
        macs=len(x) * weight.size,
        cycles=cycles,
        wrong_sums=int((sums != golden).sum()),
        wrong_outputs=int((found.view(np.uint32) != expected.view(np.uint32)).sum()),
        time_s=time.perf_counter() - started,
    )


def _codes_of(layer: Layer, name: str, about: str) -> LayerCodes:
    rows = layer.rows
    if rows is None:
        raise UserError(
            f"--codes writes rows of weights and activations, but {name} reads none; drop it"
        )
    return LayerCodes(
        source=about, weights=rows.weights, activations=rows.activations, formats=rows.formats
    )


def _operands(source: ModelSource, layer: str, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's weight, and its input for the first tokens of the held-out text."""
    windows = take_windows(
        held_out_text(), source.tokenizer(), tokens=tokens, context=tokens, spread=False
    )
    buffers = ModelBuffers(source.config)
    for name in tensor_shapes(source.config):
        buffers.write(name, source.read(name))
    with user_errors(ValueError):
        x = layer_inputs(buffers.params(), jnp.asarray(windows.tokens[0]), source.config, layer)
    return np.asarray(source.read(f"{layer}.weight")), np.asarray(x)


def _sums(layer: Layer) -> tuple[np.ndarray, np.ndarray, int]:
    """Return every group's sums by the PE and by its golden model, and the cycles.

    Sums have shape (groups, tokens, outputs).
    """
    outputs, count = layer.outputs, layer.tokens
    groups, blocks = -(-layer.inputs // layer.group), -(-outputs // layer.columns)
    # If the last result has fewer outputs, the last output is repeated.
    places = np.arange(blocks * layer.columns).reshape(blocks, -1)
    sums, golden = (np.empty((groups, count, places.size), np.int64) for _ in range(2))
    cycles = 0
    pairs = np.indices((count, blocks)).reshape(2, -1)
    dots = groups * pairs.shape[1]
    with CompiledPe(layer.pe, optimize="-O3" if dots >= MANY_DOTS else "-O1") as model:
        for group in range(groups):
            for at in range(0, pairs.shape[1], CHUNK):
                token, block = pairs[:, at : at + CHUNK]
                output = np.minimum(places[block], outputs - 1)
                operands = _after_prologue(layer, layer.operands(output, token, group))
                found, spent = model.run(operands)
                for results, whole in ((found, sums), (layer.pe.golden(operands), golden)):
                    whole[group, token[:, None], places[block]] = layer.split(
                        results[-len(token) :]
                    )
                cycles += spent
    return sums[..., :outputs], golden[..., :outputs], cycles


def _after_prologue(layer: Layer, operands: Operands) -> Operands:
    """Return operands, preceded by the groups that load codebooks."""
    if layer.prologue is None:
        return operands
    first = layer.prologue(operands["activations"].shape[1])
    return {name: np.concatenate([first[name], codes]) for name, codes in operands.items()}
