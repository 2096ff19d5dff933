"""Where the canonical tensors of a model are in a Hugging Face checkpoint.

Names as in ``modeling_*.py`` of transformers 5.24. Some families fuse matrices that share an
input (Phi-3, GPT-2), and GPT-2 stores its matrices as (in, out).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from sim.model.config import ModelConfig
from sim.model.tensors import EMBED_TOKENS, tensor_shapes

#: Prefixes of names that a checkpoint of the bare model, without head, omits.
BASE_PREFIXES = ("model.", "transformer.")

#: Stored name of the head; some tools save a tied model with the head and without the embedding.
HEAD = "lm_head.weight"

#: Names of the array types of weights; bfloat16 is that of ml_dtypes.
FLOAT_TYPES = ("float16", "float32", "float64", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTensor:
    """A canonical tensor as rows ``start:stop`` of a raw one, which may have to be transposed.

    ``shape`` is that of the raw tensor as stored. Rows count after the transposition. ``twin`` is
    the name of the head where it is tied and this is the embedding.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    transpose: bool = False
    twin: str | None = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which the raw tensor may be stored, the usual one first."""
        bare = [self.name.removeprefix(p) for p in BASE_PREFIXES if self.name.startswith(p)]
        return (self.name, *bare, *([self.twin] if self.twin else []))


#: Raw names of the tensors outside the layers, and of the modules of layer ``{i}``.
_LLAMA_NAMES: Mapping[str, str] = {
    "embed_tokens": "model.embed_tokens",
    "final_norm": "model.norm",
    "lm_head": "lm_head",
    "attn_norm": "model.layers.{i}.input_layernorm",
    "mlp_norm": "model.layers.{i}.post_attention_layernorm",
    **{f"self_attn.{x}_proj": f"model.layers.{{i}}.self_attn.{x}_proj" for x in "qkvo"},
    **{f"self_attn.{x}_norm": f"model.layers.{{i}}.self_attn.{x}_norm" for x in "qk"},
    **{f"mlp.{x}_proj": f"model.layers.{{i}}.mlp.{x}_proj" for x in ("gate", "up", "down")},
}

_NAMES: Mapping[str, Mapping[str, str]] = {
    "phi3": {
        **_LLAMA_NAMES,
        **{f"self_attn.{x}_proj": "model.layers.{i}.self_attn.qkv_proj" for x in "qkv"},
        **{f"mlp.{x}_proj": "model.layers.{i}.mlp.gate_up_proj" for x in ("gate", "up")},
    },
    "gemma2": {
        **_LLAMA_NAMES,
        "attn_post_norm": "model.layers.{i}.post_attention_layernorm",
        "mlp_norm": "model.layers.{i}.pre_feedforward_layernorm",
        "mlp_post_norm": "model.layers.{i}.post_feedforward_layernorm",
    },
    "opt": {
        "embed_tokens": "model.decoder.embed_tokens",
        "embed_positions": "model.decoder.embed_positions",
        "final_norm": "model.decoder.final_layer_norm",
        "lm_head": "lm_head",
        "attn_norm": "model.decoder.layers.{i}.self_attn_layer_norm",
        "mlp_norm": "model.decoder.layers.{i}.final_layer_norm",
        **{f"self_attn.{x}_proj": f"model.decoder.layers.{{i}}.self_attn.{x}_proj" for x in "qkv"},
        "self_attn.o_proj": "model.decoder.layers.{i}.self_attn.out_proj",
        "mlp.up_proj": "model.decoder.layers.{i}.fc1",
        "mlp.down_proj": "model.decoder.layers.{i}.fc2",
    },
    "gpt2": {
        "embed_tokens": "transformer.wte",
        "embed_positions": "transformer.wpe",
        "final_norm": "transformer.ln_f",
        "lm_head": "lm_head",
        "attn_norm": "transformer.h.{i}.ln_1",
        "mlp_norm": "transformer.h.{i}.ln_2",
        **{f"self_attn.{x}_proj": "transformer.h.{i}.attn.c_attn" for x in "qkv"},
        "self_attn.o_proj": "transformer.h.{i}.attn.c_proj",
        "mlp.up_proj": "transformer.h.{i}.mlp.c_fc",
        "mlp.down_proj": "transformer.h.{i}.mlp.c_proj",
    },
    "phi": {
        **_LLAMA_NAMES,
        "final_norm": "model.final_layernorm",
        "self_attn.o_proj": "model.layers.{i}.self_attn.dense",
        "mlp.up_proj": "model.layers.{i}.mlp.fc1",
        "mlp.down_proj": "model.layers.{i}.mlp.fc2",
    },
}

#: Families whose linear layers are stored as (in, out).
_TRANSPOSED = ("gpt2",)


def hf_recipe(config: ModelConfig, name: str) -> RawTensor:
    """Return how a canonical tensor is cut from a raw one.

    Examples
    --------
    >>> from sim.model.families import config_from_hf
    >>> config = config_from_hf({"model_type": "gpt2", "n_embd": 8, "n_head": 2})
    >>> hf_recipe(config, "layers.0.self_attn.k_proj.weight")
    RawTensor(name='transformer.h.0.attn.c_attn.weight', shape=(8, 24), start=8, stop=16,
              transpose=True)
    """
    shapes = tensor_shapes(config)
    if name not in shapes:
        raise ValueError(f"a {config.family} model of this configuration has no tensor {name!r}")
    layer, module, kind = _parts(name)
    names = _NAMES.get(config.family, _LLAMA_NAMES)
    rows_before, rows_after, seen = 0, 0, False
    for sibling, raw in names.items():
        full = f"{layer}{sibling}.{kind}"
        if raw != names[module] or full not in shapes:
            continue
        seen = seen or sibling == module
        if not seen:
            rows_before += shapes[full][0]
        elif sibling != module:
            rows_after += shapes[full][0]
    rows, *columns = shapes[name]
    transpose = config.family in _TRANSPOSED and bool(columns) and layer != ""
    stored = (rows_before + rows + rows_after, *columns)
    return RawTensor(
        name=f"{names[module].format(i=layer[7:-1])}.{kind}",
        shape=stored[::-1] if transpose else stored,
        start=rows_before,
        stop=rows_before + rows,
        transpose=transpose,
        twin=HEAD if config.tie_embeddings and name == f"{EMBED_TOKENS}.weight" else None,
    )


def _parts(name: str) -> tuple[str, str, str]:
    """Split ``layers.3.mlp.up_proj.bias`` into ``layers.3.``, ``mlp.up_proj`` and ``bias``."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("layers."):
        return "", module, kind
    _, index, module = module.split(".", 2)
    return f"layers.{index}.", module, kind


