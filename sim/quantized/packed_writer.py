"""Writer of packed checkpoints: codes and side data in safetensors, written block by block."""

from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, quantize
from numerics.schemes.repaired import Repaired
from numerics.schemes.storage import to_bytes
from sim.calibration.checkpoint import Checkpoint, restore
from sim.calibration.spool import Spool
from sim.calibration.text import Calibration
from sim.methods.block_report import BlockReports, Report
from sim.methods.run import QuantizedBlock, quantized_blocks
from sim.model.tensors import EMBEDDING, HEAD, tensor_shapes
from sim.quantized.gguf_writer import FLOATS, KEEP, to_float
from sim.quantized.table_types import TableTypes
from sim.quantized.tensor_file import TensorFile
from sim.sources.packed_description import (
    FILE_NAME,
    LEFT,
    RIGHT,
    TOKENIZER,
    WEIGHTS,
    Description,
    RepairFormat,
)
from sim.sources.packed_floats import smallest_type
from sim.sources.source import ModelSource
from sim.sweep.calibrated import start_calibration
from sim.sweep.recipe import Plan
from sim.sweep.weights import layer_of, read_embedding


def write_packed(
    source: ModelSource,
    point: Plan,
    tables: TableTypes,
    directory: Path,
    calibration: Calibration | None,
    progress: Report,
    checkpoint: Checkpoint,
    spool: Spool,
) -> None:
    """Write the model ``source``, which has the plan's transforms, into a directory.

    A pass that ``checkpoint`` holds goes on in the files that are there.
    """
    tokenizer = source.tokenizer()
    description = Description(
        model=source.name,
        source_sha256=source.content_hash,
        recipe=point.recipe.name,
        matrices=point.weights,
        repairs={
            name: RepairFormat(*chain.repair.formats)
            for name, chain in point.methods.items()
            if chain.repair is not None
        },
        config=source.config,
        prefix_ids=tokenizer.prefix_ids,
    )
    streams = start_calibration(
        source, point, lambda: read_embedding(source, point)[0], calibration, spool, progress
    )
    reports = BlockReports(point.config.layers, progress)
    named = {} if streams is None else streams.by_name
    saved = restore(checkpoint.saved, named)
    written = None if saved is None else saved.more["written"]
    start = 0 if saved is None else saved.blocks
    with TensorFile(directory / WEIGHTS, description.arrays(), written) as file:
        for block in quantized_blocks(source, point, streams, start=start, keep_codes=True):
            for name, array in _block_arrays(block):
                file.add(name, array)
            reports.add(block.index, block.output_errors)
            if checkpoint.is_due and block.index + 1 < point.config.layers:
                states = {name: stream.states for name, stream in named.items()}
                checkpoint.save(block.index + 1, states, {"written": file.written})
        for name, array in _table_arrays(source, point, tables):
            file.add(name, array)
    tokenizer.backend.save(str(directory / TOKENIZER))
    (directory / FILE_NAME).write_text(description.to_json(), encoding="utf-8")


def _block_arrays(block: QuantizedBlock) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a block."""
    for name, values in block.tensors.items():
        full, codes = f"layers.{block.index}.{name}", block.codes.get(layer_of(name))
        if codes is None or not name.endswith(".weight"):
            yield full, smallest_type(values)
        else:
            yield from _stored(full, codes)


def _table_arrays(
    source: ModelSource, point: Plan, tables: TableTypes
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays outside the blocks."""
    # Rotated tables lie on no grid of 16 bits, and the transforms leave the float model as it is.
    default = KEEP if point.transforms else None
    types = {
        EMBEDDING["embed"]: tables.embeddings or default,
        HEAD["head"]: tables.head or default,
    }
    shapes = tensor_shapes(source.config)
    for name in (*EMBEDDING.values(), *HEAD.values()):
        if name not in shapes:
            continue
        values, scheme = source.read(name), point.weights.get(layer_of(name))
        if scheme is not None:
            yield from _stored(name, quantize(jnp.asarray(values), scheme))
        elif name in types:
            yield name, _table(values, types[name])
        else:
            yield name, smallest_type(values)


def _stored(name: str, codes: QuantizedTensor | Repaired) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a quantized matrix."""
    weight = codes.weight if isinstance(codes, Repaired) else codes
    for array, packed in to_bytes(weight).items():
        yield f"{name}.{array}", packed
    if isinstance(codes, Repaired):
        for part, factor in ((LEFT, codes.left), (RIGHT, codes.right)):
            for array, packed in to_bytes(factor).items():
                yield f"{name}.{part}.{array}", packed


def _table(values: np.ndarray, kind: str | None) -> np.ndarray:
    """Return an embedding or a head in the chosen type, by default in 16 bits."""
    if kind in FLOATS:
        return to_float(values, kind, "the embedding")
    narrow = smallest_type(values)
    if kind == KEEP or narrow.dtype != np.float32:
        return narrow
    has_room = np.abs(values).max() <= np.finfo(np.float16).max
    return to_float(values, "f16" if has_room else "bf16", "the embedding")
