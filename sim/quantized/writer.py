"""Write a model as a packed checkpoint."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from safetensors.numpy import save_file

from numerics import Scheme, quantize
from numerics.gguf.scheme import GgufScheme
from numerics.schemes.storage import to_bytes
from sim.errors import UserError
from sim.model.tensors import tensor_shapes
from sim.quantized.gguf_writer import write_gguf
from sim.sources.packed_description import FILE_NAME, TOKENIZER, WEIGHTS, Description
from sim.sources.packed_floats import smallest_type
from sim.sources.source import ModelSource
from sim.sweep.recipe import Recipe, plan


def write_checkpoint(source: ModelSource, recipe: Recipe, out: Path) -> Path:
    """Quantize ``source`` by the weight schemes of ``recipe`` into the new directory ``out``.

    The directory appears only when everything is written. With schemes that are all block types of
    GGUF it holds ``model.gguf``; else ``qsim.json`` and ``model.safetensors`` (packed codes and
    side data as ``NAME.weight.codes`` and so on, bytes; everything else in the smallest float type
    that holds its values). ``tokenizer.json`` lies beside.
    """
    if out.exists():
        raise UserError(f"{out} exists already; name a new directory")
    schemes = plan(recipe, source.config).weights
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        blocks = {name: s for name, s in schemes.items() if isinstance(s, GgufScheme)}
        if blocks and len(blocks) == len(schemes):
            write_gguf(source, blocks, staging, _tracked(source))
        else:
            _write_packed(source, recipe, schemes, staging)
        for path in (staging, *staging.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _write_packed(
    source: ModelSource, recipe: Recipe, schemes: dict[str, Scheme], directory: Path
) -> None:
    tokenizer = source.tokenizer()
    description = Description(
        model=source.name,
        source_sha256=source.content_hash,
        recipe=recipe.name,
        matrices=schemes,
        config=source.config,
        bos_id=tokenizer.bos_id,
    )
    save_file(_tensors(source, schemes), directory / WEIGHTS, metadata={"format": "qsim"})
    tokenizer.backend.save(str(directory / TOKENIZER))
    (directory / FILE_NAME).write_text(description.to_json(), encoding="utf-8")


def _tensors(source: ModelSource, schemes: dict[str, Scheme]) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for name in _tracked(source):
        values, scheme = source.read(name), schemes.get(name.removesuffix(".weight"))
        if scheme is None:
            tensors[name] = smallest_type(values)
        else:
            packed = to_bytes(quantize(jnp.asarray(values), scheme))
            tensors |= {f"{name}.{array}": stored for array, stored in packed.items()}
    return tensors


def _tracked(source: ModelSource) -> Iterable[str]:
    """Return the names of all tensors, with a bar that shows how far the loop is."""
    names = list(tensor_shapes(source.config))
    return track(names, "Quantizing", console=Console(stderr=True), transient=True)
