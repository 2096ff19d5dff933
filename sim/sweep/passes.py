"""A pass of a model over windows of text, quantized as a plan says, one block at a time."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int32

from sim.calibration.checkpoint import Checkpoint, restore
from sim.calibration.spool import Spool
from sim.calibration.stream import Stream
from sim.calibration.text import Calibration
from sim.errors import user_errors
from sim.methods.block_report import BlockReports, Report, unreported
from sim.methods.run import quantized_blocks
from sim.model.params import Params
from sim.sources.source import ModelSource
from sim.sweep.calibrated import start_calibration
from sim.sweep.checkpoint import block_levels
from sim.sweep.evaluate import Pass
from sim.sweep.recipe import Plan
from sim.sweep.weights import bit_true_params, read_embedding, read_head


def make_pass(
    source: ModelSource,
    point: Plan,
    tokens: Int32[np.ndarray, "n t"],
    calibration: Calibration | None,
    sqnr_db: dict[str, float],
    spool: Spool,
    checkpoint: Checkpoint | None = None,
    original: ModelSource | None = None,
    report: Report = unreported,
) -> Pass:
    """Return a pass of a float model as a plan transforms and quantizes it.

    Parameters
    ----------
    tokens : array (windows, context)
        Windows to score.
    calibration : Calibration, optional
        What calibrated methods read.
    sqnr_db : dict
        Gets the SQNR of each quantized matrix as the pass proceeds.
    spool : Spool
        Memory for hidden states.
    checkpoint : Checkpoint, optional
        Where the pass is kept between blocks; one that holds blocks of it goes on behind them.
    original : ModelSource, optional
        Model whose weights those of ``source``, a checkpoint, are compared with.
    report : function, optional
        Called with a line of progress after each block.
    """
    with user_errors(ValueError):
        once = None if checkpoint is None else checkpoint.once
        windows = None if calibration is None else calibration.tokens
        source = point.transformed(source, windows, once)
    embedding, levels = read_embedding(source, point)
    sqnr_db |= levels
    streams = start_calibration(source, point, lambda: embedding, calibration, spool, report)
    evaluation = Stream.start(point.config, embedding, tokens, spool)
    named = {"evaluation": evaluation, **({} if streams is None else streams.by_name)}
    saved = None if checkpoint is None else restore(checkpoint.saved, named)
    sqnr_db |= {} if saved is None else saved.more["sqnr_db"]
    start = 0 if saved is None else saved.blocks

    reports = BlockReports(point.config.layers, report)

    def blocks() -> Iterator[Params]:
        is_bit_true = point.recipe.pe is not None
        for block in quantized_blocks(source, point, streams, start=start, keep_codes=is_bit_true):
            sqnr_db.update(block.sqnr_db)
            reports.add(block.index, block.output_errors)
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
