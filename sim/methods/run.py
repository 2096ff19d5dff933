"""Quantization of a model in one pass: for each block statistics, codes, then outputs.

The statistics of a block are taken with all earlier blocks quantized and its own layers still in
float, as in GPTQ's public code.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from numerics import QuantizedTensor, Scheme
from sim.calibration.blocks import block_params, read_block
from sim.calibration.stream import FLOAT, Stream
from sim.methods.steps import Solver
from sim.model.layer_numerics import LayerNumerics
from sim.model.tensors import fused_members
from sim.sources.source import ModelSource


def quantize_model(
    source: ModelSource,
    tokens: np.ndarray,
    schemes: Mapping[str, Scheme],
    solvers: Mapping[str, Solver],
    numerics: tuple[LayerNumerics, ...] | None,
) -> Iterator[tuple[str, QuantizedTensor]]:
    """Yield the quantized linear layers of a model, block by block.

    Parameters
    ----------
    source : ModelSource
        The float model.
    tokens : array (windows, context)
        Calibration windows.
    schemes, solvers : mapping
        Scheme and solver of each linear layer that is quantized, by its name.
    numerics : tuple of LayerNumerics, optional
        How each block rounds its activations, as in evaluation.
    """
    config = source.config
    members = fused_members(config)
    stream = Stream.start(source, tokens)
    for index in range(config.layers):
        rounding = FLOAT if numerics is None else numerics[index]
        tensors = read_block(source, index)
        statistics = stream.statistics(block_params(config, tensors), rounding)
        for site, names in members.items():
            for member in names:
                layer = f"layers.{index}.{member}"
                if layer not in schemes:
                    continue
                quantized = solvers[layer].solve(
                    tensors[f"{member}.weight"], schemes[layer], statistics[site]
                )
                tensors[f"{member}.weight"] = np.asarray(quantized.dequantize())
                yield layer, quantized
        stream.advance(block_params(config, tensors), rounding)
