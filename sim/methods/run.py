"""Quantization of a model in one pass, block by block.

For each block: statistics of its inputs with all earlier blocks quantized and its own layers still
in float (as in GPTQ's public code), transforms, codes, and the outputs that the next block reads.
One block of weights is in memory at a time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, Scheme, quantize
from numerics.schemes.repaired import Repaired
from sim.calibration.statistics import Statistics
from sim.calibration.stream import FLOAT, Stream
from sim.methods.assignment import Assignment
from sim.methods.block import Block
from sim.methods.chain import NEAREST, Chain
from sim.methods.measure import measure, quantize_and_measure, sqnr_db
from sim.methods.step import BlockTransform
from sim.model.block_buffers import BlockBuffers
from sim.model.layer_numerics import LayerNumerics
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
    #: Signal to quantization-noise ratio by layer name; none where there is no noise.
    sqnr_db: dict[str, float] = field(default_factory=dict)


def quantized_blocks(
    source: ModelSource,
    job: Assignment,
    calibration: Stream | None = None,
    *,
    keep_codes: bool = False,
) -> Iterator[QuantizedBlock]:
    """Yield the blocks of a model, quantized one after another.

    Parameters
    ----------
    source : ModelSource
        The float model, with the transforms of ``job`` applied.
    job : Assignment
        Formats and methods.
    calibration : Stream, optional
        Calibration windows, embedded; needed for calibrated methods, and consumed.
    keep_codes : bool
        Return codes of matrices that are rounded to nearest too.
    """
    buffers = BlockBuffers(source.config)
    if job.is_calibrated and calibration is None:
        raise ValueError("calibrated methods need calibration windows")
    streams = _Streams.start(job, calibration) if job.is_calibrated and calibration else None
    for index in range(source.config.layers):
        for name in buffers.tensors:
            buffers.write(name, source.read(f"layers.{index}.{name}"))
        statistics: dict[str, Statistics] = {}
        if streams is not None:
            statistics = streams.statistics(buffers, job, index)
        found = QuantizedBlock(index=index, params={}, tensors=buffers.tensors)
        for site, members in fused_members(source.config).items():
            for member in members:
                layer = f"layers.{index}.{member}"
                if layer in job.weights:
                    method = job.methods.get(layer, NEAREST)
                    scheme, matrix = job.weights[layer], buffers.tensors[f"{member}.weight"]
                    _write(found, member, matrix, scheme, method, statistics.get(site), keep_codes)
        found.params = buffers.params()
        if streams is not None and index + 1 < source.config.layers:
            streams.quantized.advance(found.params, _rounding(job, index))
        yield found


def _write(
    found: QuantizedBlock,
    member: str,
    matrix: np.ndarray,
    scheme: Scheme,
    method: Chain,
    statistics: Statistics | None,
    keep_codes: bool,
) -> None:
    """Replace a matrix in the buffers by its quantized values."""
    if method.solver == NEAREST.solver and method.repair is None and not keep_codes:
        rounded, signal, noise = quantize_and_measure(jnp.asarray(matrix), scheme=scheme)
    else:
        codes = solve(matrix, scheme, method, statistics)
        found.codes[member] = codes
        rounded, signal, noise = measure(jnp.asarray(matrix), jnp.asarray(codes.dequantize()))
    level = sqnr_db(float(signal), float(noise))
    if level is not None:
        found.sqnr_db[f"layers.{found.index}.{member}"] = level
    matrix[...] = rounded


def solve(
    matrix: np.ndarray, scheme: Scheme, method: Chain, statistics: Statistics | None
) -> QuantizedTensor | Repaired:
    """Return the codes of a matrix by the solver and the repairs of a method."""
    if method.solver == NEAREST.solver:
        codes = quantize(jnp.asarray(matrix), scheme)
    else:
        codes = method.solver.solve(matrix, scheme, statistics)
    return codes if method.repair is None else method.repair.repair(matrix, codes, statistics)


def _rounding(job: Assignment, index: int) -> LayerNumerics:
    return FLOAT if job.numerics is None else job.numerics[index]


@dataclass(slots=True)
class _Streams:
    """The streams of a pass: behind quantized blocks, and behind float ones if a step needs it."""

    quantized: Stream
    reference: Stream | None
    with_sample: bool

    @classmethod
    def start(cls, job: Assignment, calibration: Stream) -> "_Streams":
        steps = [step for chain in job.methods.values() for step in chain.steps]
        needs_shift = any(step.needs_shift for step in steps)
        return cls(
            quantized=calibration,
            reference=calibration.copy() if needs_shift else None,
            with_sample=any(step.needs_sample for step in steps),
        )

    def statistics(
        self, buffers: BlockBuffers, job: Assignment, index: int
    ) -> dict[str, Statistics]:
        """Transform the block; return the statistics of its inputs, float weights in place."""
        rounding = _rounding(job, index)
        found = self._measure(buffers, rounding)
        if _transform(buffers, job, index, found, rounding) and rounding != FLOAT:
            found = self._measure(buffers, rounding)
        if self.reference is not None:
            self.reference.advance(buffers.params())
        return found

    def _measure(self, buffers: BlockBuffers, rounding: LayerNumerics) -> dict[str, Statistics]:
        return self.quantized.statistics(
            buffers.params(), rounding, reference=self.reference, with_sample=self.with_sample
        )


def _transform(
    buffers: BlockBuffers,
    job: Assignment,
    index: int,
    statistics: dict[str, Statistics],
    rounding: LayerNumerics,
) -> bool:
    """Apply the transforms of a block to its tensors and statistics; return if there are any."""
    sites: dict[BlockTransform, set[str]] = {}
    for (i, site), transforms in job.block_transforms.items():
        if i == index:
            for transform in transforms:
                sites.setdefault(transform, set()).add(site)
    members = fused_members(job.config)
    for transform, chosen in sites.items():
        names = [member for site in members if site in chosen for member in members[site]]
        layers = {member: f"layers.{index}.{member}" for member in names}
        block = Block(
            config=job.config,
            index=index,
            tensors=dict(buffers.tensors),
            statistics=dict(statistics),
            schemes={m: job.weights[n] for m, n in layers.items() if n in job.weights},
            activations=rounding,
            sites=frozenset(chosen),
        )
        transform.apply(block)
        for name, tensor in block.tensors.items():
            buffers.write(name, tensor)
        statistics |= block.statistics
    return bool(sites)
