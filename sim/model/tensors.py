"""The canonical tensors of a model: names, shapes, and where each lies in the stacked buffers.

Every family uses the same names, so that a pattern such as ``layers.*.mlp.down_proj`` means the
same everywhere. Matrices are (out, in).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sim.model.config import ModelConfig

EMBED_TOKENS = "embed_tokens"
LM_HEAD = "lm_head"

#: Linear layers that share an input and one matrix product, by buffer.
FUSED: Mapping[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}

#: Tensors outside the layers that the first layer's input is made of, by buffer.
EMBEDDING: dict[str, str] = {"embed": "embed_tokens.weight", "positions": "embed_positions.weight"}

#: Tensors outside the layers that follow the last one, by buffer.
HEAD: dict[str, str] = {
    "final_norm": "final_norm.weight",
    "final_norm_bias": "final_norm.bias",
    "head": "lm_head.weight",
    "head_bias": "lm_head.bias",
}

#: Other tensors of a layer, by buffer.
_LAYER_VECTORS: Mapping[str, str] = {
    "attn_norm": "attn_norm.weight",
    "attn_norm_bias": "attn_norm.bias",
    "attn_post_norm": "attn_post_norm.weight",
    "mlp_norm": "mlp_norm.weight",
    "mlp_norm_bias": "mlp_norm.bias",
    "mlp_post_norm": "mlp_post_norm.weight",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where a canonical tensor lies: rows from ``row`` on of a buffer, in its ``layer`` if any."""

    buffer: str
    layer: int | None = None
    row: int = 0


def fused_members(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Return the linear layers of each fused buffer; the MLP may have no gate."""
    if config.gated_mlp:
        return dict(FUSED)
    return dict(FUSED) | {"gate_up": ("mlp.up_proj",)}


def linear_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the quantizable linear layers in layer order, without ``.weight``.

    The two embedding matrices, ``EMBED_TOKENS`` and (where untied) ``LM_HEAD``, are not among them.
    """
    members = [name for names in fused_members(config).values() for name in names]
    return tuple(f"layers.{i}.{name}" for i in range(config.layers) for name in members)


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that the model needs, by canonical name."""
    hidden = config.hidden_size
    table = (config.vocab_size, hidden)
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": table}
    if config.learned_positions:
        shapes["embed_positions.weight"] = (config.max_positions + config.position_offset, hidden)
    layer = layer_shapes(config)
    shapes |= {f"layers.{i}.{n}": s for i in range(config.layers) for n, s in layer.items()}
    if config.final_norm:
        shapes |= _norm_shapes("final_norm", config)
    if not config.tie_embeddings:
        shapes["lm_head.weight"] = table
    if config.head_bias:
        shapes["lm_head.bias"] = (config.vocab_size,)
    return shapes


def layer_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of one layer, by canonical name after ``layers.{i}.``."""
    hidden, inner = config.hidden_size, config.intermediate_size
    query, cache = config.heads * config.head_dim, config.kv_heads * config.head_dim
    matrices = {
        "self_attn.q_proj": (query, hidden, config.qkv_bias),
        "self_attn.k_proj": (cache, hidden, config.qkv_bias),
        "self_attn.v_proj": (cache, hidden, config.qkv_bias),
        "self_attn.o_proj": (hidden, query, config.attention_output_bias),
        "mlp.gate_proj": (inner, hidden, config.mlp_bias),
        "mlp.up_proj": (inner, hidden, config.mlp_bias),
        "mlp.down_proj": (hidden, inner, config.mlp_bias),
    }
    if not config.gated_mlp:
        del matrices["mlp.gate_proj"]
    shapes: dict[str, tuple[int, ...]] = _norm_shapes("attn_norm", config)
    for name, (rows, columns, has_bias) in matrices.items():
        shapes[f"{name}.weight"] = (rows, columns)
        if has_bias:
            shapes[f"{name}.bias"] = (rows,)
    if config.qk_norm:
        shapes |= {f"self_attn.{x}_norm.weight": (config.head_dim,) for x in "qk"}
    if not config.parallel_block:
        shapes |= _norm_shapes("mlp_norm", config)
    if config.post_norms:
        shapes |= {f"{x}_post_norm.weight": (hidden,) for x in ("attn", "mlp")}
    return shapes


def _norm_shapes(name: str, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    kinds = ("weight", "bias") if config.norm == "layer" else ("weight",)
    return {f"{name}.{kind}": (config.hidden_size,) for kind in kinds}


def slots(config: ModelConfig) -> dict[str, Slot]:
    """Return where each tensor of the model lies in the stacked buffers."""
    shapes = tensor_shapes(config)
    found = {
        name: Slot(buffer=buffer) for buffer, name in (EMBEDDING | HEAD).items() if name in shapes
    }
    for index in range(config.layers):
        for name, (buffer, row) in block_slots(config).items():
            found[f"layers.{index}.{name}"] = Slot(buffer=buffer, layer=index, row=row)
    return found


def block_slots(config: ModelConfig) -> dict[str, tuple[str, int]]:
    """Return buffer and first row of each tensor of a layer, by name after ``layers.{i}.``."""
    shapes = layer_shapes(config)
    found = {name: (buffer, 0) for buffer, name in _LAYER_VECTORS.items() if name in shapes}
    for buffer, members in fused_members(config).items():
        row = 0
        for member in members:
            found[f"{member}.weight"] = (buffer, row)
            if f"{member}.bias" in shapes:
                found[f"{member}.bias"] = (f"{buffer}_bias", row)
            row += shapes[f"{member}.weight"][0]
    return found


def buffer_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each stacked buffer; those of layers begin with the layer axis."""
    shapes = tensor_shapes(config)
    sizes: dict[str, tuple[int, ...]] = {}
    for name, slot in slots(config).items():
        rows, *columns = shapes[name]
        leading = () if slot.layer is None else (config.layers,)
        # Members come in row order, so the last one seen ends the buffer.
        sizes[slot.buffer] = (*leading, slot.row + rows, *columns)
    return sizes
