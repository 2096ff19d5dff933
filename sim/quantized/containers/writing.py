"""Writer of a model as a directory of another tool: ``config.json``, weights, tokenizer."""

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from numerics import QuantizedTensor, Scheme
from numerics.names.suggest import unknown
from sim.calibration.text import Calibration
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.hf_tensors import hf_recipe
from sim.model.tensors import LM_HEAD, linear_names, tensor_shapes
from sim.quantized.containers.awq import Awq
from sim.quantized.containers.compressed_tensors import CompressedTensors
from sim.quantized.containers.container import Container
from sim.quantized.containers.gptq import Gptq
from sim.quantized.gguf_writer import KEEP
from sim.quantized.table_types import DEFAULT_TYPES, TableTypes
from sim.quantized.tensor_file import TensorFile
from sim.quantized.writer import write_model
from sim.sources.files import read_json
from sim.sources.hf_directory import CONFIG, MAX_CONFIG_BYTES, HfDirectory
from sim.sources.packed import PackedCheckpoint, open_checkpoint
from sim.sources.packed_description import TOKENIZER, WEIGHTS
from sim.sources.packed_floats import smallest_type
from sim.sources.readers.detection import plain_config
from sim.sources.source import ModelSource
from sim.sweep.recipe import Recipe, plan

CONTAINERS: Mapping[str, Container] = {
    one.name: one for one in (CompressedTensors(), Gptq(), Awq())
}
#: Files beside the weights that are copied as they are.
COPIED = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
#: Metadata that transformers asks of weight files.
METADATA = {"format": "pt"}


def find_container(name: str) -> Container:
    """Return a container by name; raise UserError for an unknown one."""
    if name not in CONTAINERS:
        raise UserError(unknown("container", name, CONTAINERS, see="qsim quantize --help"))
    return CONTAINERS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """A stored tensor and the canonical ones that it is made of, in the order of its rows."""

    name: str
    members: tuple[str, ...]
    transpose: bool

    @property
    def module(self) -> str:
        """Name of the module, without ``.weight``."""
        return self.name.removesuffix(".weight")


def write_container(
    source: ModelSource,
    recipe: Recipe,
    out: Path,
    container: Container,
    tables: TableTypes = DEFAULT_TYPES,
    calibration: Calibration | None = None,
    memory_bytes: float = math.inf,
) -> Path:
    """Quantize a model into a new directory that another tool loads.

    The codes are those of a packed checkpoint, which is written first and removed; ``out`` appears
    only when everything is written. Raises :class:`UserError` for what the container can't hold.
    """
    if out.exists():
        raise UserError(f"{out} exists already; name a new directory")
    raw = _config_of(source)
    check_container(source.config, recipe, container)
    packed, staging = (out.parent / f".{out.name}-{kind}" for kind in ("packed", "container"))
    for old in (packed, staging):
        shutil.rmtree(old, ignore_errors=True)
    exact = TableTypes(embeddings=tables.embeddings or KEEP, head=tables.head or KEEP)
    try:
        write_model(source, recipe, packed, exact, calibration, memory_bytes)
        staging.mkdir()
        _convert(open_checkpoint(packed), raw, container, staging, recipe.name)
        for name in COPIED:
            if isinstance(source, HfDirectory) and (source.path / name).is_file():
                shutil.copy(source.path / name, staging)
        os.replace(staging, out)
    finally:
        for old in (packed, staging):
            shutil.rmtree(old, ignore_errors=True)
    return out


def _config_of(source: ModelSource) -> dict[str, Any]:
    """Return the parsed ``config.json`` of a model; raise UserError if it has none."""
    if not isinstance(source, HfDirectory):
        raise UserError(
            f"{source.name} has no {CONFIG}, which other tools read; --to needs a model in a "
            f"directory with one"
        )
    return plain_config(read_json(source.path / CONFIG, limit=MAX_CONFIG_BYTES))


