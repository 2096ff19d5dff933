"""A pass of a model over windows of text, quantized as a plan says, one block at a time."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int32

from sim.calibration.checkpoint import Checkpoint
from sim.calibration.spool import Spool
from sim.calibration.stream import Stream
from sim.errors import user_errors
from sim.methods.run import quantized_blocks
from sim.methods.streams import CalibrationStreams
from sim.model.params import Params
from sim.sources.source import ModelSource
from sim.sweep.checkpoint import block_levels
from sim.sweep.evaluate import Pass
from sim.sweep.recipe import Plan
from sim.sweep.weights import bit_true_params, read_embedding, read_head


def make_pass(
    source: ModelSource,
    point: Plan,
    tokens: Int32[np.ndarray, "n t"],
    calibration: Int32[np.ndarray, "m t"] | None,
    sqnr_db: dict[str, float],
    spool: Spool,
    checkpoint: Checkpoint | None = None,
    original: ModelSource | None = None,
) -> Pass:
    """Return a pass of a float model as a plan transforms and quantizes it.

    Parameters
    ----------
    tokens, calibration : array (windows, context)
        Windows to score, and windows that calibrated methods read.
    sqnr_db : dict
        Gets the SQNR of each quantized matrix as the pass proceeds.
    spool : Spool
        Memory for hidden states.
    checkpoint : Checkpoint, optional
        Where the pass is kept between blocks; one that holds blocks of it goes on behind them.
    original : ModelSource, optional
        Model whose weights those of ``source``, a checkpoint, are compared with.
    """
    with user_errors(ValueError):
        once = None if checkpoint is None else checkpoint.once
        source = point.transformed(source, calibration, once)
    embedding, levels = read_embedding(source, point)
    sqnr_db |= levels
    streams = None
    if point.needs_statistics and calibration is not None:
        streams = CalibrationStreams.start(point, embedding, calibration, spool)
    evaluation = Stream.start(point.config, embedding, tokens, spool)
    named = {"evaluation": evaluation, **({} if streams is None else streams.by_name)}
    start = _restore(checkpoint, named, sqnr_db)

    def blocks() -> Iterator[Params]:
        is_bit_true = point.recipe.pe is not None
        for block in quantized_blocks(source, point, streams, start=start, keep_codes=is_bit_true):
            sqnr_db.update(block.sqnr_db)
            if original is not None:
                sqnr_db.update(block_levels(block, original))
            yield bit_true_params(block, point) if is_bit_true else block.params

    def head() -> Params:
        params, levels = read_head(source, point)
        sqnr_db.update(levels)
        return params

    def after_block() -> None:
        if checkpoint is not None and checkpoint.is_due and evaluation.index < point.config.layers:
            states = {name: stream.states for name, stream in named.items()}
            checkpoint.save(evaluation.index, states, {"sqnr_db": sqnr_db})

    return Pass(
        stream=evaluation,
        blocks=blocks(),
        head=head,
        numerics=point.numerics,
        after_block=after_block,
    )


def _restore(
    checkpoint: Checkpoint | None, named: dict[str, Stream], sqnr_db: dict[str, float]
) -> int:
    """Set the streams to where a checkpoint stopped; return the next block."""
    saved = None if checkpoint is None else checkpoint.saved
    if saved is None or saved.states.keys() != named.keys():
        return 0
    for name, stream in named.items():
        stream.restore(saved.states[name], saved.blocks)
    sqnr_db.update(saved.more["sqnr_db"])
    return saved.blocks
