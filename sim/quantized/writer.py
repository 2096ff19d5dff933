"""Write a model as a packed checkpoint."""

import os
import shutil
import tempfile
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from rich.console import Console
from rich.progress import track
from safetensors.numpy import save_file

from numerics import Scheme, quantize
from numerics.storage import to_bytes
from sim.errors import UserError
from sim.model.tensors import tensor_shapes
from sim.quantized.description import FILE_NAME, Description
from sim.sources.source import ModelSource
from sim.sweep.recipe import Recipe, plan

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
#: Types for what is not quantized, the smallest that holds every value wins.
FLOAT_TYPES = (ml_dtypes.bfloat16, np.float16, np.float32)


def write_checkpoint(source: ModelSource, recipe: Recipe, out: Path) -> Path:
    """Quantize ``source`` by the weight schemes of ``recipe`` into the new directory ``out``.

    The directory appears only when everything is written. It holds ``qsim.json``,
    ``model.safetensors`` (packed codes and side data as ``NAME.weight.codes`` and so on, bytes;
    everything else in the smallest float type that holds its values) and ``tokenizer.json``.
    """
    if out.exists():
        raise UserError(f"{out} exists already; name a new directory")
    schemes = plan(recipe, source.config).weights
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        tokenizer = source.tokenizer()
        description = Description(
            model=source.name,
            source_sha256=source.content_hash,
            recipe=recipe.name,
            matrices=schemes,
            config=source.config,
            bos_id=tokenizer.bos_id,
        )
        save_file(_tensors(source, schemes), staging / WEIGHTS, metadata={"format": "qsim"})
        tokenizer.backend.save(str(staging / TOKENIZER))
        (staging / FILE_NAME).write_text(description.to_json(), encoding="utf-8")
        staging.chmod(0o755)
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _tensors(source: ModelSource, schemes: dict[str, Scheme]) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    names = list(tensor_shapes(source.config))
    for name in track(names, "Quantizing", console=Console(stderr=True), transient=True):
        values, scheme = source.read(name), schemes.get(name.removesuffix(".weight"))
        if scheme is None:
            tensors[name] = smallest_type(values)
        else:
            packed = to_bytes(quantize(jnp.asarray(values), scheme))
            tensors |= {f"{name}.{array}": stored for array, stored in packed.items()}
    return tensors


def smallest_type(values: np.ndarray) -> np.ndarray:
    """Return values in the smallest float type that holds every one of them exactly."""
    for dtype in FLOAT_TYPES:
        with np.errstate(over="ignore"):
            narrow = values.astype(dtype)
        if np.array_equal(narrow.astype(np.float32), values):
            return narrow
    return values