def check_container(config: ModelConfig, recipe: Recipe, container: Container) -> None:
    """Raise UserError if a container can't hold a recipe's matrices."""
    planned = plan(recipe, config)
    linear = linear_names(planned.config)
    if not planned.weights:
        raise UserError(f"{recipe.name} has no format of weights to write; give --format int4")
    if planned.config.online is not None or any(c.repair for c in planned.methods.values()):
        raise UserError(
            f"{recipe.name} has run-time transforms or low-rank repairs, which {container.name} "
            f"can't describe; leave them out, or write a directory of qsim without --to"
        )
    schemes: dict[str, Scheme] = {}
    for tensor in fused_tensors(planned.config):
        given = {planned.weights.get(n.removesuffix(".weight")) for n in tensor.members}
        if given == {None}:
            continue
        layer = tensor.members[0].removesuffix(".weight")
        if tensor.transpose or layer not in (*linear, LM_HEAD):
            raise UserError(
                f"{container.name} holds linear layers (out, in), not {tensor.name}; keep it in "
                f"floating point"
            )
        if len(given) > 1:
            names = " and ".join(tensor.members)
            raise UserError(f"{names} are one matrix in the file; give them one format")
        (scheme,) = given
        assert scheme is not None
        rows = sum(tensor_shapes(planned.config)[name][0] for name in tensor.members)
        columns = tensor_shapes(planned.config)[tensor.members[0]][1]
        try:
            container.check(scheme, (rows, columns))
        except ValueError as error:
            raise UserError(f"--to {container.name}: {tensor.module}: {error}") from None
        schemes[tensor.module] = scheme
    try:
        container.settings(schemes, (), recipe.name)
    except ValueError as error:
        raise UserError(f"--to {container.name}: {error}") from None


def fused_tensors(config: ModelConfig) -> list[Fused]:
    """Return the stored tensors of a model with their parts."""
    parts: dict[str, list[str]] = {}
    transposed: dict[str, bool] = {}
    for name in tensor_shapes(config):
        recipe = hf_recipe(config, name)
        parts.setdefault(recipe.name, []).append(name)
        transposed[recipe.name] = recipe.transpose
    return [
        Fused(
            name=raw,
            members=tuple(sorted(names, key=lambda name: hf_recipe(config, name).start)),
            transpose=transposed[raw],
        )
        for raw, names in parts.items()
    ]


def _convert(
    model: PackedCheckpoint, raw: dict[str, Any], container: Container, out: Path, recipe: str
) -> None:
    """Write the files of a directory from a packed checkpoint."""
    tensors = fused_tensors(model.config)
    matrices = model.description.matrices
    schemes = {
        tensor.module: matrices[layer]
        for tensor in tensors
        if (layer := tensor.members[0].removesuffix(".weight")) in matrices
    }
    linear = {f"{name}.weight" for name in (*linear_names(model.config), LM_HEAD)}
    kept = tuple(
        tensor.module
        for tensor in tensors
        if tensor.module not in schemes and linear & set(tensor.members)
    )
    # A tied head is a linear layer of its own in other tools.
    kept += ("lm_head",) if model.config.tie_embeddings else ()
    names = [
        full
        for tensor in tensors
        for full in (
            [f"{tensor.module}.{part}" for part in container.names(schemes[tensor.module])]
            if tensor.module in schemes
            else [tensor.name]
        )
    ]
    with TensorFile(out / WEIGHTS, names, metadata=METADATA) as file:
        for tensor in tensors:
            for name, array in _arrays(model, tensor, container, tensor.module in schemes):
                file.add(name, array)
    settings = container.settings(schemes, kept, recipe)
    config = raw | {
        "tie_word_embeddings": model.config.tie_embeddings,
        "quantization_config": settings,
    }
    (out / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    model.tokenizer().backend.save(str(out / TOKENIZER))


def _arrays(
    model: PackedCheckpoint, tensor: Fused, container: Container, is_quantized: bool
) -> Iterable[tuple[str, np.ndarray]]:
    """Yield the arrays of one stored tensor."""
    if is_quantized:
        for part, array in container.tensors(_joined(model, tensor.members)).items():
            yield f"{tensor.module}.{part}", array
        return
    values = np.concatenate([model.read(name) for name in tensor.members])
    yield tensor.name, smallest_type(values.T if tensor.transpose else values)


def _joined(model: PackedCheckpoint, members: tuple[str, ...]) -> QuantizedTensor:
    """Return matrices that lie in one stored tensor, rows one after another."""
    found = [model.codes(name) for name in members]
    codes = [one for one in found if one is not None]
    if len(codes) == 1:
        return codes[0]
    first = codes[0]
    if any(array.shape[:1] != first.shape[:1] for array in first.arrays.values()):
        raise UserError(
            f"{' and '.join(members)} are one matrix in the file and have a scale each; give a "
            f"format with a scale for each row or group"
        )
    arrays = {name: jnp.concatenate([one.arrays[name] for one in codes]) for name in first.arrays}
    rows = sum(one.shape[0] for one in codes)
    return QuantizedTensor(arrays=arrays, scheme=first.scheme, shape=(rows, *first.shape[1:]))