def read_hf(
    config: ModelConfig, name: str, read_raw: Callable[[str], np.ndarray]
) -> Float32[np.ndarray, "..."]:
    """Return a canonical tensor as float32.

    Parameters
    ----------
    config, name
        The model and the canonical name.
    read_raw : callable
        Returns a raw tensor by its name; raises ``KeyError`` where the checkpoint lacks it.
    """
    recipe = hf_recipe(config, name)
    raw = _read_first(recipe, name, read_raw)
    if raw.shape != recipe.shape:
        raise ValueError(
            f"tensor {recipe.name} has shape {raw.shape}, but the configuration asks for "
            f"{recipe.shape} (needed for {name})"
        )
    if raw.dtype.name not in FLOAT_TYPES:
        raise ValueError(
            f"tensor {recipe.name} is stored as {raw.dtype}; only "
            f"{', '.join(FLOAT_TYPES)} can be read (needed for {name})"
        )
    if recipe.transpose:
        raw = raw.T
    return np.ascontiguousarray(raw[recipe.start : recipe.stop], np.float32)


def _read_first(recipe: RawTensor, name: str, read_raw: Callable[[str], np.ndarray]) -> np.ndarray:
    for candidate in recipe.names:
        try:
            return read_raw(candidate)
        except KeyError:
            continue
    raise ValueError(
        f"the checkpoint has no tensor {' or '.join(recipe.names)} (needed for {name})"
    )
