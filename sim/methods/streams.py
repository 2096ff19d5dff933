"""Statistics of the inputs of each block: behind quantized blocks, or those of the float model.

The former are taken with all earlier blocks quantized and the block's own layers still in float, as
in GPTQ's public code. The latter are the same for every format, and kept on disk.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from sim.calibration.kept import KeptStatistics
from sim.calibration.spool import Spool
from sim.calibration.statistics import Statistics
from sim.calibration.stream import FLOAT, Stream
from sim.errors import UserError
from sim.methods.assignment import Assignment
from sim.methods.block import Block
from sim.methods.block_report import Report, unreported
from sim.methods.step import BlockTransform
from sim.model.block_buffers import BlockBuffers
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import Params
from sim.model.tensors import fused_members
from sim.sources.source import ModelSource


@dataclass(slots=True)
class CalibrationStreams:
    """The streams of a pass: behind quantized blocks, and behind float ones if a step needs it."""

    quantized: Stream
    reference: Stream | None
    with_sample: bool

    @classmethod
    def start(
        cls,
        job: Assignment,
        embedding: Params,
        tokens: Int32[np.ndarray, "n t"],
        spool: Spool | None = None,
    ) -> "CalibrationStreams":
        """Embed the calibration windows with the tables of ``embedding``."""
        steps = [step for chain in job.methods.values() for step in chain.steps]
        needs_shift = any(step.needs_shift for step in steps)
        quantized = Stream.start(job.config, embedding, tokens, spool)
        return cls(
            quantized=quantized,
            reference=quantized.copy(spool) if needs_shift else None,
            with_sample=any(step.needs_sample for step in steps),
        )

    @property
    def by_name(self) -> dict[str, Stream]:
        """The streams by name."""
        found = {"calibration": self.quantized}
        return found if self.reference is None else found | {"reference": self.reference}

    def statistics(
        self, buffers: BlockBuffers, job: Assignment, index: int
    ) -> dict[str, Statistics]:
        """Transform the block; return the statistics of its inputs, float weights in place."""
        rounding = rounding_of(job, index)
        transforms = [t for (block, _), t in job.block_transforms.items() if block == index]
        again = rounding != FLOAT and any(transforms)
        found = self._measure(buffers, rounding, is_last=not again)
        _transform(buffers, job, index, found, rounding)
        return self._measure(buffers, rounding, is_last=True) if again else found

    def advance(self, params: Params, rounding: LayerNumerics) -> None:
        """Run the windows through the quantized block."""
        self.quantized.advance(params, rounding)

    def _measure(
        self, buffers: BlockBuffers, rounding: LayerNumerics, *, is_last: bool
    ) -> dict[str, Statistics]:
        """Return the statistics of a block; the last time, the reference goes on behind it."""
        found = self.quantized.statistics(
            buffers.params(),
            rounding,
            reference=self.reference,
            advances_reference=is_last,
            with_sample=self.with_sample,
        )
        _check_finite(found, self.quantized.index)
        return found


@dataclass(frozen=True, slots=True)
class FloatStatistics:
    """The float model's statistics, in which neither weights nor activations are rounded."""

    kept: KeptStatistics

    @property
    def by_name(self) -> dict[str, Stream]:
        """No streams: statistics are complete before the first block."""
        return {}

    def statistics(
        self, buffers: BlockBuffers, job: Assignment, index: int
    ) -> dict[str, Statistics]:
        """Transform the block; return the statistics of its inputs, float weights in place."""
        found = self.kept.get(index)
        _transform(buffers, job, index, found, rounding_of(job, index))
        return found

    def advance(self, params: Params, rounding: LayerNumerics) -> None:
        """Do nothing: later blocks do not depend on this one."""


def measure_float(
    source: ModelSource,
    embedding: Params,
    tokens: Int32[np.ndarray, "n t"],
    kept: KeptStatistics,
    spool: Spool | None = None,
    report: Report = unreported,
) -> None:
    """Measure the statistics of the float model's blocks that ``kept`` lacks.

    A process that finds another one at it waits and reads what that one made.
    """
    with kept.locked():
        missing = [i for i in range(source.config.layers) if not kept.holds(i)]
        if not missing:
            return
        stream = Stream.start(source.config, embedding, tokens, spool)
        buffers = BlockBuffers(source.config)
        for index in range(missing[-1] + 1):
            for name in buffers.tensors:
                buffers.write(name, source.read(f"layers.{index}.{name}"))
            params = buffers.params()
            if index in missing:
                found = stream.statistics(params, with_sample=True)
                _check_finite(found, index)
                kept.put(index, found)
                report(f"statistics of block {index + 1}/{source.config.layers}", 0)
            if index < missing[-1]:
                stream.advance(params)


def _check_finite(found: dict[str, Statistics], index: int) -> None:
    for site, statistics in found.items():
        if not np.isfinite(np.trace(statistics.hessian)):
            raise UserError(
                f"inputs of {site} in block {index} are not finite, or their squares are too large "
                "for float32, on the calibration text; take --method rtn, or a format with which "
                "earlier blocks stay finite"
            )


def _transform(
    buffers: BlockBuffers,
    job: Assignment,
    index: int,
    statistics: dict[str, Statistics],
    rounding: LayerNumerics,
) -> None:
    """Apply the transforms of a block to its tensors and statistics."""
    sites: dict[BlockTransform, set[str]] = {}
    members = fused_members(job.config)
    for site in members:
        for transform in job.block_transforms.get((index, site), ()):
            sites.setdefault(transform, set()).add(site)
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


def rounding_of(job: Assignment, index: int) -> LayerNumerics:
    """Return how a block rounds its activations."""
    return FLOAT if job.numerics is None else job.numerics[index]
