"""Quantization of a model in one pass, block by block.

For each block: statistics of its inputs with all earlier blocks quantized and its own layers still
in float (as in GPTQ's public code), transforms, codes, and the outputs that the next block reads.
One block of weights is in memory at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, Scheme
from numerics.schemes.repaired import Repaired
from numerics.solvers.rows import row_parts
from sim.calibration.statistics import Statistics
from sim.methods.assignment import Assignment
from sim.methods.block_report import output_error
from sim.methods.chain import NEAREST, Chain
from sim.methods.measure import powers, quantize_and_measure, sqnr_db
from sim.methods.streams import CalibrationStreams, FloatStatistics, rounding_of
from sim.model.block_buffers import BlockBuffers
from sim.model.params import Params
from sim.model.tensors import fused_members
from sim.sources.source import ModelSource


@dataclass(slots=True, kw_only=True)
class QuantizedBlock:
    """A block after quantization; its arrays are valid until the next block is read."""

    index: int
    params: Params
    #: Tensors by canonical name after ``layers.{index}.``, quantized matrices dequantized.
    tensors: Mapping[str, np.ndarray]
    #: Codes of quantized matrices, by name after ``layers.{index}.``.
    codes: dict[str, QuantizedTensor | Repaired] = field(default_factory=dict)
    #: Signal to quantization-noise ratio of each matrix with an error, by layer name.
    sqnr_db: dict[str, float] = field(default_factory=dict)
    #: Estimated output error of each matrix with statistics, relative, by name as in ``codes``.
    output_errors: dict[str, float] = field(default_factory=dict)


def quantized_blocks(
    source: ModelSource,
    job: Assignment,
    calibration: CalibrationStreams | FloatStatistics | None = None,
    *,
    start: int = 0,
    keep_codes: bool = False,
) -> Iterator[QuantizedBlock]:
    """Yield the blocks of a model, quantized one after another.

    Parameters
    ----------
    source : ModelSource
        The float model, with the transforms of ``job`` applied.
    job : Assignment
        Formats and methods.
    calibration : CalibrationStreams or FloatStatistics, optional
        Calibration windows before block ``start``, which are advanced, or the float model's
        statistics; needed for calibrated methods.
    start : int
        First block.
    keep_codes : bool
        Return codes of matrices that are rounded to nearest too.
    """
    buffers = BlockBuffers(source.config)
    if job.needs_statistics and calibration is None:
        raise ValueError("calibrated methods need calibration windows")
    for index in range(start, source.config.layers):
        for name in buffers.tensors:
            buffers.write(name, source.read(f"layers.{index}.{name}"))
        statistics: dict[str, Statistics] = {}
        if calibration is not None:
            statistics = calibration.statistics(buffers, job, index)
        found = QuantizedBlock(index=index, params={}, tensors=buffers.tensors)
        for site, members in fused_members(source.config).items():
            for (scheme, method), alike in _alike(members, index, job).items():
                matrices = {member: buffers.tensors[f"{member}.weight"] for member in alike}
                _write(found, matrices, scheme, method, statistics.get(site), keep_codes)
        found.params = buffers.params()
        if calibration is not None and index + 1 < source.config.layers:
            calibration.advance(found.params, rounding_of(job, index))
        yield found


def _alike(
    members: Sequence[str], index: int, job: Assignment
) -> dict[tuple[Scheme, Chain], list[str]]:
    """Return the members of a site that are quantized, by scheme and method."""
    found: dict[tuple[Scheme, Chain], list[str]] = {}
    for member in members:
        layer = f"layers.{index}.{member}"
        if layer in job.weights:
            key = job.weights[layer], job.methods.get(layer, NEAREST)
            found.setdefault(key, []).append(member)
    return found


def _write(
    found: QuantizedBlock,
    matrices: Mapping[str, np.ndarray],
    scheme: Scheme,
    method: Chain,
    statistics: Statistics | None,
    keep_codes: bool,
) -> None:
    """Replace matrices in the buffers by their quantized values."""
    if method.solver == NEAREST.solver and method.repair is None and not keep_codes:
        for member, matrix in matrices.items():
            _round(found, member, matrix, scheme)
        return
    solved = solve(list(matrices.values()), scheme, method, statistics)
    for (member, matrix), codes in zip(matrices.items(), solved, strict=True):
        found.codes[member] = codes
        rounded = jnp.asarray(codes.dequantize())
        if statistics is not None:
            error = output_error(matrix, np.asarray(rounded), statistics.hessian)
            found.output_errors[member] = error
        signal, noise = powers(jnp.asarray(matrix), rounded)
        _keep_level(found, member, float(signal), float(noise))
        matrix[...] = rounded


def _round(found: QuantizedBlock, member: str, matrix: np.ndarray, scheme: Scheme) -> None:
    """Replace a matrix by its nearest values, a part of the rows at a time."""
    signal = noise = 0.0
    for rows in row_parts(matrix, scheme):
        rounded, part_signal, part_noise = quantize_and_measure(jnp.asarray(rows), scheme=scheme)
        rows[...] = rounded
        signal, noise = signal + float(part_signal), noise + float(part_noise)
    _keep_level(found, member, signal, noise)


def _keep_level(found: QuantizedBlock, member: str, signal: float, noise: float) -> None:
    level = sqnr_db(signal, noise)
    if level is not None:
        found.sqnr_db[f"layers.{found.index}.{member}"] = level


def solve(
    matrices: Sequence[np.ndarray], scheme: Scheme, method: Chain, statistics: Statistics | None
) -> list[QuantizedTensor | Repaired]:
    """Return the codes of matrices that read one input, by a method's solver and repair."""
    found = method.solver.solve_site(matrices, scheme, statistics)
    if method.repair is None:
        return list(found)
    pairs = zip(matrices, found, strict=True)
    return [method.repair.repair(matrix, codes, statistics) for matrix, codes in pairs]
